"""What time it was in a boot: all its anchors together, as UTC and a bound for any boot time.

UTC is steady time (`recorder.steady`) and its offset (`recorder.offsets`) by what is believed
(`recorder.evidence`). Data from before a first fix get right times too, and say how right.

The error of `TimeModel.utc_ns` is within `TimeModel.bound_ns` if the anchors' own bounds are true
and the machine's oscillator is one, see `DRIFT_PPB`, `WANDER_PPB` and `BEND_PPB_PER_S`.
"""

from __future__ import annotations

import bisect
import datetime
from typing import TYPE_CHECKING

from recorder.clock import Mapping
from recorder.evidence import Statement, believed
from recorder.offsets import Offsets
from recorder.record import ANCHOR_SOURCES
from recorder.steady import OUTSIDE_PPB, Steady

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from recorder.record import Anchor

#: Anchors farther from a session than this hardly narrow its times.
_NEAR_NS = 3_600_000_000_000
#: At the end of June and of December UTC may go back by a second.
_LEAP_NS = 1_000_000_000
_JULY = 7


class TimeModel:
    """Boot time to UTC, with a bound of the error.

    Args:
        anchors: of one boot, at least one. Those of source ``none`` tell both clocks, and what the
            system's clock said; they count for UTC only if there are no others, and then the first
            alone: a clock that nobody vouches for may jump, time does not.

    Attributes:
        source: the best source among those believed, or ``none``.
    """

    def __init__(self, anchors: Sequence[Anchor]) -> None:
        given = sorted(anchors, key=lambda one: one.boot_ns)
        self._steady = Steady((one.boot_ns, one.monotonic_raw_ns) for one in given)
        vouched = [one for one in given if one.source != "none"]
        self._leaps = _leaps(one for one in vouched if one.uncertainty_ns <= _LEAP_NS)
        found = believed([self._statement(one) for one in vouched])
        self.source = max((one.source for one in found), key=ANCHOR_SOURCES.index, default="none")
        #: UTC and the bounds at the knots, and the bound between each two.
        self._utc: list[int] = []
        self._bounds: list[int] = []
        if found:
            self._knots = sorted({*self._steady.boots, *(one.boot for one in found)})
            self._lay(Offsets(found))
        else:
            self._knots, self._utc = [given[0].boot_ns], [given[0].utc_ns]

    def _statement(self, one: Anchor) -> Statement:
        boot, at = one.boot_ns, self._steady.at(one.boot_ns)
        offset = one.utc_ns - at
        return Statement(boot, at, self._jumped(boot), offset, one.uncertainty_ns, one.source)

    def _jumped(self, boot: int) -> int:
        """Return by how much the offset may have jumped up to a boot time."""
        return self._steady.jumped_ns(boot) + _LEAP_NS * bisect.bisect_right(self._leaps, boot)

    def _lay(self, offsets: Offsets) -> None:
        steady = [self._steady.at(boot) for boot in self._knots]
        self._offsets = offsets
        for boot, at in zip(self._knots, steady, strict=True):
            utc = at + offsets.at(at)
            if self._utc:  # behind a suspend boot time may be seconds ahead of itself: never UTC
                utc = max(utc, self._utc[-1] + (boot - self._knots[len(self._utc) - 1]) // 2)
            self._utc.append(utc)
        jumped = [self._jumped(boot) for boot in self._knots]
        points = [
            offsets.bound(at, so_far) + abs(utc - at - offsets.at(at))
            for at, so_far, utc in zip(steady, jumped, self._utc, strict=True)
        ]
        for index in range(len(self._knots) - 1):
            middle = offsets.bound((steady[index] + steady[index + 1]) // 2, jumped[index + 1])
            bend = self._steady.bend_ns(self._knots[index])
            self._bounds.append(max(*points[index : index + 2], middle) + bend)
        self._ends = points[0], points[-1]

    def utc_ns(self, boot: int) -> int:
        """Return the UTC of a boot time, in ns since 1970; it rises with boot time."""
        index = bisect.bisect_right(self._knots, boot) - 1
        if index < 0 or index + 1 == len(self._knots):
            return self._utc[max(index, 0)] + self._passed(self._knots[max(index, 0)], boot)
        at, utc = self._knots[index], self._utc[index]
        return utc + (boot - at) * (self._utc[index + 1] - utc) // (self._knots[index + 1] - at)

    def _passed(self, knot: int, boot: int) -> int:
        if self.source == "none":
            return boot - knot
        begin, end = self._steady.at(knot), self._steady.at(boot)
        return end - begin + self._offsets.at(end) - self._offsets.at(begin)

    def bound_ns(self, first: int, last: int) -> int | None:
        """Return what the error of no UTC between two boot times exceeds, in ns; None: unknown.

        Args:
            first: the earlier boot time.
            last: the later one, or the same.
        """
        if self.source == "none":
            return None
        begin = max(bisect.bisect_right(self._knots, first) - 1, 0)
        end = max(bisect.bisect_left(self._knots, last), begin + 1)
        bound: int = max(
            [
                *(self._bounds[begin:end] or self._ends),
                self._outside(self._knots[0] - first, self._ends[0]),
                self._outside(last - self._knots[-1], self._ends[1]),
            ]
        )
        return bound

    def _outside(self, away: int, bound: int) -> int:
        return bound + self._offsets.drifted(away) + away * OUTSIDE_PPB // 10**9 if away > 0 else 0

    def mapping(self, first: int, last: int) -> Mapping:
        """Return the straight lines between two boot times, with the largest bound there.

        Args:
            first: the earlier boot time, the first knot.
            last: the later one, or the same, the last knot.
        """
        begin = bisect.bisect_right(self._knots, first)
        boots = [first, *self._knots[begin : bisect.bisect_left(self._knots, last)]]
        if last > first:
            boots.append(last)
        knots = tuple((boot, self.utc_ns(boot)) for boot in boots)
        return Mapping(knots, self.source, self.bound_ns(first, last))


def near(anchors: Sequence[Anchor], first: int, last: int) -> Sequence[Anchor]:
    """Return the anchors that matter between two boot times: a boot may go on for weeks.

    All of them, if nobody vouched for the time there.
    """
    kept = [one for one in anchors if first - _NEAR_NS <= one.boot_ns <= last + _NEAR_NS]
    return kept if any(one.source != "none" for one in kept) else anchors


def _leaps(anchors: Iterable[Anchor]) -> list[int]:
    """Return the boot times at which UTC may have leapt: a source went on over such a midnight.

    Since the second that is put in has the same numbers as the one behind it, an anchor with these
    may stand before the leap or behind it: then both sides of it are named.
    """
    found: set[int] = set()
    last: dict[str, Anchor] = {}
    for one in anchors:
        before = last.get(one.source, one)
        last[one.source] = one
        passed = one.utc_ns - before.utc_ns, one.boot_ns - before.boot_ns
        if abs(passed[0] - passed[1]) <= 2 * _LEAP_NS:
            for doubt_ns in (0, 2 * _LEAP_NS):
                if _half_year(one.utc_ns - doubt_ns) != _half_year(before.utc_ns - doubt_ns):
                    found.add(one.boot_ns)
    return sorted(found)


def _half_year(utc_ns: int) -> tuple[int, bool]:
    when = datetime.datetime.fromtimestamp(utc_ns // 10**9, datetime.timezone.utc)
    return when.year, when.month >= _JULY
