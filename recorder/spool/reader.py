"""A lane's records in the order in which they were stored, from any point on.

A point is a segment's name and an offset in it at which a record begins or the last one ends. What
is read is bounded by the durable lengths that `recorder.spool.watermark.durable` gives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from recorder.errors import DamagedError
from recorder.spool.segment import SegmentReader

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

    from recorder.record import Header
    from recorder.schema import LaneSchema


@dataclass(frozen=True)
class Point:
    """A place between two records of a lane: offset `offset` of the segment `file`."""

    file: str
    offset: int


@dataclass(frozen=True)
class Stored:
    """One record where it lies.

    Args:
        file: name of its segment.
        begin: offset of its first byte.
        schema: what its rows are.
        header: what it says of itself.
        payload: its bytes, valid only until the next record is asked for.
    """

    file: str
    begin: int
    schema: LaneSchema
    header: Header
    payload: memoryview

    @property
    def end(self) -> Point:
        """The point behind the record."""
        return Point(self.file, self.begin + self.header.size_bytes)


def read_from(
    segments: Sequence[tuple[Path, int]], start: Point | None, passed: Collection[str] = ()
) -> Iterator[Stored]:
    """Yield every valid record of a lane that lies behind a point.

    Damaged bytes and segments whose head does not verify are passed over; sequence numbers show
    what they cost. So is a segment that was given up meanwhile.

    Args:
        segments: the lane's segments in order, with the durable length of each.
        start: where to begin, or None: at the first record.
        passed: names of segments that were read to their end before; matters only if the segment
            of `start` was given up meanwhile.
    """
    names = [path.name for path, _ in segments]
    if start is not None and start.file in names:
        first = names.index(start.file)
        yield from _tolerant(*segments[first], start.offset)
        segments = segments[first + 1 :]
    for path, end_bytes in segments:
        if path.name not in passed:
            yield from _tolerant(path, end_bytes, None)


def read_piece(path: Path, begin: int, end: int) -> Iterator[Stored]:
    """Yield every valid record of one segment between two offsets.

    Raises:
        DamagedError: the segment's head does not verify.
        FileNotFoundError: the segment was given up.
    """
    yield from _read(path, end, begin)


def _tolerant(path: Path, end_bytes: int, begin: int | None) -> Iterator[Stored]:
    try:
        yield from _read(path, end_bytes, begin)
    except (DamagedError, FileNotFoundError):
        return


def _read(path: Path, end_bytes: int, begin: int | None) -> Iterator[Stored]:
    with SegmentReader(path, end_bytes) as segment:
        for offset, header, payload in segment.records(begin):
            with payload:
                yield Stored(path.name, offset, segment.head.schema, header, payload)
