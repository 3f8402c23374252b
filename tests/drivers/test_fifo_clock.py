from __future__ import annotations

import math
import random

from hypothesis import given
from hypothesis import strategies as st

from drivers.fifo_clock import FifoClock

START_NS = 5_000_000_000_000
TOLERANCE = 0.03


class TrueClock:
    """An oscillator that the clock under test may only look at."""

    def __init__(self, rate_hz: float, error: float, phase: float) -> None:
        self.period_ns = 1e9 / (rate_hz * (1 + error))
        self.origin_ns = START_NS + phase * self.period_ns

    def time_ns(self, number: int) -> float:
        return self.origin_ns + number * self.period_ns

    def taken(self, at_ns: float) -> int:
        return max(0, math.floor((at_ns - self.origin_ns) / self.period_ns) + 1)


rates = st.sampled_from([4.0, 50.0, 200.0, 1000.0])
errors = st.floats(-0.029, 0.029)
phases = st.floats(0.001, 0.999)
looks = st.lists(
    st.tuples(st.floats(0.0, 0.2), st.floats(1e-5, 5e-3), st.floats(0, 1)), min_size=1, max_size=80
)


@given(rates, errors, phases, looks)
def test_the_true_time_is_always_inside_the_span_whatever_the_looks(rate, error, phase, looks):
    true = TrueClock(rate, error, phase)
    clock = FifoClock(rate, TOLERANCE)
    clock.start(0, START_NS, START_NS)
    now_ns = float(START_NS)
    width_ns = clock.first.width_ns
    for pause_s, lasts_s, when in looks:
        before_ns = math.floor(now_ns + pause_s * 1e9)
        after_ns = math.ceil(before_ns + lasts_s * 1e9)
        number = true.taken(before_ns + when * (after_ns - before_ns))
        clock.look(number, before_ns, after_ns)
        now_ns = after_ns
        for asked in (number, number + 10, max(0, number - 10)):
            span = clock.span(asked)
            assert span.least_ns - 1 <= true.time_ns(asked) <= span.most_ns + 1
        assert clock.first.least_ns - 1 <= true.time_ns(0) <= clock.first.most_ns + 1
        assert clock.first.width_ns <= width_ns + 1  # nothing that was known is forgotten
        width_ns = clock.first.width_ns


def drive(clock: FifoClock, true: TrueClock, now_ns: int, seconds: float, dice) -> tuple[int, int]:
    """Look when the clock expects a sample, a little late, as a driver does."""
    end_ns = now_ns + seconds * 1e9
    number = true.taken(now_ns)
    while now_ns < end_ns:
        awaited = clock.span(number + clock.reach(10) - 1).middle_ns
        before_ns = max(now_ns, round(awaited)) + dice.randrange(50_000, 250_000)
        now_ns = before_ns + dice.randrange(20_000, 120_000)
        number = true.taken((before_ns + now_ns) / 2)
        clock.look(number, before_ns, now_ns)
    return number, now_ns


@given(errors, phases, st.integers(0, 1000))
def test_after_five_seconds_the_period_is_right_to_a_ten_thousandth(error, phase, seed):
    true = TrueClock(200.0, error, phase)
    clock = FifoClock(200.0, TOLERANCE)
    clock.start(0, START_NS, START_NS)
    drive(clock, true, START_NS, 5.0, random.Random(seed))
    assert abs(clock.period_ns / true.period_ns - 1) <= 1e-4


@given(errors, phases, st.integers(0, 1000), st.floats(0.5, 10.0))
def test_rows_lost_in_a_gap_are_counted_exactly_by_time(error, phase, seed, gap_s):
    dice = random.Random(seed)
    true = TrueClock(200.0, error, phase)
    clock = FifoClock(200.0, TOLERANCE)
    clock.start(0, START_NS, START_NS)
    number, now_ns = drive(clock, true, START_NS, 5.0, dice)
    clock.hand_over(number)
    expected_ns, period_ns = clock.first.middle_ns, clock.period_ns

    now_ns += round(gap_s * 1e9)
    lost = true.taken(now_ns) - number
    true.origin_ns = true.time_ns(number + lost)  # the FIFO was reset: numbers begin again
    clock.start(0, now_ns, now_ns + 20_000)
    drive(clock, true, now_ns + 20_000, 0.03, dice)
    assert clock.is_first_known
    assert round((clock.first.middle_ns - expected_ns) / period_ns) == lost
    assert abs(clock.period_ns / true.period_ns - 1) <= 1e-4  # still known


@given(errors, phases, st.integers(0, 1000))
def test_bursts_follow_each_other_without_a_doubt_from_the_first_on(error, phase, seed):
    dice = random.Random(seed)
    true = TrueClock(200.0, error, phase)
    clock = FifoClock(200.0, TOLERANCE)
    clock.start(0, START_NS, START_NS)
    now_ns, handed, expected_ns = START_NS, 0, None
    for _ in range(60):
        number, now_ns = drive(clock, true, now_ns, 0.001, dice)
        if number == handed or not clock.is_first_known:
            continue
        if expected_ns is not None:
            assert abs(clock.first.middle_ns - expected_ns) < clock.period_ns / 2
        expected_ns = clock.first.middle_ns + (number - handed) * clock.period_ns
        clock.hand_over(number)
        handed = number
    assert handed > 100


def test_an_oscillator_that_changes_its_rate_is_followed():
    dice = random.Random(1)
    true = TrueClock(200.0, 0.02, 0.5)
    clock = FifoClock(200.0, TOLERANCE)
    clock.start(0, START_NS, START_NS)
    number, now_ns = drive(clock, true, START_NS, 5.0, dice)
    true.origin_ns = true.time_ns(number) - number * 1e9 / (200 * 0.98)
    true.period_ns = 1e9 / (200 * 0.98)
    drive(clock, true, now_ns, 20.0, dice)
    assert abs(clock.period_ns / true.period_ns - 1) <= 1e-4
