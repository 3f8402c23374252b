"""Which statements of the time are believed, and how they bound it together.

What a statement says is its **offset**: UTC minus steady time (`recorder.steady`). True offsets
change by `DRIFT_PPB` at most, the most that an oscillator may be off. So each statement bounds the
offset everywhere, the wider the farther away, and all together leave a band.

Before that it is decided what is believed:

1.  Statements of one source that contradict each other fall into groups; the largest is believed.
    But a receiver that corrects itself by whole seconds (it had not heard of leap seconds yet), or
    an NTP that stepped, is right afterwards: three such statements suffice. And of two groups 1024
    weeks apart the later date is right: a receiver's week number rolled over.
2.  A single statement off the line of its neighbours is left out; what is left is evened out by the
    median of each with its neighbours, so that one that is a little off narrows nothing.
3.  The most trusted source counts. A less trusted one is used where it agrees, and then narrows the
    band; where it does not, it is left out. It also gives away what a receiver by itself cannot
    know: that it is 1024 weeks, or by NTP some whole seconds, off.
"""

from __future__ import annotations

import bisect
import operator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from recorder.record import ANCHOR_SOURCES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["DRIFT_PPB", "Statement", "believed"]

#: The most by which an oscillator is off, and by which an offset changes. Crystals are sold with
#: 20 to 50 ppm; temperature and age come on top.
DRIFT_PPB = 100_000
#: A group of so many speaks for itself.
_ENOUGH = 3
_S_NS = 1_000_000_000
_WEEKS_1024_NS = 1024 * 7 * 86_400 * _S_NS
#: GPS and UTC were 18 s apart from 2017 on; no receiver's table of leap seconds is off by more.
_MOST_LEAPS = 20
#: A difference is that of whole seconds only if it is known better than this.
_CLOSE_NS = 300_000_000
#: Neighbours on each side that a statement is held against.
_NEAR = 3


@dataclass(frozen=True)
class Statement:
    """One anchor as the model sees it; all in ns.

    Args:
        boot: CLOCK_BOOTTIME.
        steady: steady time.
        jumped: by how much boot time may have jumped since the boot; differences count.
        offset: UTC minus steady time.
        bound: of the offset's error.
        source: one of `ANCHOR_SOURCES`.
    """

    boot: int
    steady: int
    jumped: int
    offset: int
    bound: int
    source: str

    @property
    def slack(self) -> int:
        """What grows with time by as much as the offset may change; differences count."""
        return self.steady * DRIFT_PPB // 10**9 + self.jumped

    def agrees(self, other: Statement) -> bool:
        """Tell whether both can be true."""
        return abs(self.offset - other.offset) <= self.reach(other)

    def reach(self, other: Statement) -> int:
        """Return how far two offsets may be apart."""
        return self.bound + other.bound + abs(self.slack - other.slack)


def believed(statements: Sequence[Statement]) -> list[Statement]:
    """Return what is believed, in order of time; empty if there was nothing.

    Args:
        statements: in order of time, none of source ``none``.
    """
    found: list[Statement] = []
    for source in reversed(ANCHOR_SOURCES):
        mine = _one_voice([one for one in statements if one.source == source])
        if not found:
            found = mine
            continue
        found = _mended(found, mine)
        found += [one for one in mine if one.agrees(_nearest(found, one))]
        found.sort(key=lambda one: one.boot)
    return found


def _one_voice(statements: Sequence[Statement]) -> list[Statement]:
    """Return what one source says, without its contradictions."""
    groups = _grouped(statements)
    if not groups:
        return []
    right = _right(groups)
    whole = [
        replace(one, offset=one.offset + shift)
        for group in groups
        if (shift := _shift(group, right)) is not None
        for one in group
    ]
    return _evened(_without_strays(sorted(whole, key=lambda one: one.boot)))


def _grouped(statements: Sequence[Statement]) -> list[list[Statement]]:
    """Put together what can be true together; each joins the largest group that it may."""
    groups: list[list[Statement]] = []
    for one in statements:
        home = next((group for group in groups if one.agrees(group[-1])), None)
        if home is None:
            groups.append(home := [])
        home.append(one)
        # Kept in order of their size, so that nearly all find theirs at the first look.
        if len(groups) > 1 and home is not groups[0]:
            groups.sort(key=len, reverse=True)
    return groups


def _right(groups: Sequence[list[Statement]]) -> list[Statement]:
    largest = max(groups, key=lambda group: (len(group), group[-1].boot))
    newest = max(groups, key=lambda group: group[-1].boot)
    is_corrected = newest[0].source == "ntp" or bool(_seconds(largest, newest))
    right = newest if len(newest) >= _ENOUGH and is_corrected else largest
    later = [group for group in groups if len(group) >= _ENOUGH and _weeks(right, group) > 0]
    return max(later, key=lambda group: group[-1].offset, default=right)


def _shift(group: Sequence[Statement], right: Sequence[Statement]) -> int | None:
    """Return what makes a group true, or None if that is not known."""
    if group is right:
        return 0
    if len(group) < _ENOUGH:
        return None
    return _weeks(group, right) or _seconds(group, right) or None


def _apart(group: Sequence[Statement], right: Sequence[Statement]) -> tuple[int, int]:
    one, other = min(
        ((one, other) for one in (group[0], group[-1]) for other in (right[0], right[-1])),
        key=lambda pair: abs(pair[0].boot - pair[1].boot),
    )
    return other.offset - one.offset, one.reach(other)


def _weeks(group: Sequence[Statement], right: Sequence[Statement]) -> int:
    """Return the difference if it is that of rolled-over weeks, else 0."""
    apart, reach = _apart(group, right)
    return _multiple(apart, _WEEKS_1024_NS, reach)


def _seconds(group: Sequence[Statement], right: Sequence[Statement]) -> int:
    """Return the difference if it is that of some leap seconds, else 0."""
    apart, reach = _apart(group, right)
    if group[0].source == right[0].source:
        reach //= 4  # what one receiver is off by all the time is in both
    whole = _multiple(apart, _S_NS, reach) if reach <= _CLOSE_NS else 0
    return whole if abs(whole) <= _MOST_LEAPS * _S_NS else 0


def _multiple(apart: int, unit: int, reach: int) -> int:
    whole = round(apart / unit) * unit
    return whole if abs(apart - whole) <= reach else 0


def _without_strays(statements: Sequence[Statement]) -> list[Statement]:
    """Leave out single statements that their neighbours contradict, within their own bounds too."""
    kept = []
    for index, one in enumerate(statements):
        near = statements[max(index - _NEAR, 0) : index + _NEAR + 1]
        middle = _median(other.offset for other in near)
        spread = _median(abs(other.offset - middle) for other in near)
        slack = near[-1].slack - near[0].slack
        if len(near) <= _NEAR or abs(one.offset - middle) <= 4 * spread + one.bound // 4 + slack:
            kept.append(one)
    return kept


def _evened(statements: Sequence[Statement]) -> list[Statement]:
    """Give each the median offset of as many neighbours on one side as on the other.

    A steady drift goes through such a median as it is.
    """
    even = []
    for index, one in enumerate(statements):
        reach = min(_NEAR, index, len(statements) - 1 - index)
        near = statements[index - reach : index + reach + 1]
        even.append(replace(one, offset=_median(other.offset for other in near)))
    return even


def _median(values: Iterable[int]) -> int:
    """Return the middle one; `statistics` would cost the spool's process two megabytes."""
    ordered = sorted(values)
    return ordered[len(ordered) // 2]


def _mended(found: list[Statement], other: Sequence[Statement]) -> list[Statement]:
    """Return what is believed, set right by another source if it shows a receiver's known fault."""
    if len(other) < _ENOUGH or any(one.agrees(_nearest(found, one)) for one in other):
        return found
    shift = _weeks(found, other)
    if not shift and other[0].source == "ntp":
        shift = _seconds(found, other)
    return [replace(one, offset=one.offset + shift) for one in found]


def _nearest(statements: Sequence[Statement], to: Statement) -> Statement:
    index = bisect.bisect_left(statements, to.boot, key=operator.attrgetter("boot"))
    near = statements[max(index - 1, 0) : index + 1]
    return min(near, key=lambda one: abs(one.boot - to.boot))
