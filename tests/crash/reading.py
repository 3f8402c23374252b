"""What a spool holds, read by both readers, row by row."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recorder.spool.names import epoch_of
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


class Graves:
    """The segments of a session that were given up.

    A kill or a loss of power may come between tombstone and removal, or undo the removal: the
    tombstone counts, and the removal is done again.

    Args:
        spool: the spool.
        session_id: a session in it.
    """

    def __init__(self, spool: Spool, session_id: str) -> None:
        self._folder = spool.session_dir(session_id)
        entries = spool.entries(session_id)
        self._stones = [one for one in entries if one["entry"] == "evicted"]

    def hide(self, path: Path) -> bool:
        """Tell whether a segment has a tombstone only together with others, and not by its name."""
        return path in self and path.name not in {one["file"] for one in self._stones}

    def __contains__(self, path: Path) -> bool:
        """Tell whether a segment has a tombstone, of its own or with others."""
        return path.parent.parent == self._folder and any(
            one["lane"] == path.parent.name
            and epoch_of(one["file"]) == epoch_of(path.name)
            and one["file"] <= path.name <= one.get("last_file", one["file"])
            for one in self._stones
        )


def segments(spool: Spool, session_id: str) -> list[Path]:
    """Return every segment that is there of a session."""
    lanes = spool.lanes(session_id)
    return [path for lane in lanes for path in spool.segments(session_id, lane)]


def held(spool: Spool) -> set[Row]:
    """Return every row that lies in a spool and was not given up."""
    return {
        row
        for session_id in spool.session_ids()
        for graves in [Graves(spool, session_id)]
        for path in segments(spool, session_id)
        if path not in graves
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


def disagreement(path: Path) -> str:
    """Hold the product's reader against the independent one; return what is wrong, or nothing."""
    second = read_segment(path)
    if second is None or not has_head(path):
        is_same = second is None and not has_head(path)
    else:
        with SegmentReader(path) as segment:
            first = [
                (offset, header.kind, header.seqno, header.rows, bytes(payload))
                for offset, header, payload in segment.records()
            ]
        is_same = first == [
            (one.offset, one.kind, one.seqno, one.rows, one.payload) for one in second.records
        ]
    return "" if is_same else f"{path.name}: the two readers do not agree"
