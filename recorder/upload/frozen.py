"""The time as a session's parts were told it: what was frozen stays, later knots only append.

Two parts of one session, of the same lane or not, give the same boot time the same UTC, whenever
they were planned, and a lane's times rise from part to part. Where more is known later, time is led
over to it at 0.9 to 1.1 of its rate behind what is frozen.

Only where what was frozen turns out to be wrong by more than `STEP_NS` (a clock that nobody vouched
for, an RTC, a receiver that had not heard of leap seconds) the time is restated: parts from then on
have the right times, and say by which source.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from recorder.upload.parts import trimmed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from recorder.clock import Mapping
    from recorder.time_model import TimeModel

#: A difference that is not led over but restated; leading it over would bend time for 10 s.
STEP_NS = 1_000_000_000
#: A difference is led over in so many times its length.
_LEAD = 10


class Frozen:
    """What the parts that are journalled fix of the time.

    Args:
        mappings: those of the parts, in the order in which they were planned.
    """

    def __init__(self, mappings: Iterable[Mapping]) -> None:
        self._told: Mapping | None = None
        for one in mappings:
            self.keep(one)

    def keep(self, mapping: Mapping) -> None:
        """Take note of the mapping of a part that is journalled now."""
        told = self._told
        if told is None or is_restated(told, mapping):
            self._told = mapping
            return
        first, last = told.knots[0], told.knots[-1]
        before = [one for one in mapping.knots if one < first]
        behind = [one for one in mapping.knots if one > last]
        self._told = dataclasses.replace(mapping, knots=(*before, *told.knots, *behind))

    def extended(self, model: TimeModel, first: int, last: int) -> Mapping:
        """Return the mapping of a part: what is frozen, and beyond it what is known now.

        Args:
            model: what is known now.
            first: boot time of its first row.
            last: of its last.
        """
        told = self._told
        if told is None or any(
            abs(model.utc_ns(boot) - utc) > STEP_NS for boot, utc in (told.knots[0], told.knots[-1])
        ):
            return model.mapping(first, last)
        knots = (*_before(told.knots[0], model, first), *told.knots)
        knots += _behind(told.knots[-1], model, last)
        part = trimmed(dataclasses.replace(told, knots=knots, source=model.source), first, last)
        bound = model.bound_ns(first, last)
        if bound is not None:
            bound += max(abs(model.utc_ns(boot) - utc) for boot, utc in part.knots)
        return dataclasses.replace(part, uncertainty_ns=bound)


def is_restated(earlier: Mapping, later: Mapping) -> bool:
    """Tell whether a later part's mapping contradicts an earlier one's."""
    boot, utc = earlier.knots[-1]
    return abs(later.utc_ns(boot) - utc) > STEP_NS


def _behind(end: tuple[int, int], model: TimeModel, last: int) -> tuple[tuple[int, int], ...]:
    boot, utc = end
    if last <= boot:
        return ()
    joined = boot + _LEAD * abs(model.utc_ns(boot) - utc)
    if joined >= last:
        return ((joined, model.utc_ns(joined)),)
    return tuple(one for one in model.mapping(boot, last).knots[1:] if one[0] >= joined)


def _before(begin: tuple[int, int], model: TimeModel, first: int) -> tuple[tuple[int, int], ...]:
    boot, utc = begin
    if first >= boot:
        return ()
    joined = boot - _LEAD * abs(model.utc_ns(boot) - utc)
    if joined <= first:
        return ((joined, model.utc_ns(joined)),)
    return tuple(one for one in model.mapping(first, boot).knots[:-1] if one[0] <= joined)
