"""Which boot this is, what its clock says, and how that clock relates to UTC.

Samples are stamped with CLOCK_BOOTTIME, which never jumps. UTC is a matter of `Anchor`s: statements
of what time it is, by source. `recorder.time_model` makes of them what is known of a boot's time;
a `Mapping` is a stretch of that, frozen, and turns boot time into UTC when data leave the vehicle,
so that samples from before the first fix get right times too.
"""

from __future__ import annotations

import bisect
import datetime
import time
from dataclasses import dataclass
from pathlib import Path

from drivers.base import boot_ns
from recorder.record import Anchor

__all__ = [
    "ANCHOR_PERIOD_NS",
    "Mapping",
    "anchor_now",
    "basic_utc",
    "boot_id",
    "boot_ns",
    "iso_utc",
    "system_anchor",
    "wall_ns",
]

#: An anchor is taken when a source is first known and then this often.
ANCHOR_PERIOD_NS = 10_000_000_000
_READINGS = 3
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> bytes:
    """Return the 16 bytes that name this boot of the machine."""
    return bytes.fromhex(_BOOT_ID.read_text().replace("-", ""))


def iso_utc(utc_ns: int | None) -> str:
    """Return a UTC as in ``2014-03-26T12:38:25.300Z``, or ``unknown``.

    >>> iso_utc(1395837505300000000)
    '2014-03-26T12:38:25.300Z'
    """
    if utc_ns is None:
        return "unknown"
    when = datetime.datetime.fromtimestamp(utc_ns // 1_000_000_000, datetime.timezone.utc)
    return f"{when:%Y-%m-%dT%H:%M:%S}.{utc_ns // 1_000_000 % 1000:03d}Z"


def basic_utc(utc_ns: int | None) -> str:
    """Return a UTC as in ``20140326T123825Z``, as names have it, or ``unknown``."""
    if utc_ns is None:
        return "unknown"
    when = datetime.datetime.fromtimestamp(utc_ns // 1_000_000_000, datetime.timezone.utc)
    return when.strftime("%Y%m%dT%H%M%SZ")


def wall_ns(boot: int) -> int:
    """Return what the system's clock said, or will say, at a boot time near to now.

    Both clocks are read three times and the closest reading counts: one that was interrupted would
    put them milliseconds apart.
    """
    return boot + _ahead_ns(time.CLOCK_REALTIME)


def anchor_now(boot: int, utc_ns: int, uncertainty_ns: int, source: str) -> Anchor:
    """Make an anchor from a UTC that belongs to the boot time `boot`, not long ago."""
    raw_ns = boot + _ahead_ns(time.CLOCK_MONOTONIC_RAW)
    return Anchor(boot, raw_ns, utc_ns, uncertainty_ns, source)


def system_anchor() -> Anchor:
    """Return what the system's clock says now; nobody vouches for it (source ``none``)."""
    boot = boot_ns()
    return anchor_now(boot, wall_ns(boot), 0, "none")


def _ahead_ns(clock: int) -> int:
    """Return a clock minus CLOCK_BOOTTIME."""
    best = (1 << 63, 0)
    for _ in range(_READINGS):
        before = boot_ns()
        there = time.clock_gettime_ns(clock)
        after = boot_ns()
        best = min(best, (after - before, there - (before + after) // 2))
    return best[1]


@dataclass(frozen=True)
class Mapping:
    """Boot time to UTC, piecewise linear: a stretch of a `recorder.time_model.TimeModel`, frozen.

    Args:
        knots: (boot_ns, utc_ns), both rising; never empty.
        source: the best source behind it, or ``none`` if nobody vouches for it.
        uncertainty_ns: bound of the error between the first knot and the last; None: not known.
    """

    knots: tuple[tuple[int, int], ...]
    source: str
    uncertainty_ns: int | None

    def utc_ns(self, boot: int) -> int:
        """Return the UTC of a boot time; before the first knot and behind the last at rate 1."""
        index = bisect.bisect_right(self.knots, (boot, 2**63)) - 1
        at, utc = self.knots[max(index, 0)]
        if index < 0 or index + 1 == len(self.knots):
            return utc + boot - at
        next_at, next_utc = self.knots[index + 1]
        return utc + (boot - at) * (next_utc - utc) // (next_at - at)
