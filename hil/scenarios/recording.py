"""What a machine recorded, taken out of it and read on this side."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from drivers.base import TYPES
from recorder import record
from recorder.audit import audit_spool
from recorder.spool.marks import marks_in
from recorder.spool.segment import SegmentReader
from recorder.spool.spool import Spool
from recorder.spool.verify import verify

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from recorder.audit import LaneAudit
    from recorder.record import Anchor
    from recorder.schema import LaneSchema
    from recorder.session.ledger import LaneLedger
    from recorder.session.session import Session

BY_TIMES = "by the times of the rows"
#: Share of the samples due. Slots that are counted twice differ by more.
MOST_APART = 0.02


@dataclass(frozen=True)
class Row:
    """One stored sample.

    Args:
        seqno: its number.
        boot_ns: its time.
        values: by field, as they were stored.
        picture: what stands behind it, if anything does.
    """

    seqno: int
    boot_ns: int
    values: dict[str, Any]
    picture: bytes


class Recording:
    """A spool.

    Args:
        directory: the folder with the file ``FORMAT``.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._spool = Spool(directory)
        self.session_ids = self._spool.session_ids()

    def problems(self) -> list[str]:
        """Return what `recorder verify` and `recorder audit` find wrong with it."""
        checked = verify(self.directory)
        found = [*checked.problems]
        for one in checked.sessions:
            found += one.problems + [text for lane in one.lanes for text in lane.problems]
        for session_id in self.session_ids:
            audit = audit_spool(self.directory, session_id)
            found += audit.differences
            found += [
                one for lane in audit.lanes if not _is_close(lane) for one in lane.differences
            ]
        return found

    def session(self, session_id: str) -> Session:
        """Return the newest record of a session."""
        return self._spool.session(session_id)

    def ledger(self, lane: str) -> LaneLedger:
        """Return a lane's account in the newest session."""
        lanes = self.session(self.session_ids[-1]).lanes
        return next(one for one in lanes if one.name == lane)

    def begun(self, lane: str) -> int:
        """Return the number of a lane's first sample in the newest session.

        The numbers go on from one session to another of the same boot; else the first is 0.
        """
        *before, newest = (self.session(one) for one in self.session_ids)
        is_first = newest.boot_id not in {one.boot_id for one in before}
        rows = [] if is_first else self.rows(lane)
        return rows[0].seqno if rows else 0

    def marks(self, session_id: str) -> list[dict[str, Any]]:
        """Return the marks of a session, oldest first."""
        return marks_in(self._spool.entries(session_id))

    def losses(self, lane: str) -> dict[str, int]:
        """Return what a lane lost in the newest session, by cause; nothing is left out."""
        plain = vars(self.ledger(lane))
        return {key: value for key, value in plain.items() if key.startswith("lost_") and value}

    def rows(self, lane: str, session_id: str = "") -> list[Row]:
        """Return a lane's rows in a session, or in the newest, in their order."""
        found: list[Row] = []
        for path in self._spool.segments(session_id or self.session_ids[-1], lane):
            with SegmentReader(path) as segment:
                for _, header, payload in segment.records():
                    if header.kind == record.DATA:
                        found += _rows(segment.head.schema, header, bytes(payload))
        return found

    def anchors(self, lane: str) -> list[Anchor]:
        """Return what a lane said of the time in the newest session, in its order."""
        found = []
        for path in self._spool.segments(self.session_ids[-1], lane):
            with SegmentReader(path) as segment:
                found += [
                    record.Anchor.unpack(payload)
                    for _, header, payload in segment.records()
                    if header.kind == record.ANCHOR
                ]
        return found


def _is_close(lane: LaneAudit) -> bool:
    """Tell whether all that the audit says is that times and counts are a little apart.

    Behind a gap an emulated machine's stamps are tens of ms off; counts are judged by the models.
    """
    due, expected = lane.due_by_time or 0, lane.recorded["expected"]
    is_about_times = all(BY_TIMES in one for one in lane.differences)
    return is_about_times and abs(expected - due) <= MOST_APART * expected


def _rows(schema: LaneSchema, header: record.Header, payload: bytes) -> Iterator[Row]:
    size = schema.row_bytes
    for index in range(header.rows):
        values, at = {}, index * size
        for field in schema.fields:
            kind = struct.Struct(field.type[0] + TYPES[field.type[1:]])
            (values[field.name],) = kind.unpack_from(payload, at)
            at += kind.size
        picture = payload[size:] if schema.blob is not None else b""
        stamp_ns = header.boot_ns + index * header.period_ns
        yield Row(header.seqno + index, stamp_ns, values, picture)
