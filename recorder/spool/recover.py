"""What segments hold after their writer died: from the journal where it is certain, else read."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from recorder import record
from recorder.errors import DamagedError
from recorder.spool.counts import Counts
from recorder.spool.names import epoch_of, first_seqno_of
from recorder.spool.segment import Hole, SegmentReader

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from recorder.run import Run


@dataclass
class Contents:
    """What one segment holds.

    Args:
        records: valid records of any kind.
        rows: samples in them.
        missing: samples that are missing between two valid records of the segment, by number.
        first: header of the first record of any kind.
        last: header of the last record of any kind.
        first_boot_ns: time of the first sample.
        last_boot_ns: time of the last sample.
        end_bytes: where the last valid record ends.
        torn_bytes: bytes behind it.
        damage: holes before it.
        gaps: numbers missing at these holes: the one that was due, and the one that came.
        has_blobs: whether its rows have blobs behind them.
    """

    records: int = 0
    rows: int = 0
    missing: int = 0
    first: record.Header | None = None
    last: record.Header | None = None
    first_boot_ns: int | None = None
    last_boot_ns: int | None = None
    end_bytes: int = 0
    torn_bytes: int = 0
    damage: list[Hole] = field(default_factory=list)
    gaps: list[tuple[int, int]] = field(default_factory=list)
    has_blobs: bool = False

    def add(self, offset: int, header: record.Header) -> None:
        """Count one valid record."""
        if self.last is not None:
            self.missing += header.seqno - self.last.next_seqno
        self.first = self.first or header
        self.records += 1
        self.rows += header.rows
        self.last = header
        self.end_bytes = offset + header.size_bytes
        if header.rows:
            if self.first_boot_ns is None:
                self.first_boot_ns = header.boot_ns
            self.last_boot_ns = header.last_boot_ns


def contents(path: Path, end_bytes: int | None = None) -> Contents:
    """Read a whole segment.

    Args:
        path: the file.
        end_bytes: read only so far, or None: as far as the file goes.

    Raises:
        DamagedError: its head does not verify.
    """
    found = Contents()
    with SegmentReader(path, end_bytes) as segment:
        found.end_bytes = segment.begin_bytes
        found.has_blobs = segment.head.schema.blob is not None
        due = segment.head.first_seqno
        for offset, one in segment.scan():
            if isinstance(one, record.Header):
                if offset > found.end_bytes and one.seqno != due:
                    found.gaps.append((due, one.seqno))
                found.add(offset, one)
                due = one.next_seqno
            elif one.is_tail:
                found.torn_bytes = one.size_bytes
            else:
                found.damage.append(one)
    return found


@dataclass(frozen=True)
class Piece:
    """What one segment, or a part of it, adds to a lane's account.

    Args:
        before: the lane's counts before it.
        behind: the counts behind it.
        rows: samples in it.
        first_boot_ns: time of its first sample, or None.
        last_boot_ns: time of its last sample, or None.
        path: the segment, or None.
        end_bytes: where its last record ends.
        is_open: whether the journal does not know it: it may be written on, if it is the last.
        torn_bytes: bytes behind its last record that are none, and not zero.
        holes: places and lengths of the bytes between its records that are none.
        gaps: see `Contents`.
        is_evicted: whether it was given up with a tombstone.
        is_delivered: whether the destination held it then.
    """

    before: Counts
    behind: Counts
    rows: int = 0
    first_boot_ns: int | None = None
    last_boot_ns: int | None = None
    path: Path | None = None
    end_bytes: int = 0
    is_open: bool = False
    torn_bytes: int = 0
    holes: tuple[tuple[int, int], ...] = ()
    gaps: tuple[tuple[int, int], ...] = ()
    is_evicted: bool = False
    is_delivered: bool = False

    @classmethod
    def of(cls, run: Run) -> Piece:
        """Return what records add that are about to be written."""
        return cls(
            Counts.before(run.first),
            Counts.behind(run.last),
            run.rows,
            run.first_boot_ns,
            run.last_boot_ns,
        )

    def after(self, earlier: Piece | None) -> Piece:
        """Return this piece and the one before it as one."""
        if earlier is None:
            return self
        return replace(
            self,
            before=earlier.before,
            rows=earlier.rows + self.rows,
            first_boot_ns=earlier.first_boot_ns or self.first_boot_ns,
            last_boot_ns=self.last_boot_ns or earlier.last_boot_ns,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return what the journal's entry of a sealed segment says of its contents."""
        times = {"first_boot_ns": self.first_boot_ns, "last_boot_ns": self.last_boot_ns}
        return {**self.behind.to_dict(), **times}

    @classmethod
    def from_dict(cls, entry: dict[str, Any]) -> Piece:
        """Read the journal's entry of a sealed segment."""
        behind = Counts.from_dict(entry)
        first_seqno = first_seqno_of(entry["file"])
        expected = behind.expected - (behind.seqno - first_seqno)
        return cls(
            Counts(behind.epoch, 0, first_seqno, expected, behind.losses),
            behind,
            entry["rows"],
            entry["first_boot_ns"],
            entry["last_boot_ns"],
            end_bytes=entry["bytes"],
        )


def pieces(
    entries: Sequence[dict[str, Any]], segments: Sequence[tuple[Path, int]]
) -> Iterator[Piece | DamagedError]:
    """Yield what each segment of a lane holds, oldest first.

    Only segments without a line in the journal are read, and those that are shorter than their line
    says: the line is written when the segment is durable. So it is the newest one, and the one
    before it if the machine died in between. What a line tells of and no file holds any more counts
    as a piece without rows.

    Args:
        entries: what the session's journal says of the lane and of the session.
        segments: the segments that are there, in order, with the length to which each counts.
    """
    evicted = {one["file"]: one["delivered"] for one in entries if one["entry"] == "evicted"}
    sealed = _proved(entries, evicted)
    there = {path.name: (path, end_bytes) for path, end_bytes in segments}
    whole: list[dict[str, Any]] = []
    for name in _in_order(entries, {**there, **sealed, **evicted}):
        entry = sealed.get(name)
        path, end_bytes = there.get(name, (None, 0)) if name not in evicted else (None, 0)
        is_whole = entry is not None and end_bytes >= entry["bytes"]
        if whole and not (is_whole and epoch_of(name) == whole[-1]["epoch"]):
            yield _joined(whole, there)
            whole = []
        if entry is not None and path is not None and is_whole:
            whole.append(entry)
            continue
        if path is not None:
            yield _read(path, end_bytes, is_open=entry is None)
        if entry is not None:
            yield _gone(entry, evicted.get(name))
    if whole:
        yield _joined(whole, there)


def _gone(entry: dict[str, Any], delivered: bool | None) -> Piece:
    """Return what a sealed segment held that was given up, or (None) is gone or cut short."""
    piece = Piece.from_dict(entry)
    if delivered is None:
        return replace(piece, rows=0)
    return replace(piece, is_evicted=True, is_delivered=delivered)


def _proved(
    entries: Sequence[dict[str, Any]], evicted: Collection[str]
) -> dict[str, dict[str, Any]]:
    """Return, by segment, the lines that say for good what it holds.

    One without a sample may have been sealed by an end that did not come, and written on then, for
    the next one had its name.
    """
    found = {one["file"]: one for one in entries if one["entry"] == "sealed"}
    return {
        name: one
        for name, one in found.items()
        if name in evicted or one["seqno"] != first_seqno_of(name)
    }


def _joined(entries: list[dict[str, Any]], there: Mapping[str, tuple[Path, int]]) -> Piece:
    """Return what sealed segments hold together, given by their lines in the journal.

    Counts are cumulative: of many segments in a row only the last one's are needed.
    """
    last = entries[-1]
    return replace(
        Piece.from_dict(last),
        before=Piece.from_dict(entries[0]).before,
        rows=sum(one["rows"] for one in entries),
        first_boot_ns=next((t for one in entries if (t := one["first_boot_ns"])), None),
        last_boot_ns=next((t for one in reversed(entries) if (t := one["last_boot_ns"])), None),
        path=there[last["file"]][0],
    )


def _in_order(entries: Sequence[dict[str, Any]], names: Iterable[str]) -> list[str]:
    """Return names of segments as they were made: by ring epoch, and in it by number."""
    rank: dict[int, int] = {}
    for one in entries:
        if one["entry"] == "epoch":
            rank.setdefault(one["epoch"], len(rank))
    return sorted(names, key=lambda name: (rank.setdefault(epoch_of(name), len(rank)), name))


def _read(path: Path, end_bytes: int, *, is_open: bool) -> Piece | DamagedError:
    try:
        found = contents(path, end_bytes)
    except DamagedError as error:
        return error
    if found.first is None or found.last is None:
        return Piece(Counts(), Counts(), path=path, is_open=is_open, torn_bytes=found.torn_bytes)
    return Piece(
        Counts.before(found.first),
        Counts.behind(found.last),
        found.rows,
        found.first_boot_ns,
        found.last_boot_ns,
        path,
        found.end_bytes,
        is_open=is_open,
        torn_bytes=found.torn_bytes,
        holes=tuple((one.offset, one.size_bytes) for one in found.damage),
        gaps=tuple(found.gaps),
    )
