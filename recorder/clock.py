"""Which boot this is, what its clock says, and how that clock relates to UTC.

Samples are stamped with CLOCK_BOOTTIME, which never jumps. UTC is a matter of `Anchor`s: statements
of what time it is, by source. `Mapping` turns boot time into UTC when data leave the vehicle, so
that samples from before the first fix get right times too.
"""

from __future__ import annotations

import bisect
import datetime
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from drivers.base import boot_ns
from recorder.record import ANCHOR_SOURCES, Anchor

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "ANCHOR_PERIOD_NS",
    "Mapping",
    "anchor_now",
    "basic_utc",
    "boot_id",
    "boot_ns",
    "iso_utc",
    "system_anchor",
]

#: An anchor is taken when a source is first known and then this often.
ANCHOR_PERIOD_NS = 10_000_000_000
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> bytes:
    """Return the 16 bytes that name this boot of the machine."""
    return uuid.UUID(_BOOT_ID.read_text().strip()).bytes


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


def anchor_now(boot: int, utc_ns: int, uncertainty_ns: int, source: str) -> Anchor:
    """Make an anchor from a UTC that belongs to the boot time `boot`, not long ago."""
    raw_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW) - (boot_ns() - boot)
    return Anchor(boot, raw_ns, utc_ns, uncertainty_ns, source)


def system_anchor() -> Anchor:
    """Return what the system's clock says now; nobody vouches for it (source ``none``)."""
    boot = boot_ns()
    return anchor_now(boot, time.time_ns(), 0, "none")


@dataclass(frozen=True)
class Mapping:
    """Boot time to UTC, piecewise linear through anchors of one source.

    Args:
        knots: (boot_ns, utc_ns), both rising; never empty.
        source: the source of all knots, or ``none`` if nobody vouches for them.
        uncertainty_ns: the largest uncertainty of the knots.
    """

    knots: tuple[tuple[int, int], ...]
    source: str
    uncertainty_ns: int

    @classmethod
    def through(cls, anchors: Iterable[Anchor]) -> Mapping:
        """Lay a mapping through the anchors of the best source among them.

        Args:
            anchors: at least one, of one boot. An anchor that steps back in boot time or in UTC,
                or that disagrees with the first of its source by more than both their bounds and
                1 % of the time between, is left out: a clock may be slow, but does not jump.
        """
        given = sorted(anchors, key=lambda one: one.boot_ns)
        source = max((one.source for one in given), key=ANCHOR_SOURCES.index)
        best = [one for one in given if one.source == source]
        kept = [best[0]]
        for one in best[1:]:
            if _follows(kept[-1], one):
                kept.append(one)
        return cls(
            tuple((one.boot_ns, one.utc_ns) for one in kept),
            source,
            max(one.uncertainty_ns for one in kept),
        )

    def utc_ns(self, boot: int) -> int:
        """Return the UTC of a boot time; before the first knot and behind the last at rate 1."""
        index = bisect.bisect_right(self.knots, (boot, 2**63)) - 1
        at, utc = self.knots[max(index, 0)]
        if index < 0 or index + 1 == len(self.knots):
            return utc + boot - at
        next_at, next_utc = self.knots[index + 1]
        return utc + (boot - at) * (next_utc - utc) // (next_at - at)


def _follows(earlier: Anchor, later: Anchor) -> bool:
    passed_ns = later.boot_ns - earlier.boot_ns
    utc_ns = later.utc_ns - earlier.utc_ns
    slack_ns = earlier.uncertainty_ns + later.uncertainty_ns + passed_ns // 100
    return passed_ns > 0 and utc_ns > 0 and abs(utc_ns - passed_ns) <= slack_ns
