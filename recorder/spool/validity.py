"""How many of a lane's stored rows say that the device knew nothing.

A receiver in a tunnel still reports, and its rows are stored: no fix is no loss. Such rows are
counted beside the ledger (`invalid`), as they are written, and stand in the line of each segment
that is sealed. Known so far: rows of ontology GPS whose `status.status` is 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recorder import record
from recorder.spool.segment import SegmentReader

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from recorder.schema import LaneSchema
    from recorder.session.ledger import LaneLedger

_ONTOLOGY, _FIELD, _TYPE = "GPS", "status.status", "<i1"


def place_of(schema: LaneSchema) -> int | None:
    """Return where in a row the byte lies that is 0 if the row says nothing, or None."""
    offset = 0
    for one in schema.fields:
        if schema.ontology == _ONTOLOGY and (one.name, one.type) == (_FIELD, _TYPE):
            return offset
        offset += int(one.type[2:])
    return None


class Validity:
    """Counts the invalid rows of one lane.

    Args:
        ledger: the lane's; `invalid` is kept up to date here.
    """

    def __init__(self, ledger: LaneLedger) -> None:
        self._ledger = ledger
        self._place: int | None = None
        self._row_bytes = 0
        self._of_segment = 0

    def begin(self, schema: LaneSchema) -> None:
        """Begin a segment."""
        self._place, self._row_bytes = place_of(schema), schema.row_bytes
        self._of_segment = 0

    def take(self, memory: Sequence[memoryview]) -> None:
        """Look at whole records that lie behind each other."""
        if self._place is None:
            return
        raw, offset = b"".join(memory), 0
        while offset < len(raw):
            fields = record.unpack_fields(raw, offset)
            begin = offset + record.HEADER_BYTES
            offset = begin + fields[record.PAYLOAD_BYTES]
            if fields[record.ROWS]:
                self._count(raw[begin + self._place : offset : self._row_bytes])

    def _count(self, states: bytes | memoryview) -> None:
        invalid = bytes(states).count(0)
        self._ledger.invalid += invalid
        self._of_segment += invalid

    def sealed(self) -> dict[str, int]:
        """Return what the journal's line of the open segment says of it."""
        return {} if self._place is None else {"invalid": self._of_segment}

    def resume(self, entries: Iterable[dict[str, Any]]) -> None:
        """Begin with what the journal says of sealed segments."""
        lines = {one["file"]: one for one in entries if one["entry"] == "sealed"}
        self._ledger.invalid = sum(one.get("invalid", 0) for one in lines.values())

    def reopen(self, path: Path, end_bytes: int) -> None:
        """Count what an open segment holds."""
        with SegmentReader(path, end_bytes) as segment:
            self.begin(segment.head.schema)
            if self._place is None:
                return
            for _, header, payload in segment.records():
                if header.rows:
                    self._count(payload[self._place :: self._row_bytes])
                payload.release()
