"""What a spool holds, read by both readers, row by row."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recorder.spool.segment import SegmentReader, has_head
from recorder.spool.spool import Spool
from recorder.spool.watermark import Watermark
from tests.crash.model import Row
from tests.recorder.building import ROW
from tests.recorder.spool.independent_reader import read_segment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def rows_of(path: Path, end_bytes: int | None = None) -> Iterator[tuple[Row, bytes]]:
    """Yield every row of a segment with its bytes; one without a head has none."""
    if not has_head(path):
        return
    with SegmentReader(path, end_bytes) as segment:
        lane, is_blob = segment.head.schema.lane, segment.head.schema.blob is not None
        for _, header, payload in segment.records():
            width = header.payload_bytes if is_blob else ROW.size
            with payload:
                data = bytes(payload)
            for place in range(header.rows):
                row = Row(lane, header.epoch, header.seqno + place)
                yield row, data[place * width : (place + 1) * width]


def tombstones(spool: Spool, session_id: str) -> set[Path]:
    """Return the segments of a session that were given up.

    A kill or a loss of power may come between tombstone and removal, or undo the removal: the
    tombstone counts, and the removal is done again.
    """
    folder = spool.session_dir(session_id)
    entries = spool.entries(session_id)
    return {folder / one["lane"] / one["file"] for one in entries if one["entry"] == "evicted"}


def segments(spool: Spool, session_id: str) -> list[Path]:
    """Return every segment that is there of a session."""
    lanes = spool.lanes(session_id)
    return [path for lane in lanes for path in spool.segments(session_id, lane)]


def held(spool: Spool) -> set[Row]:
    """Return every row that lies in a spool and was not given up."""
    return {
        row
        for session_id in spool.session_ids()
        for path in set(segments(spool, session_id)) - tombstones(spool, session_id)
        for row, _ in rows_of(path)
    }


def shown(directory: Path, watermark_file: Path) -> set[Row]:
    """Return what the watermark shows to the outside."""
    water = Watermark.read(watermark_file)
    if water is None:
        return set()
    spool = Spool(directory)
    found: set[Row] = set()
    for lane, (name, end_bytes) in water.ends.items():
        names = [path.name for path in spool.segments(water.session_id, lane)]
        for path in spool.segments(water.session_id, lane)[
            : names.index(name) + 1 if name in names else 0
        ]:
            found |= {row for row, _ in rows_of(path, end_bytes if path.name == name else None)}
    return found


def assert_readers_agree(path: Path) -> None:
    """Hold the product's reader against the independent one."""
    second = read_segment(path)
    if second is None or not has_head(path):
        assert second is None
        assert not has_head(path)
        return
    with SegmentReader(path) as segment:
        first = [
            (offset, header.kind, header.seqno, header.rows, bytes(payload))
            for offset, header, payload in segment.records()
        ]
    assert first == [
        (one.offset, one.kind, one.seqno, one.rows, one.payload) for one in second.records
    ]
