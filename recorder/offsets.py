"""The offset of UTC from steady time in one boot, and how well it is known, from what is believed.

Each believed statement bounds the offset everywhere, the wider the farther away; together they
leave a band (set membership, as in interval arithmetic: nothing is averaged, so bounds that are
true stay true). The offset is a straight line between the middles of the band at the statements.
Outside of them it goes on at the mean rate between first and last, if that is known better than the
most by which an oscillator may be off.
"""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING

from recorder.evidence import DRIFT_PPB

if TYPE_CHECKING:
    from collections.abc import Sequence

    from recorder.evidence import Statement

#: An oscillator's rate at any time against its mean: what temperature does to a crystal between a
#: cold start and a hot case.
WANDER_PPB = 10_000
#: How fast it does that: 6 ppm a minute, several times what a board does that warms up.
BEND_PPB_PER_S = 100


class Offsets:
    """UTC minus steady time, piecewise linear.

    Args:
        found: what is believed, in order of time; at least one statement.
    """

    def __init__(self, found: Sequence[Statement]) -> None:
        self._steady = [one.steady for one in found]
        self._jumped = [one.jumped for one in found]
        self._middle, self._half = _band(found)
        self._rate_ppb, self._rate_bound_ppb = self._rate()
        self._sags = [self._sag(index) for index in range(len(found) - 1)]

    def at(self, steady: int) -> int:
        """Return the offset at a steady time, in ns."""
        index = bisect.bisect_right(self._steady, steady) - 1
        if index < 0 or index + 1 == len(self._steady):
            index = max(index, 0)
            away = steady - self._steady[index]
            return self._middle[index] + away * self._rate_ppb // 10**9
        begin, end = self._steady[index], self._steady[index + 1]
        rise = self._middle[index + 1] - self._middle[index]
        return self._middle[index] + (steady - begin) * rise // (end - begin)

    def bound(self, steady: int, jumped: int) -> int:
        """Return the bound of the offset's error at a steady time, in ns.

        Args:
            steady: when.
            jumped: by how much boot time may have jumped up to then, as `Statement.jumped`.
        """
        index = bisect.bisect_left(self._steady, steady)
        end = min(index, len(self._steady) - 1)
        if self._steady[end] == steady:
            return self._half[end]
        if index in (0, len(self._steady)):
            away = abs(steady - self._steady[end])
            return self._half[end] + self.drifted(away) + abs(jumped - self._jumped[end])
        return max(self._half[index - 1 : index + 1]) + self._sags[index - 1]

    def drifted(self, away: int) -> int:
        """Return by how much the bound grows in a time outside of the statements, in ns."""
        return away * self._rate_bound_ppb // 10**9

    def _rate(self) -> tuple[int, int]:
        """Return the rate outside of the statements and the bound of its error, in ppb."""
        passed = self._steady[-1] - self._steady[0]
        if passed <= 0:
            return 0, DRIFT_PPB
        unknown = self._half[0] + self._half[-1] + self._jumped[-1] - self._jumped[0]
        bound_ppb = unknown * 10**9 // passed + WANDER_PPB
        rate_ppb = (self._middle[-1] - self._middle[0]) * 10**9 // passed
        return (rate_ppb, bound_ppb) if bound_ppb < DRIFT_PPB else (0, DRIFT_PPB)

    def _sag(self, index: int) -> int:
        """Return how far the offset may lie from the straight line between two statements."""
        passed = self._steady[index + 1] - self._steady[index]
        bent = BEND_PPB_PER_S * (passed // 10**6) ** 2 // (8 * 10**6)
        sag = min(bent, passed * DRIFT_PPB // (2 * 10**9))
        if self._jumped[index + 1] > self._jumped[index]:
            sag += abs(self._middle[index + 1] - self._middle[index])
        return sag


def _band(found: Sequence[Statement]) -> tuple[list[int], list[int]]:
    """Return the band's middle and half its width at each statement.

    Half the smallest bound is the least width: where bounds hardly meet, one of them is not true.
    """
    slacks = [one.slack for one in found]
    upper = _nearest_limit(slacks, [one.offset + one.bound for one in found])
    lower = [-one for one in _nearest_limit(slacks, [one.bound - one.offset for one in found])]
    least = min(one.bound for one in found) // 2
    middle = [(low + high) // 2 for low, high in zip(lower, upper, strict=True)]
    half = [max((abs(high - low) + 1) // 2, least) for low, high in zip(lower, upper, strict=True)]
    return middle, half


def _nearest_limit(slacks: Sequence[int], limits: Sequence[int]) -> list[int]:
    """Return the least limit at each place, where every limit grows by slack away from its own."""
    found = list(limits)
    for index in range(1, len(found)):
        found[index] = min(found[index], found[index - 1] + slacks[index] - slacks[index - 1])
    for index in range(len(found) - 2, -1, -1):
        found[index] = min(found[index], found[index + 1] + slacks[index + 1] - slacks[index])
    return found
