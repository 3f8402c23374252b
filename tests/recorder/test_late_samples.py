"""Samples that a device kept while it was silent, and gives late: each has exactly one fate."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.base import Sample
from recorder.audit import audit_spool
from recorder.booking import SILENCE_NS, Booking
from recorder.lane_state import LaneState
from recorder.spool.spool import Spool
from tests.recorder.audit.filled import ID, Filled, S, filled
from tests.recorder.building import PERIOD_NS as FAST_NS
from tests.recorder.steered import Bench, bench

PERIOD_NS = 10_000_000
START = 100 * S


def booking(state: LaneState | None = None) -> Booking:
    return Booking(state or LaneState(), PERIOD_NS, START, required=True, tolerance=0.01)


def at(slot: int, counter: int | None = None, rows: int = 1, late_slots: float = 0) -> Sample:
    """A sample of a slot; its stamp is the slot's, or so much later."""
    at_ns = START + round((slot + late_slots) * PERIOD_NS)
    return Sample(at_ns, rows, [], PERIOD_NS if rows > 1 else 0, counter)


def counts(one: Booking) -> tuple[int, int, int]:
    state = one.state
    return state.expected, state.losses.absent, state.losses.source


def silent_until(one: Booking, slot: int) -> None:
    """Look in the midst of it, and then."""
    first = (one.state.boot_ns - START) // PERIOD_NS + 1
    for each in (first, (first + slot) // 2, slot):
        one.silence(START + each * PERIOD_NS)


def test_rows_that_a_fifo_kept_during_a_silence_are_not_absent() -> None:
    one = booking()
    one.sample(at(0, rows=10))
    silent_until(one, 500)
    assert counts(one) == (500, 490, 0)
    for first in range(200, 500, 50):  # it holds the last 300
        one.sample(at(first, rows=50))
    assert counts(one) == (500, 190, 0)
    one.sample(at(500, rows=50))
    assert counts(one) == (550, 190, 0)


def test_a_burst_that_reaches_beyond_what_was_booked_fills_and_goes_on() -> None:
    one = booking()
    one.sample(at(0, rows=10))
    silent_until(one, 300)
    one.sample(at(250, rows=100))
    assert counts(one) == (350, 240, 0)
    one.sample(at(350, rows=50))
    assert counts(one) == (400, 240, 0)


@pytest.mark.parametrize("has_numbers", [True, False])
def test_epochs_that_a_line_kept_and_gave_at_once_are_not_absent(has_numbers: bool) -> None:
    one = booking()
    one.sample(at(0, 0 if has_numbers else None))
    silent_until(one, 300)
    for slot in range(1, 300):  # stamped when they came
        one.sample(at(300, slot if has_numbers else None, late_slots=slot / 1e4))
    for slot in (301, 302):
        one.sample(at(slot, slot if has_numbers else None))
    expected, absent, source = counts(one)
    assert (expected, absent + source) == (303, 1)


def test_an_epoch_that_came_late_and_unreadable_stays_absent_and_on_time_is_the_sources() -> None:
    one = booking()
    one.sample(at(0, 0))
    silent_until(one, 300)
    for slot in range(1, 300):
        if slot != 150:  # without its time nobody knows which epoch it was
            one.sample(at(300, slot, late_slots=slot / 1e4))
    for slot in range(300, 310):
        if slot != 305:
            one.sample(at(slot, slot))
    assert counts(one) == (310, 1, 1)


def test_samples_of_a_late_burst_that_are_told_as_broken_are_not_absent() -> None:
    one = booking()
    one.sample(at(0, 0))
    silent_until(one, 300)
    for slot in range(1, 300):
        if slot == 150:
            one.broken(1)
        else:
            one.sample(at(300, slot, late_slots=slot / 1e4))
    for slot in range(300, 310):
        one.sample(at(slot, slot))
    assert (counts(one), one.state.losses.broken) == ((310, 0, 0), 1)


def test_a_device_that_was_closed_and_counts_anew_fills_nothing() -> None:
    one = booking()
    one.sample(at(0, 0))
    silent_until(one, 500)
    absent = one.state.losses.absent
    one.is_away = True
    for slot in range(500, 700):
        one.sample(at(slot, slot - 499))
    assert counts(one) == (700, 499, 0)
    assert absent == 499


def test_the_next_process_knows_what_the_last_one_booked() -> None:
    one = booking()
    one.sample(at(0, rows=10))
    silent_until(one, 500)
    again = booking(LaneState.unpack(one.state.pack()))
    again.sample(at(400, rows=100))
    assert counts(again) == (500, 390, 0)


def test_a_silence_that_is_over_is_not_filled_by_a_stamp_that_runs_early() -> None:
    one = booking()
    one.sample(at(0, 0))
    silent_until(one, 300)
    for slot in (300, 301, 302):
        one.sample(at(slot, slot))
    before = counts(one)
    one.sample(dataclasses.replace(at(303, 303), boot_ns=START + 298 * PERIOD_NS))
    assert counts(one) == (before[0] + 1, before[1], before[2])


@given(
    fates=st.lists(st.sampled_from(["on time", "kept", "kept", "lost"]), min_size=3, max_size=12),
    lengths=st.lists(st.integers(150, 400), min_size=12, max_size=12),
    has_numbers=st.booleans(),
)
def test_whatever_a_device_keeps_and_loses_every_slot_has_one_fate(
    fates: list[str], lengths: list[int], has_numbers: bool
) -> None:
    one = booking()
    one.sample(at(0, 0 if has_numbers else None))
    held, slot = 1, 1
    for fate, length in zip(fates, lengths, strict=False):
        slots = range(slot, slot + length)
        slot += length
        if fate != "on time":
            silent_until(one, slot)
        for each in slots if fate != "lost" else ():
            one.sample(at(each, each if has_numbers else None))
            held += 1
    one.sample(at(slot, slot if has_numbers else None))
    expected, absent, source = counts(one)
    assert (expected, absent + source) == (slot + 1, slot - held)


def test_a_recording_with_late_rows_adds_up_at_every_heartbeat(tmp_path: Path) -> None:
    with filled(tmp_path, {"imu": 200.0}) as one:
        one.fill("imu", 10)
        fall_silent(one, 10, 40)
        one.commit()
        one.beat()
        told = one.entries("session")[-1]["session"]["lanes"][0]
        assert (told["acquired"], told["lost_absent"]) == (2000, 6000)
        assert differences(one) == []
        for first in range(6000, 7998, 222):
            one.lanes["imu"].put(first, 222)
            one.take("imu")
        one.beat()
        assert differences(one) == []
        one.lanes["imu"].put(8000, 200)
        one.take("imu")
        one.end()
        assert one.ledger("imu").lost == {"lost_absent": 4000 + 2}
        assert (one.ledger("imu").expected, one.ledger("imu").stored) == (8200, 4198)
        assert differences(one) == []


def test_late_rows_that_find_the_ring_full_are_lost_there_and_not_absent(tmp_path: Path) -> None:
    with filled(tmp_path, {"imu": 200.0}) as one:
        one.fill("imu", 10)
        fall_silent(one, 10, 40)
        lane = one.lanes["imu"]
        fits = []
        for first in range(2000, 8000, 10):
            lane.booking.state = lane.ring.state
            at_ns = lane.begin_ns + first * S // 200
            booked = lane.booking.sample(Sample(at_ns, 10, [], S // 200, counter=first))
            fits.append(lane.ring.put(1, 10, booked, [bytes(10)], at_ns))
        assert not all(fits)
        one.take("imu")
        one.commit()
        one.beat()
        assert differences(one) == []
        lane.put(8000, 200)
        one.take("imu")
        one.end()
        assert one.ledger("imu").lost == {"lost_ring": 10 * fits.count(False)}
        assert one.ledger("imu").expected == 8200
        assert differences(one) == []


def fall_silent(one: Filled, begin_s: int, end_s: int) -> None:
    """Let a lane book a silence, as it does once a second."""
    lane = one.lanes["imu"]
    for second in range(begin_s + 1, end_s + 1):
        lane.booking.state = lane.ring.state
        lane.booking.silence(lane.begin_ns + second * S)
        lane.ring.note(lane.booking.state)


def differences(one: Filled) -> list[str]:
    return audit_spool(one.spool.directory, ID).all_differences


class Quiet:
    """A lane of a `Bench` that falls silent and gives late what it kept."""

    def __init__(self, one: Bench) -> None:
        self._one = one
        self._slot = 0
        self._booking = Booking(
            one.producer.ring.state,
            FAST_NS,
            one.producer.ring.created_boot_ns,
            required=True,
            tolerance=0.01,
        )

    def give(self, slots: int, *, is_skipped: bool = False) -> None:
        ring, begin = self._one.producer.ring, self._one.producer.ring.created_boot_ns
        first, self._slot = self._slot, self._slot + slots
        self._booking.state = ring.state
        if is_skipped:
            self._booking.silence(begin + self._slot * FAST_NS)
            ring.note(self._booking.state)
            self._one.producer.event("silent")
        else:
            payload = [bytes(16 * slots)]
            at_ns = begin + first * FAST_NS
            booked = self._booking.sample(Sample(at_ns, slots, payload, FAST_NS))
            assert ring.put(1, slots, booked, payload, at_ns)
        self._one.spooler.commit()

    def back(self, slots: int) -> None:
        """What comes next is of a time so long ago."""
        self._slot -= slots


def test_what_comes_late_into_the_next_recording_is_due_there_and_absent_in_the_one_before(
    tmp_path: Path,
) -> None:
    with bench(tmp_path) as one:
        lane = Quiet(one)
        lane.give(100)
        lane.give(1000, is_skipped=True)
        one.ask("new")
        lane.give(1000, is_skipped=True)
        lane.back(1800)  # 800 of the first one's time, 1000 of the second's
        for _ in range(18):
            lane.give(100)
        lane.give(100)
        one.ask("stop")
        first, second = [each.lanes[0] for each in one.records()]
        assert (first.expected, first.lost_absent) == (1100, 1000)
        assert (second.expected, second.acquired, second.lost) == (1900, 1900, {})
        assert [each.imbalances() for each in (first, second)] == [[], []]
        spool = Spool(one.config.spool_dir)
        for session_id in spool.session_ids():
            found: Any = audit_spool(spool.directory, session_id)
            assert found.all_differences == []


def test_a_silence_is_a_silence_only_after_a_second() -> None:
    one = booking()
    one.sample(at(0, rows=10))
    assert one.silence(START + SILENCE_NS - 1) == 0
    one.sample(at(40, rows=10))
    assert counts(one) == (20, 0, 0)  # a burst's own length counts
