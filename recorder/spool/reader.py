"""A lane's records in the order in which they were stored, from any point on.

A point is a segment's name and an offset in it at which a record begins or the last one ends. What
is read is bounded by the durable lengths that `recorder.spool.watermark.durable` gives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from recorder import record
from recorder.errors import DamagedError
from recorder.spool.segment import SegmentReader

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

    from recorder.record import Header
    from recorder.schema import LaneSchema


class Point(NamedTuple):
    """A place between two records of a lane: offset `offset` of the segment `file`."""

    file: str
    offset: int


class Stored(NamedTuple):
    """One record where it lies.

    Args:
        file: name of its segment.
        begin: offset of its first byte.
        schema: what its rows are.
        fields: what it says of itself, as `record.unpack_fields` gives it.
        payload: its bytes, valid only until the next record is asked for.
    """

    file: str
    begin: int
    schema: LaneSchema
    fields: tuple[Any, ...]
    payload: memoryview

    @property
    def header(self) -> Header:
        """The same as `fields`, by names; it is made at each call."""
        return record.header_of(self.fields)

    @property
    def end(self) -> Point:
        """The point behind the record."""
        size_bytes = record.HEADER_BYTES + self.fields[record.PAYLOAD_BYTES]
        return Point(self.file, self.begin + size_bytes)


def read_from(
    segments: Sequence[tuple[Path, int]],
    start: Point | None,
    passed: Collection[str] = (),
    *,
    leaves_blobs: bool = False,
) -> Iterator[Stored]:
    """Yield every valid record of a lane that lies behind a point.

    Damaged bytes and segments whose head does not verify are passed over; sequence numbers show
    what they cost. So is a segment that was given up meanwhile.

    Args:
        segments: the lane's segments in order, with the durable length of each.
        start: where to begin, or None: at the first record.
        passed: names of segments that were read to their end before; matters only if the segment
            of `start` was given up meanwhile.
        leaves_blobs: as for `SegmentReader`.
    """
    names = [path.name for path, _ in segments]
    if start is not None and start.file in names:
        first = names.index(start.file)
        yield from _tolerant(*segments[first], start.offset, leaves_blobs=leaves_blobs)
        segments = segments[first + 1 :]
    for path, end_bytes in segments:
        if path.name not in passed:
            yield from _tolerant(path, end_bytes, None, leaves_blobs=leaves_blobs)


def read_piece(path: Path, begin: int, end: int) -> Iterator[tuple[tuple[Any, ...], memoryview]]:
    """Yield values (`record.unpack_fields`) and payload of one segment's records.

    Of every valid one between two offsets.

    Raises:
        DamagedError: the segment's head does not verify.
        FileNotFoundError: the segment was given up.
    """
    with SegmentReader(path, end) as segment:
        for _, fields, payload in segment.walk(begin):
            yield fields, payload


def _tolerant(
    path: Path, end_bytes: int, begin: int | None, *, leaves_blobs: bool
) -> Iterator[Stored]:
    try:
        yield from _read(path, end_bytes, begin, leaves_blobs=leaves_blobs)
    except (DamagedError, FileNotFoundError):
        return


def _read(path: Path, end_bytes: int, begin: int | None, *, leaves_blobs: bool) -> Iterator[Stored]:
    with SegmentReader(path, end_bytes, leaves_blobs=leaves_blobs) as segment:
        name, schema = path.name, segment.head.schema
        for offset, fields, payload in segment.walk(begin):
            with payload:
                yield Stored(name, offset, schema, fields, payload)
