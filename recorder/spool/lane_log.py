"""One lane of the session that is being recorded: its segments on disk and its account."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recorder.clock import boot_ns
from recorder.errors import DamagedError
from recorder.spool import journal
from recorder.spool.account import Account
from recorder.spool.batch import Batch
from recorder.spool.counts import Counts
from recorder.spool.recover import Piece, pieces
from recorder.spool.segment import SegmentHead, SegmentWriter

if TYPE_CHECKING:
    from pathlib import Path

    from recorder import record
    from recorder.ring import RingReader
    from recorder.session.ledger import LaneLedger
    from recorder.spool.journal import Journal


class LaneLog:
    """Takes what a lane's rings hold and appends it to the lane's segments.

    Args:
        directory: the lane's folder in the session's; made when the first record comes.
        session_id: the session, 16 bytes.
        ledger: the lane's account, kept up to date here.
        log: the session's journal.
        segment_bytes: a segment is sealed before it grows beyond this.
        settled_boot_ns: see `Account`.
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
        self.account = Account(ledger, log, settled_boot_ns)
        self.name = ledger.name
        self._journal = log
        self._segment_bytes = segment_bytes
        self._segment: SegmentWriter | None = None
        self._span: Piece | None = None
        self._sealed_end: tuple[str, int] | None = None
        self._unsynced: list[SegmentWriter] = []
        self._new_files = False
        #: Anchors that were taken and nobody asked for yet.
        self.anchors: list[record.Anchor] = []
        self._next_position = 0

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
        batch = Batch(ring.position)
        try:
            for header, runs in ring.records():
                if not self._goes_on(header, batch):
                    self._flush(batch, base)
                    batch = Batch(header.position)
                    self._begin_segment(ring, header)
                batch.add(header, runs)
            self._flush(batch, base)
        except OSError:
            ring.position = batch.position
            raise

    def _goes_on(self, header: record.Header, batch: Batch) -> bool:
        segment = self._segment
        if segment is None or segment.head.epoch != header.epoch:
            return False
        if not batch.headers and self._next_position != header.position:
            return False
        if header.seqno == segment.head.first_seqno:
            return True  # the next segment would have the same name
        return segment.end_bytes + batch.size_bytes + header.size_bytes <= self._segment_bytes

    def _begin_segment(self, ring: RingReader, header: record.Header) -> None:
        self.seal()
        self._directory.mkdir(exist_ok=True)
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
        self._span = None
        self._next_position = header.position
        self._unsynced.append(self._segment)
        self._new_files = True

    def _flush(self, batch: Batch, base: Counts | None) -> None:
        segment = self._segment
        if not batch.headers or segment is None:
            return
        self.account.enter(batch.headers, base)
        segment.append(batch.runs, batch.rows)
        if segment not in self._unsynced:
            self._unsynced.append(segment)
        piece = batch.piece()
        self.account.add(piece)
        self._next_position = piece.behind.position
        self._span = piece.after(self._span)
        self.anchors += batch.anchors

    def sync(self) -> None:
        """Make everything that was appended durable.

        Raises:
            OSError: nothing is known any more of what was appended since the last time.
        """
        for segment in self._unsynced:
            segment.sync()
            if segment is not self._segment:
                segment.close()
        self._unsynced.clear()
        if self._new_files:
            journal.sync_directory(self._directory)
            journal.sync_directory(self._directory.parent)
            self._new_files = False

    def seal(self) -> None:
        """End the open segment; nothing will be appended to it any more.

        The journal gets what recovery and eviction would else have to read it for.
        """
        segment = self._segment
        if segment is None:
            return
        entry = {"entry": "sealed", "lane": self.name, "file": segment.path.name}
        if self._span is not None:
            held = {**self._span.to_dict(), "rows": segment.rows, "bytes": segment.end_bytes}
            self._journal.append({**entry, **held})
        self._sealed_end = (segment.path.name, segment.end_bytes)
        self._segment = None
        if segment not in self._unsynced:
            segment.close()

    @property
    def end(self) -> tuple[str, int] | None:
        """Name and length of the newest segment, or None."""
        segment = self._segment
        return (segment.path.name, segment.end_bytes) if segment else self._sealed_end

    def resume(
        self,
        entries: list[dict[str, Any]],
        segments: list[tuple[Path, int]],
        *,
        is_this_boot: bool,
    ) -> list[str]:
        """Take up the account and the open segment after the death of the process that held them.

        What lies behind the durable ends is cut off: the rings still hold it.

        Args:
            entries: the session's journal.
            segments: the lane's segments in order, with the durable length of each.
            is_this_boot: whether only the process died, and not the machine.

        Returns:
            Which segments cannot be read, with the reason; they stay where they are.
        """
        mine = [one for one in entries if one.get("lane") in {None, self.name}]
        for one in mine:
            if one["entry"] == "epoch":
                self.account.restore(Counts.from_dict(one))
        refused: list[str] = []
        for piece in pieces(mine, segments, is_this_boot=is_this_boot):
            if isinstance(piece, DamagedError):
                refused.append(str(piece))
            else:
                self._take_up(piece)
        return refused

    def _take_up(self, piece: Piece) -> None:
        self.account.add_found(piece)
        self._next_position = piece.behind.position
        if not piece.is_evicted and piece.path is not None:
            self._sealed_end = (piece.path.name, piece.end_bytes)
            if piece.is_open:
                self._segment = SegmentWriter.reopen(piece.path, piece.end_bytes, piece.rows)
                self._span = piece

    def close(self) -> None:
        """Close every file; may be called twice."""
        for segment in (*self._unsynced, self._segment):
            if segment is not None:
                segment.close()
        self._segment = None
        self._unsynced.clear()
