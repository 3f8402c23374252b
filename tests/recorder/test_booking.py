from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.base import Sample
from recorder.booking import SILENCE_NS, START_ALLOWANCE_NS, Booking
from recorder.lane_state import LaneState

MS = 1_000_000
PERIOD_NS = 10 * MS
START = 1_000 * MS


def booking(*, required: bool = True) -> Booking:
    return Booking(LaneState(), PERIOD_NS, START, required=required, tolerance=0.0001)


def at(slot: int, counter: int | None = None, rows: int = 1, late_ns: int = 0) -> Sample:
    period_ns = PERIOD_NS if rows > 1 else 0
    return Sample(START + slot * PERIOD_NS + late_ns, rows, [], period_ns, counter)


def balanced(state: LaneState, held: int) -> bool:
    return state.expected == held + state.losses.total


@given(
    slots=st.sets(st.integers(0, 300), min_size=2),
    counts=st.booleans(),
    jitter=st.lists(st.integers(-2 * MS, 2 * MS), min_size=301, max_size=301),
)
def test_every_slot_between_two_samples_is_held_or_lost(
    slots: set[int], counts: bool, jitter: list[int]
) -> None:
    one = booking()
    one.is_away = False
    for slot in sorted(slots):
        one.sample(at(slot, slot if counts else None, late_ns=jitter[slot]))
        one.is_away = False
    passed = max(slots) - min(slots) + 1
    exact = counts
    lost = one.state.losses.source + one.state.losses.absent
    assert balanced(one.state, len(slots))
    if exact:
        assert (one.state.expected, lost) == (passed, passed - len(slots))
    else:  # jitter of less than half a period between two samples never makes a slot
        assert one.state.expected == passed


def test_what_is_missing_after_the_device_was_away_was_absent() -> None:
    one = booking()
    one.sample(at(0, 0))
    one.sample(at(3, 3))
    one.is_away = True
    one.sample(at(10, 10))
    assert (one.state.losses.source, one.state.losses.absent, one.state.expected) == (2, 6, 11)


def test_a_counter_that_began_anew_is_not_believed() -> None:
    one = booking()
    one.sample(at(0, 5_000))
    one.sample(at(4, 0))
    assert one.state.losses.source == 3
    one.sample(at(5, 4_000_000))
    assert one.state.losses.source == 3


@given(
    late=st.lists(st.tuples(st.integers(0, 300), st.integers(3, 95)), max_size=5),
    dropped=st.sets(st.integers(1, 299), max_size=60),
)
def test_a_sample_that_is_stamped_late_makes_no_slot(
    late: list[tuple[int, int]], dropped: set[int]
) -> None:
    # The clock that stamps stands still until the last of its slots, as on a starved host.
    stamps = {slot + n: slot + slots for slot, slots in late for n in range(slots)}
    one = booking()
    for slot in sorted({*range(302)} - dropped):
        one.sample(at(min(stamps.get(slot, slot), 301), slot))
        one.is_away = False
    assert one.state.losses.source == len(dropped)
    assert one.state.expected == 302


@pytest.mark.parametrize("lost", [3, 10, 90])
def test_what_the_device_lost_and_did_not_number_is_counted_a_second_later(lost: int) -> None:
    one = booking()
    numbered = [*range(50), *range(50 + lost, 400)]
    booked = {}
    for number, slot in enumerate(numbered):
        one.sample(at(slot, number))
        booked[slot] = one.state.losses.source
    assert (one.state.losses.source, one.state.expected) == (lost, 400)
    first = min(slot for slot, source in booked.items() if source)
    assert (first - 50 - lost) * PERIOD_NS == SILENCE_NS


@pytest.mark.parametrize("how", ["silent", "ended", "killed", "away"])
def test_what_is_in_doubt_is_counted_when_the_next_samples_do_not_come(how: str) -> None:
    one = booking()
    one.sample(at(0, 0))
    one.sample(at(20, 1))  # 19 slots passed that have no number
    assert one.state.losses.total == 0
    if how == "silent":
        one.silence(START + 220 * PERIOD_NS)
        one.sample(at(220, 201))
    elif how == "ended":
        one.end(START + 220 * PERIOD_NS)
    else:
        if how == "killed":
            one = Booking(one.state, PERIOD_NS, START, required=True, tolerance=0.0001)
        one.is_away = True
        one.sample(at(220, 2))
    held = 2 if how == "ended" else 3
    assert one.state.losses.absent == one.state.losses.total == one.state.expected - held
    assert one.state.expected == (220 if how == "ended" else 221)


@pytest.mark.parametrize(("gap", "lost"), [(False, 0), (True, 10)])
def test_a_burst_lost_rows_only_if_the_device_says_so(gap: bool, lost: int) -> None:
    one = booking()
    one.sample(at(0, rows=10))
    one.sample(replace(at(20, rows=10), gap=gap))
    assert one.state.losses.source == lost
    assert one.state.expected == 20 + lost


def test_silence_is_booked_once_however_often_one_looks() -> None:
    one = booking()
    one.sample(at(0))
    total = sum(one.silence(START + slot * PERIOD_NS) for slot in range(1, 500))
    assert total == one.state.losses.absent
    assert 497 - 100 <= total <= 498
    one.sample(at(500))
    assert one.state.expected == 501
    assert one.state.losses.absent + one.state.losses.source == 499


def test_a_short_silence_is_none() -> None:
    one = booking()
    one.sample(at(0))
    assert one.silence(START + SILENCE_NS - 1) == 0
    assert one.state.losses.total == 0


@pytest.mark.parametrize(("required", "booked"), [(True, True), (False, False)])
def test_a_device_that_never_came_is_missed_if_it_is_required(required: bool, booked: bool) -> None:
    one = booking(required=required)
    assert one.silence(START + START_ALLOWANCE_NS) == 0
    assert bool(one.silence(START + START_ALLOWANCE_NS + SILENCE_NS)) == booked
    assert balanced(one.state, 0)


def test_broken_samples_take_their_slots_with_them() -> None:
    one = booking()
    one.sample(at(0, 0))
    one.broken(2)
    one.sample(at(3, 3))
    assert (one.state.losses.broken, one.state.losses.source, one.state.expected) == (2, 0, 4)
