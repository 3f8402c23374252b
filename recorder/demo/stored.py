"""What the spool holds of one lane, row by row, read record by record."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from recorder import record
from recorder.spool.segment import SegmentReader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from recorder.spool.spool import Spool


@dataclass(frozen=True)
class Row:
    """One row of the spool.

    Args:
        seqno: its number.
        boot_ns: its time.
        lost: samples that the lane had counted as lost when it stored the row.
    """

    seqno: int
    boot_ns: int
    lost: int


@dataclass(frozen=True)
class Stored:
    """What the spool holds of one lane.

    Args:
        rows: in the order of the file.
        lost: samples that the lane had counted as lost when it last said anything.
        silent_boot_ns: when the lane last counted a silence behind the last row; 0 if it did not.
        stopped_boot_ns: when the lane was told to end; 0 if it died before.
    """

    rows: Sequence[Row]
    lost: int
    silent_boot_ns: int
    stopped_boot_ns: int


def stored_rows(spool: Spool, session_id: str, lane: str) -> Stored:
    """Return what the spool holds of a lane."""
    rows: list[Row] = []
    lost = 0
    said_ns: dict[str, int] = {}
    for path in spool.segments(session_id, lane):
        with SegmentReader(path) as segment:
            for _, header, payload in segment.records():
                lost = header.losses.total
                if header.kind == record.DATA:
                    said_ns.clear()
                elif header.kind == record.EVENT:
                    said = json.loads(bytes(payload))
                    said_ns[said["event"]] = said.get("told_boot_ns", header.boot_ns)
                rows += [
                    Row(header.seqno + index, header.boot_ns + index * header.period_ns, lost)
                    for index in range(header.rows)
                ]
                del payload  # the segment's memory is let go of below
    return Stored(rows, lost, said_ns.get("silent", 0), said_ns.get("stopped", 0))
