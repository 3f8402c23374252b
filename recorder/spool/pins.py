"""Pins: what a person asked to keep, whatever the disk needs.

A pin is an entry of its session's journal: ``pin`` with ``from_boot_ns`` and ``to_boot_ns``, each a
time or null (from the beginning, to the end); ``unpin`` takes all pins of the session back. It
holds every segment with a sample between the two, also those that come later. All pins together
hold at most a share of the disk: a pin that would hold more is refused. What grows beyond it later
(a session that is still being recorded) is held from the oldest segment up to that share; the rest
stays as long as there is room, goes last of what the server does not hold, and its tombstone says
that it was ``pinned``. The log tells when pins have outgrown their share, and what that costs.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recorder.clock import boot_ns
from recorder.errors import RecorderError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from recorder.spool.stock import Key, Segment

log = logging.getLogger(__name__)

_MOST_S = 1e9
#: What is given up is told so often at most.
_TELL_NS = 60_000_000_000


@dataclass(frozen=True)
class Pin:
    """A stretch of a session that is to be kept.

    Args:
        from_boot_ns: CLOCK_BOOTTIME at which it begins, or None: with the session.
        to_boot_ns: CLOCK_BOOTTIME at which it ends, or None: with the session.
    """

    from_boot_ns: int | None = None
    to_boot_ns: int | None = None

    def holds(self, first_boot_ns: int | None, last_boot_ns: int | None) -> bool:
        """Tell whether a segment is held, by the times of its first and last sample.

        >>> Pin(10, 20).holds(0, 9), Pin(10, 20).holds(0, 10), Pin(10).holds(30, 40)
        (False, True, True)
        """
        if first_boot_ns is None or last_boot_ns is None:  # it has no sample
            return self == Pin()
        begins = self.to_boot_ns is None or first_boot_ns <= self.to_boot_ns
        return begins and (self.from_boot_ns is None or last_boot_ns >= self.from_boot_ns)

    @classmethod
    def between(cls, start_boot_ns: int, from_s: float | None, to_s: float | None) -> Pin:
        """Return the pin between two times of a session.

        Args:
            start_boot_ns: when the session began.
            from_s: seconds behind that, or None.
            to_s: seconds behind that, or None.

        Raises:
            RecorderError: these are no such times.
        """
        for one in (from_s, to_s):
            if one is not None and not 0 <= one < _MOST_S:
                raise RecorderError(f"{one!r}: seconds from the session's start, 0 or more")
        if from_s is not None and to_s is not None and to_s <= from_s:
            raise RecorderError(f"the end, {to_s:g} s, must lie behind the beginning, {from_s:g} s")
        ends = [None if one is None else start_boot_ns + round(one * 1e9) for one in (from_s, to_s)]
        return cls(*ends)

    def to_entry(self) -> dict[str, Any]:
        """Return the journal's entry."""
        return {"entry": "pin", "from_boot_ns": self.from_boot_ns, "to_boot_ns": self.to_boot_ns}

    @classmethod
    def from_entry(cls, entry: dict[str, Any]) -> Pin:
        """Read what `to_entry` made."""
        return cls(entry["from_boot_ns"], entry["to_boot_ns"])


UNPIN = {"entry": "unpin"}


def held(pinned: Iterable[Segment], cap_bytes: int) -> set[Key]:
    """Return the keys of those pinned segments that the share for pins has room for.

    Args:
        pinned: every segment that a pin holds.
        cap_bytes: what pins may hold.
    """
    kept: set[Key] = set()
    total_bytes = 0
    for one in sorted(pinned, key=lambda one: one.order):
        total_bytes += one.disk_bytes
        if total_bytes > cap_bytes:
            break
        kept.add(one.key)
    return kept


class Overflow:
    """What pins do not hold because they have outgrown their share, and telling so."""

    def __init__(self) -> None:
        #: Keys of pinned segments that are not held.
        self.keys: set[Key] = set()
        self._is_told = False
        self._lost_rows = self._lost_segments = 0
        self._next_ns = 0

    def look(self, pinned: Collection[Segment], cap_bytes: int) -> set[Key]:
        """Return the keys of the segments that are held; tell when that is not all any more.

        Args:
            pinned: every segment that a pin holds, or would.
            cap_bytes: what pins may hold.
        """
        kept = held(pinned, cap_bytes)
        rest = [one for one in pinned if one.key not in kept]
        self.keys = {one.key for one in rest}
        if rest and not self._is_told:
            log.warning(
                "pins have outgrown the %d bytes that they may hold (spool.pin_share): %d segments"
                " (%d bytes) are kept only as long as there is room; unpin something, or pin less",
                cap_bytes,
                len(rest),
                sum(one.disk_bytes for one in rest),
            )
        self._is_told = bool(rest)
        return kept

    def lose(self, segments: Collection[Segment]) -> None:
        """Count those of some segments that are given up though a pin was to hold them."""
        lost = [one for one in segments if one.key in self.keys]
        self._lost_segments += len(lost)
        self._lost_rows += sum(one.rows for one in lost)
        if lost and boot_ns() >= self._next_ns:
            self._next_ns = boot_ns() + _TELL_NS
            log.warning(
                "no room: %d pinned segments (%d samples) were given up so far, the last of session"
                " %s: pins have outgrown what they may hold",
                self._lost_segments,
                self._lost_rows,
                lost[-1].session_id,
            )
