"""One lane of the session that is being recorded: its segments on disk and its account."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from recorder import record
from recorder.clock import boot_ns
from recorder.spool import journal
from recorder.spool.recover import Contents, contents
from recorder.spool.segment import SegmentHead, SegmentWriter

if TYPE_CHECKING:
    from pathlib import Path

    from recorder.ring import RingReader
    from recorder.session.ledger import LaneLedger
    from recorder.spool.journal import Journal


@dataclass(frozen=True)
class Counts:
    """A lane's cumulative counts at one point of a ring epoch: what the session begins from."""

    epoch: int = 0
    seqno: int = 0
    expected: int = 0
    losses: record.Losses = field(default_factory=record.Losses)

    @classmethod
    def before(cls, header: record.Header) -> Counts:
        """Return the counts as they stood before a record, the losses before it included."""
        return cls(header.epoch, header.seqno, header.expected - header.rows, header.losses)

    @classmethod
    def behind(cls, header: record.Header) -> Counts:
        """Return the counts behind a record."""
        return cls(header.epoch, header.next_seqno, header.expected, header.losses)

    def to_entry(self, lane: str) -> dict[str, Any]:
        """Return the journal's entry that says that the session takes from here on."""
        lost = self.losses
        return {
            "entry": "epoch",
            "lane": lane,
            "epoch": self.epoch,
            "seqno": self.seqno,
            "expected": self.expected,
            "losses": [lost.source, lost.absent, lost.broken, lost.ring],
        }

    @classmethod
    def from_entry(cls, entry: dict[str, Any]) -> Counts:
        """Read what `to_entry` made."""
        losses = record.Losses(*entry["losses"])
        return cls(entry["epoch"], entry["seqno"], entry["expected"], losses)


class LaneLog:
    """Takes what a lane's rings hold and appends it to the lane's segments.

    Args:
        directory: the lane's folder in the session's; made when the first record comes.
        session_id: the session, 16 bytes.
        ledger: the lane's account, kept up to date here.
        log: the session's journal.
        segment_bytes: a segment is sealed before it grows beyond this.
        settled_boot_ns: what a lane lost before its first sample is not this session's loss until
            then; behind it, a device that does not come is.
    """

    def __init__(
        self,
        directory: Path,
        session_id: bytes,
        ledger: LaneLedger,
        log: Journal,
        *,
        segment_bytes: int,
        settled_boot_ns: int,
    ) -> None:
        self._directory = directory
        self._session_id = session_id
        self.ledger = ledger
        self._journal = log
        self._segment_bytes = segment_bytes
        self._settled_boot_ns = settled_boot_ns
        self._segment: SegmentWriter | None = None
        self._unsynced: list[SegmentWriter] = []
        self._new_files = False
        #: Anchors that were taken and nobody asked for yet.
        self.anchors: list[record.Anchor] = []
        self._base = Counts()
        self._last = Counts()
        self._next_position: int | None = None

    def take(self, ring: RingReader, base: Counts | None) -> None:
        """Append every record that the ring holds; durable after `sync`.

        Args:
            ring: a ring of this lane; its `position` steps behind what was appended.
            base: counts of the ring's epoch where the last session stopped taking from it, or None
                if nobody took from it before.

        Raises:
            OSError: the disk did not take it; what was appended is kept, the rest stays in the
                ring.
        """
        batch: list[memoryview] = []
        rows, size_bytes, end = 0, 0, ring.position
        try:
            for header, runs in ring.records():
                if not self._goes_on(header, size_bytes):
                    self._flush(batch, rows)
                    batch, rows, size_bytes = [], 0, 0
                    end = header.position
                    self._begin_segment(ring, header, base)
                self._settle(header, base)
                self._account(header)
                self._note_anchor(header, runs)
                batch += runs
                rows += header.rows
                size_bytes += header.size_bytes
            self._flush(batch, rows)
            self.ledger.in_ring = 0
        except OSError:
            self.ledger.in_ring = rows
            ring.position = end
            raise

    def _goes_on(self, header: record.Header, batch_bytes: int) -> bool:
        segment = self._segment
        if segment is None or segment.head.epoch != header.epoch:
            return False
        if self._next_position != header.position:
            return False
        return segment.end_bytes + batch_bytes + header.size_bytes <= self._segment_bytes

    def _begin_segment(self, ring: RingReader, header: record.Header, base: Counts | None) -> None:
        self.seal()
        if not self._directory.exists():
            self._directory.mkdir()
            journal.sync_directory(self._directory.parent)
        if self._base.epoch != header.epoch:
            self._enter_epoch(base or Counts.before(header))
            self._journal.append(self._base.to_entry(self.ledger.name))
        head = SegmentHead(
            header.epoch,
            header.position,
            ring.boot_id,
            self._session_id,
            header.seqno,
            boot_ns(),
            ring.schema,
        )
        self._segment = SegmentWriter(self._directory, head)
        self._new_files = True

    def _enter_epoch(self, base: Counts) -> None:
        self._base = self._last = base

    def _settle(self, header: record.Header, base: Counts | None) -> None:
        is_early = header.boot_ns <= self._settled_boot_ns and self.ledger.first_boot_ns is None
        before = Counts.before(header)
        if is_early and base is None and before != self._last:
            self._enter_epoch(before)
            self._journal.append(before.to_entry(self.ledger.name))

    def _note_anchor(self, header: record.Header, runs: list[memoryview]) -> None:
        if header.kind == record.ANCHOR:
            payload = b"".join(runs)[record.HEADER_BYTES :]
            self.anchors.append(record.Anchor.unpack(payload))

    def _account(self, header: record.Header) -> None:
        account, last = self.ledger, self._last
        lost = header.losses.since(last.losses)
        account.expected += header.expected - last.expected
        account.acquired += header.next_seqno - last.seqno
        account.lost_source += lost.source
        account.lost_absent += lost.absent
        account.lost_broken += lost.broken
        account.lost_ring += lost.ring
        self._last = Counts.behind(header)
        self._next_position = header.end_position
        if header.rows:
            account.first_boot_ns = account.first_boot_ns or header.boot_ns
            account.last_boot_ns = header.last_boot_ns

    def _flush(self, batch: list[memoryview], rows: int) -> None:
        segment = self._segment
        if not batch or segment is None:
            return
        segment.append(batch, rows)
        self.ledger.stored += rows
        self.ledger.pending += rows
        if segment not in self._unsynced:
            self._unsynced.append(segment)

    def sync(self) -> None:
        """Make everything that was appended durable."""
        for segment in self._unsynced:
            segment.sync()
            if segment is not self._segment:
                segment.close()
        self._unsynced.clear()
        if self._new_files:
            journal.sync_directory(self._directory)
            self._new_files = False

    def seal(self) -> None:
        """End the open segment; nothing will be appended to it any more."""
        segment = self._segment
        if segment is None:
            return
        entry = {"entry": "sealed", "lane": self.ledger.name, "file": segment.path.name}
        self._journal.append({**entry, "rows": segment.rows, "bytes": segment.end_bytes})
        self._segment = None
        if segment not in self._unsynced:
            segment.close()

    @property
    def end(self) -> tuple[str, int] | None:
        """Name and length of the open segment, or None."""
        segment = self._segment
        return (segment.path.name, segment.end_bytes) if segment else None

    def behind(self, epoch: int) -> Counts | None:
        """Return the counts behind what was taken from an epoch last, for the next session."""
        return self._last if self._last.epoch == epoch else None

    def resume(
        self, entries: list[dict[str, Any]], segments: list[tuple[Path, int]]
    ) -> list[Contents]:
        """Take up the account and the open segment after the death of the process that held them.

        What lies behind the durable ends is cut off: the rings still hold it.

        Args:
            entries: the session's journal.
            segments: the lane's segments in order, with the durable length of each.

        Returns:
            What was read: the contents of every segment that is not sealed.
        """
        mine = [one for one in entries if one.get("lane") == self.ledger.name]
        sealed = {one["file"]: one for one in mine if one["entry"] == "sealed"}
        bases = {one["epoch"]: Counts.from_entry(one) for one in mine if one["entry"] == "epoch"}
        read: list[Contents] = []
        for path, end_bytes in segments:
            found = contents(path, end_bytes)
            read.append(found)
            self._take_up(found, bases)
            if path.name not in sealed and path == segments[-1][0]:
                self._segment = SegmentWriter.reopen(path, found.end_bytes, found.rows)
        return read

    def _take_up(self, found: Contents, bases: dict[int, Counts]) -> None:
        if found.last is None:
            return
        if self._base.epoch != found.last.epoch:
            self._enter_epoch(bases[found.last.epoch])
        first_boot_ns = self.ledger.first_boot_ns
        self._account(found.last)
        self.ledger.first_boot_ns = first_boot_ns or found.first_boot_ns
        self.ledger.last_boot_ns = found.last_boot_ns or self.ledger.last_boot_ns
        self.ledger.stored += found.rows
        self.ledger.pending += found.rows

    def durable_position(self, epoch: int) -> int:
        """Return up to where the ring of an epoch is on disk, after `resume`."""
        is_mine = self._last.epoch == epoch and self._next_position is not None
        return (self._next_position or 0) if is_mine else 0

    def close(self) -> None:
        """Close every file; may be called twice."""
        for segment in (*self._unsynced, self._segment):
            if segment is not None:
                segment.close()
        self._segment = None
        self._unsynced.clear()
