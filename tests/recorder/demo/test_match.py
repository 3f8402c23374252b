"""Placing rows among samples: by order, values and time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from recorder.demo.match import match

PERIOD_NS = 5_000_000
BOUND_NS = 25_000_000


def placed(rows_ns, values, samples=None):
    """Match rows against samples that are made every period and hold their own number."""
    samples = list(range(100)) if samples is None else samples
    times = [number * PERIOD_NS for number in range(len(samples))]
    return match(rows_ns, times, lambda row, sample: values[row] == samples[sample], BOUND_NS)


def at(numbers, late_ns=0):
    return [number * PERIOD_NS + late_ns for number in numbers]


@given(st.sets(st.integers(0, 99)), st.lists(st.integers(-12_000_000, 12_000_000), min_size=100))
def test_stamps_that_are_off_by_two_periods_are_placed_by_their_values(numbers, errors_ns):
    held = sorted(numbers)
    rows_ns = [number * PERIOD_NS + errors_ns[number] for number in held]
    assert placed(rows_ns, held) == dict(enumerate(held))


def test_values_that_all_are_the_same_are_placed_by_time_and_order():
    rows_ns = [*at(range(40)), *at(range(40, 60), late_ns=7_000_000), *at(range(60, 100))]
    assert placed(rows_ns, [0] * 100, [0] * 100) == {row: row for row in range(100)}


def test_a_changed_value_is_still_placed_at_its_sample():
    values = list(range(100))
    values[50] = -1
    assert placed(at(range(100)), values) == {row: row for row in range(100)}


def test_a_row_that_was_stored_twice_finds_no_second_sample():
    numbers = [*range(50), 49, *range(50, 100)]
    found = placed(at(numbers), numbers)
    assert len(found) == 100
    assert [numbers[row] for row in found] == list(found.values())


def test_a_row_further_from_its_time_than_the_bound_is_not_placed():
    numbers = list(range(0, 100, 20))
    assert placed([*at(numbers[:-1]), 80 * PERIOD_NS + BOUND_NS + 1], [*numbers[:-1], 80])[4] != 80
    assert 4 not in match([0, 2 * BOUND_NS], [0, 4 * BOUND_NS], lambda *_: True, BOUND_NS)


def test_rows_in_the_wrong_order_are_not_both_right():
    numbers = [0, 1, 3, 2, 4]
    found = placed(at(numbers), numbers)
    assert [row for row in range(5) if found.get(row) == numbers[row]] != list(range(5))


def test_no_rows_and_no_samples_give_nothing():
    assert match([], [0], lambda *_: True, 1) == {}
    assert match([0], [], lambda *_: True, 1) == {}
