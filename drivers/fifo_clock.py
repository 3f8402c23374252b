"""When the samples in a chip's FIFO were taken, from nothing but how many there were, and when.

A sensor chip samples on a clock of its own, some per cent off its nominal rate, and its FIFO has no
times. But every look at the FIFO's fill says two things for certain: the newest sample in it was
taken before the look ended, and the next one after the look began. So the time of every sample is
an interval (`span`), and each look narrows it. If looks are taken when a sample is expected
(`aim_ns`), each halves the interval, down to what a transfer takes. Two narrow intervals far
apart give the period.

Nothing here averages: as long as the true period stays within the tolerance the true time is
inside the interval, whatever the load of the machine does to the looks.
"""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple

#: Anchors, about one a second, over which the period is measured.
ANCHORS = 12
#: Stamps, some seconds of bursts, over which their jitter is taken.
JUMPS = 100
#: What is allowed for the drift of an oscillator: within the baseline, and of an older measurement
#: in every further second. 5e-6/s is a sensor that warms by 4 degrees a minute at 80 ppm/degree.
DRIFT = 2e-5
DRIFT_PER_S = 5e-6
#: Looks over which it is averaged how late they come.
LATE_LOOKS = 8
#: No chip is so many times as fast as it was told to be, nor ahead by so many samples beside.
MOST_FAST, MOST_AHEAD = 2, 4


class Span(NamedTuple):
    """An interval that holds the true value: an instant of CLOCK_BOOTTIME or a period, in ns."""

    least_ns: float
    most_ns: float

    @property
    def middle_ns(self) -> float:
        """The best estimate; never wrong by more than half the width."""
        return (self.least_ns + self.most_ns) / 2

    @property
    def width_ns(self) -> float:
        """How far apart the ends are; below 0 if two intervals contradicted each other."""
        return self.most_ns - self.least_ns

    def overlap(self, other: Span) -> Span:
        """What both say."""
        return Span(max(self.least_ns, other.least_ns), min(self.most_ns, other.most_ns))

    def widened(self, fraction: float) -> Span:
        """Move both ends outwards by a fraction of their value."""
        return Span(self.least_ns * (1 - fraction), self.most_ns * (1 + fraction))


class FifoClock:
    """The sampling grid of one chip. Samples are numbered from 0 since `start`.

    Args:
        rate_hz: nominal rate.
        tolerance: largest deviation of the true rate from the nominal one, as a fraction.
    """

    def __init__(self, rate_hz: float, tolerance: float) -> None:
        nominal_ns = 1e9 / rate_hz
        self._allowed = Span(nominal_ns / (1 + tolerance), nominal_ns / (1 - tolerance))
        self._prior = self._allowed
        self._period = self._allowed
        self._anchor_every = max(1, round(rate_hz))
        self._number = 0
        self._next = Span(0.0, 0.0)
        self._looked_ns = 0  # when the last look began
        self._first_number = 0
        self._first = self._next
        self._anchors: deque[tuple[int, Span]] = deque(maxlen=ANCHORS)
        self._expected_ns: float | None = None  # where the period puts the next stamp
        self._jumps: deque[float] = deque(maxlen=JUMPS)
        self._aimed_ns = math.inf
        self._late_ns = 0.0

    @property
    def period_ns(self) -> float:
        """Best estimate of the period."""
        return self._period.middle_ns

    def measured(self) -> dict[str, float]:
        """Return the period, how far stamps jumped against it lately, and their bound, in ns."""
        jumps = self._jumps or (0.0,)
        return {
            "period_ns": round(self.period_ns, 1),
            "stamp_jitter_ns": round(math.sqrt(sum(one * one for one in jumps) / len(jumps))),
            "stamp_bound_ns": round(self._next.width_ns / 2),
        }

    def start(self, number: int, before_ns: int, after_ns: int) -> None:
        """Begin to count: sample `number` is the first that was not there at a look.

        What is known of the period stays known, so that after a FIFO was reset the first times
        are good again within a few looks.

        Args:
            number: how many samples there were.
            before_ns: when the look (or the reset of the FIFO) began.
            after_ns: when it ended.
        """
        self._number, self._looked_ns = number, before_ns
        self._next = Span(before_ns, after_ns + self._period.most_ns)
        self._prior = self._period
        self._anchors.clear()
        self._expected_ns = None
        self._first_is(0)

    def look(self, number: int, before_ns: int, after_ns: int) -> None:
        """Learn from a look at the FIFO.

        Args:
            number: samples since the start that had been taken: those already drained and those
                in the FIFO; not less than at the last look.
            before_ns: CLOCK_BOOTTIME before the fill was read.
            after_ns: CLOCK_BOOTTIME after it was read.
        """
        self._looked_ns = before_ns
        self._learn_lateness(before_ns, after_ns)
        following = self.span(number).overlap(Span(before_ns, after_ns + self._period.most_ns))
        if following.width_ns < 0:  # not the clock that it was: start without any knowledge
            first = self._first_number
            self._period = self._allowed
            self.start(number, before_ns, after_ns)
            self._first_is(first)
            return
        self._number, self._next = number, following
        self._measure()
        self._first = self._first.overlap(self.span(self._first_number))

    def can_be(self, number: int, after_ns: int) -> bool:
        """Tell whether a look may find so many samples: wires have no checksum.

        Args:
            number: as of `look`.
            after_ns: as of `look`.
        """
        passed = (after_ns - self._looked_ns) / self._allowed.middle_ns
        return number - self._number <= MOST_FAST * passed + MOST_AHEAD

    def span(self, number: int) -> Span:
        """Return when a sample was or will be taken."""
        ahead = number - self._number
        least_ns, most_ns = sorted(self._period, reverse=ahead < 0)
        return Span(self._next.least_ns + ahead * least_ns, self._next.most_ns + ahead * most_ns)

    def aim_ns(self, number: int) -> float:
        """Return until when to sleep before a look that is to tell when a sample is taken.

        Whoever sleeps wakes late, and the look takes its time: this is earlier than the middle of
        the sample's `span` by so much that the look's own middle meets it.
        """
        self._aimed_ns = self.span(number).middle_ns - self._late_ns
        return self._aimed_ns

    def _learn_lateness(self, before_ns: int, after_ns: int) -> None:
        if before_ns >= self._aimed_ns:
            late_ns = min((before_ns + after_ns) / 2 - self._aimed_ns, self.period_ns)
            self._late_ns += (late_ns - self._late_ns) / LATE_LOOKS
        self._aimed_ns = math.inf

    @property
    def first(self) -> Span:
        """When the first sample was taken that is not handed over yet.

        It is narrower than `span` of the same number: it also keeps what was known beforehand.
        """
        return self._first

    @property
    def is_first_known(self) -> bool:
        """Whether the middle of `first` is right to a quarter of a period."""
        return self._first.width_ns <= self.period_ns / 2

    @property
    def is_first_sharp(self) -> bool:
        """Whether the middle of `first` is right to an eighth of a period.

        What a gap before it cost can then be counted by time: the last stamp before the gap is
        right to a quarter, and an eighth is left for the period.
        """
        return self._first.width_ns <= self.period_ns / 4

    def hand_over(self, number: int) -> None:
        """Note that the samples before this one are handed over: `first` is this one now."""
        stamp_ns = self._first.middle_ns
        if self._expected_ns is not None:
            self._jumps.append(stamp_ns - self._expected_ns)
        self._expected_ns = stamp_ns + (number - self._first_number) * self.period_ns
        self._first_is(number)

    def _first_is(self, number: int) -> None:
        self._first_number, self._first = number, self.span(number)

    def reach(self, most: int) -> int:
        """Return how many samples ahead the times will still be known, from 1 to `most`."""
        spare_ns = self.period_ns / 2 - self._next.width_ns
        return max(1, min(most, int(spare_ns / self._period.width_ns)))

    def _measure(self) -> None:
        """Narrow the period by what the anchors say."""
        period = self._prior
        for number, span in self._anchors:
            rows = self._number - number
            if rows:
                measured = Span(
                    (self._next.least_ns - span.most_ns) / rows,
                    (self._next.most_ns - span.least_ns) / rows,
                )
                period = period.overlap(measured.widened(DRIFT))
        if period.width_ns < 0:
            period = self._prior = self._allowed
            self._anchors.clear()
        self._period = period
        self._set_anchor()

    def _set_anchor(self) -> None:
        """Keep this look to measure from: one a second, and any that is much sharper."""
        if self._anchors:
            number, span = self._anchors[-1]
            fresh = self._number - number < self._anchor_every
            if fresh and self._next.width_ns > span.width_ns / 2:
                return
        self._anchors.append((self._number, self._next))
        self._prior = self._prior.widened(DRIFT_PER_S).overlap(self._allowed)
