"""Rules while they are watched: whether what each asks for is so, from one look to the next.

A look costs little: the newest row of the lanes that rules ask for is copied when the spool's
process takes it, and one number of it is unpacked.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import struct
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from drivers.base import TYPES
from recorder import record
from recorder.gpio import open_line

if TYPE_CHECKING:
    from collections.abc import Collection

    from recorder.config import Rule
    from recorder.gpio import Line
    from recorder.ring import RingReader
    from recorder.schema import LaneSchema

log = logging.getLogger(__name__)

#: A value that is older than this is none: its device may be gone.
STALE_S = 5.0
_S_NS = 1_000_000_000


@dataclass
class _Row:
    schema: LaneSchema
    boot_ns: int
    raw: bytes


class Newest:
    """The newest row of some lanes.

    Args:
        lanes: their names.
    """

    def __init__(self, lanes: Collection[str]) -> None:
        self._lanes = frozenset(lanes)
        self._rows: dict[str, _Row] = {}
        #: Position up to which each ring was looked at, by epoch.
        self._ends: dict[int, int] = {}
        #: Time of each lane's newest sample.
        self._heard_ns: dict[str, int] = {}

    def look(self, ring: RingReader) -> None:
        """Keep the newest of what was taken from any lane's ring, before its memory is freed."""
        lane = ring.schema.lane
        if lane not in self._lanes:
            return
        heard_ns = self._heard_ns.get(lane, 0)  # the ring's head goes on while nothing comes
        at = max(self._ends.get(ring.epoch, 0), ring.tail_position())
        while at < ring.position and (found := ring.record_at(at)) is not None:
            header, memory = found
            at = header.end_position
            if header.rows:
                width = ring.schema.row_bytes
                skipped = record.HEADER_BYTES + (header.rows - 1) * width
                raw = _bytes_at(memory, skipped, width)
                self._rows[lane] = _Row(ring.schema, header.last_boot_ns, raw)
                heard_ns = max(heard_ns, header.last_boot_ns)
        self._ends[ring.epoch] = at
        self._heard_ns[lane] = heard_ns

    def value(self, lane: str, field: str, now_boot_ns: int) -> float | None:
        """Return a value of a lane's newest row, in its unit; None if it is not known, or old."""
        row = self._rows.get(lane)
        if row is None or now_boot_ns - row.boot_ns > STALE_S * _S_NS:
            return None
        begin = 0
        for one in row.schema.fields:
            if one.name == field:
                (raw,) = struct.unpack_from(one.type[0] + TYPES[one.type[1:]], row.raw, begin)
                is_known = raw != one.null and not math.isnan(raw)
                return raw * one.scale + one.offset if is_known else None
            begin += int(one.type[2:])
        return None

    def heard_boot_ns(self, lane: str) -> int:
        """Return the time of a lane's newest sample; 0 if it never gave one."""
        return self._heard_ns.get(lane, 0)


def _bytes_at(memory: list[memoryview], begin: int, size: int) -> bytes:
    """Copy a stretch of memory that lies in pieces."""
    found = b""
    for piece in memory:
        found += bytes(piece[begin : begin + size - len(found)])
        begin = max(begin - len(piece), 0)
    return found


class Trigger:
    """One rule, and whether it holds.

    Args:
        rule: the rule.
        begun_boot_ns: when watching began: a lane's silence is reckoned from there at the earliest.
        held_boot_ns: when it was last so, if it held as the process before left it; 0: it did not.
    """

    def __init__(self, rule: Rule, begun_boot_ns: int, held_boot_ns: int = 0) -> None:
        self.rule = rule
        self.holds = held_boot_ns > 0
        self._begun_ns = begun_boot_ns
        self._since_ns: int | None = None
        self._last_ns = held_boot_ns
        self._line: Line | None = None
        self._told = ""

    def look(self, newest: Newest, now_boot_ns: int) -> bool:
        """Look once; return whether the rule began to hold."""
        is_so = self._is_so(newest, now_boot_ns)
        if is_so is None:
            return False
        if is_so:
            self._last_ns = now_boot_ns
            self._since_ns = now_boot_ns if self._since_ns is None else self._since_ns
        else:
            self._since_ns = None
        before = self.holds
        if before:
            self.holds = is_so or now_boot_ns - self._last_ns <= self.rule.keep_s * _S_NS
        else:
            since_ns = now_boot_ns if self._since_ns is None else self._since_ns
            self.holds = is_so and now_boot_ns - since_ns >= self.rule.for_s * _S_NS
        return self.holds and not before

    def to_dict(self) -> dict[str, Any]:
        """Return the rule and when it was last so, for the process that comes after this one."""
        return {"rule": asdict(self.rule), "held_boot_ns": self._last_ns}

    def _is_so(self, newest: Newest, now_boot_ns: int) -> bool | None:
        """Tell whether it is so; None: the lane was not heard since watching began."""
        rule = self.rule
        if rule.line or rule.present:
            return self._is_active() if rule.line else os.path.lexists(rule.present)
        heard_ns = newest.heard_boot_ns(rule.lane)
        quiet_ns = now_boot_ns - max(heard_ns, self._begun_ns)
        is_silent = quiet_ns > (STALE_S if rule.silent_s is None else rule.silent_s) * _S_NS
        if not heard_ns and not is_silent:
            return None
        if rule.silent_s is not None:
            return is_silent
        value = newest.value(rule.lane, rule.field, now_boot_ns)
        if value is None:
            return False
        is_above = rule.above is not None and value > rule.above
        return is_above or (rule.below is not None and value < rule.below)

    def _is_active(self) -> bool:
        """Read the line; one that cannot be read is not active, is told once, and tried again."""
        try:
            if self._line is None:
                self._line = open_line(self.rule.line, active_low=self.rule.active_low)
            found = self._line.read()
        except OSError as error:
            self.close()
            if str(error) != self._told:
                log.warning("%s cannot be read: %s", self.rule.line, error)
                self._told = str(error)
            return False
        self._told = ""
        return found

    def close(self) -> None:
        """Let go of the line; may be called twice."""
        if self._line is not None:
            with contextlib.suppress(OSError):
                self._line.close()
            self._line = None
