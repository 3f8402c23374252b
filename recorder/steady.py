"""A boot's clock freed of what NTP does to it: CLOCK_MONOTONIC_RAW, with the suspends put back.

Samples carry CLOCK_BOOTTIME, which NTP slews and which goes on in a suspend; the raw clock is never
slewed and stands still in a suspend. Where both are known at two moments it shows what happened
between: a little more or less boot time is slewing, seconds more are a suspend. After a suspend
boot time may be off by what the kernel read from a clock that counts seconds.
"""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["OUTSIDE_PPB", "Steady"]

#: Boot time that ran ahead of the raw clock by more than this and `_SLEW_PPB` was a suspend. In the
#: ten seconds between two pairs chrony slews by 0.83 s at most (its maxslewrate), ntpd by 5 ms.
_SUSPEND_NS = 1_000_000_000
_SLEW_PPB = 600_000
#: Boot time behind a suspend against what it should be: the RTC's whole seconds, read twice.
_SUSPEND_ERROR_NS = 2_000_000_000
#: Less than this ahead is always slewing; more may be a suspend shorter than `_SUSPEND_NS`.
_SURELY_SLEWED_NS = 20_000_000
#: Where nobody read both clocks boot time may run off like this: the kernel's limit is 500 ppm.
OUTSIDE_PPB = 500_000
#: A stretch shorter than this tells no rate: reading two clocks takes microseconds, or a few ms.
_LEAST_STRETCH_NS = 5_000_000_000


class Steady:
    """Boot time to steady time, piecewise linear between moments at which both were read.

    Args:
        pairs: (CLOCK_BOOTTIME, CLOCK_MONOTONIC_RAW) in ns, in any order; a pair whose raw time is
            not known (0), or in which a clock went back, is left out. May be empty: then steady
            time is boot time.

    Attributes:
        boots: the boot times of the pairs that count, rising.
    """

    def __init__(self, pairs: Iterable[tuple[int, int]]) -> None:
        self.boots: list[int] = []
        self._bends_ns: list[int] = []
        #: From the first pair to each.
        self._jumped_ns: list[int] = []
        self._steady: list[int] = []
        raw_before = 0
        for boot, raw in sorted(set(pairs)):
            if raw <= 0 or (self.boots and (boot <= self.boots[-1] or raw < raw_before)):
                continue
            self._add(boot, raw - raw_before)
            raw_before = raw
        self._bend()

    def _add(self, boot: int, raw_passed: int) -> None:
        if not self.boots:
            self._steady.append(boot)
            self._jumped_ns.append(0)
        else:
            passed = boot - self.boots[-1]
            ahead = passed - raw_passed
            jump = 0
            if ahead > _SUSPEND_NS + passed * _SLEW_PPB // 10**9:
                jump, raw_passed = _SUSPEND_ERROR_NS, passed
            elif ahead > _SURELY_SLEWED_NS + passed * _SLEW_PPB // 10**9:
                jump = ahead
            self._jumped_ns.append(self._jumped_ns[-1] + jump)
            self._steady.append(self._steady[-1] + raw_passed)
        self.boots.append(boot)

    def _bend(self) -> None:
        """A rate that differs from its neighbours' changed somewhere in the stretch, not evenly."""
        rates = [
            (b - a) / (d - c)
            for a, b, c, d in zip(
                self._steady, self._steady[1:], self.boots, self.boots[1:], strict=False
            )
        ]
        for index, rate in enumerate(rates):
            near = rates[max(index - 1, 0) : index + 2]
            passed = self.boots[index + 1] - self.boots[index]
            self._bends_ns.append(round(max(abs(rate - one) for one in near) * passed))

    def at(self, boot: int) -> int:
        """Return the steady time of a boot time, in ns; outside of the pairs as near to them."""
        if not self.boots:
            return boot
        index = bisect.bisect_right(self.boots, boot) - 1
        if index < 0 or index + 1 == len(self.boots):
            return self._outside(boot, max(index, 0))
        from_boot, from_steady = self.boots[index], self._steady[index]
        passed = self.boots[index + 1] - from_boot
        return from_steady + (boot - from_boot) * (self._steady[index + 1] - from_steady) // passed

    def _outside(self, boot: int, end: int) -> int:
        away = boot - self.boots[end]
        near = min(end, len(self.boots) - 2)
        if near >= 0 and self._jumped_ns[near] == self._jumped_ns[near + 1]:
            passed = self.boots[near + 1] - self.boots[near]
            if passed >= _LEAST_STRETCH_NS:
                away = away * (self._steady[near + 1] - self._steady[near]) // passed
        return self._steady[end] + away

    def jumped_ns(self, boot: int) -> int:
        """Return by how much boot time may have jumped from the first pair to a boot time."""
        index = min(bisect.bisect_left(self.boots, boot), len(self.boots) - 1)
        return self._jumped_ns[index] if index >= 0 else 0

    def bend_ns(self, boot: int) -> int:
        """Return how far boot time may stray from the straight line in the stretch around it."""
        index = bisect.bisect_right(self.boots, boot) - 1
        return self._bends_ns[index] if 0 <= index < len(self._bends_ns) else 0
