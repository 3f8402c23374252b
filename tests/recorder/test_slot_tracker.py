"""The slot tracker's table of cases: what the books say of devices whose truth is known.

Stamps are data: no time passes. Each case gives the completeness that is true, and the booking's.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from drivers.base import Sample
from recorder.booking import Booking
from recorder.lane_state import NO_COUNTER, LaneState

S = 1_000_000_000
BEGIN_NS = 100 * S


@dataclass(frozen=True)
class Device:
    """A device, the contract it is held to, and what goes wrong.

    Args:
        contract_hz: samples per second that it was told to give.
        really_hz: what it gives by true time.
        tolerance: how far its clock may be off, as a fraction.
        seconds: how long.
        lost: share of its samples that it loses here and there.
        away: seconds from where to where it loses all.
        jitter: standard deviation of its stamps, in periods.
    """

    contract_hz: float
    really_hz: float
    tolerance: float
    seconds: float
    lost: float = 0.002
    away: tuple[float, float] = (0, 0)
    jitter: float = 0.0

    def numbers(self) -> Iterator[int]:
        """Yield the numbers of the samples that come; the first and the last always do."""
        dice = random.Random(5)
        count = round(self.seconds * self.really_hz)
        for number in range(count):
            at_s = number / self.really_hz
            is_away = self.away[0] <= at_s < self.away[1]
            if number in (0, count - 1) or (not is_away and dice.random() >= self.lost):
                yield number

    def stamps(self) -> Iterator[tuple[int, int]]:
        """Yield the number and the stamp of each sample that comes."""
        dice = random.Random(6)
        period_ns = S / self.really_hz
        for number in self.numbers():
            late_ns = dice.gauss(0, self.jitter) * period_ns if self.jitter else 0.0
            yield number, BEGIN_NS + round(number * period_ns + late_ns)

    def booking(self) -> Booking:
        period_ns = round(S / self.contract_hz)
        one = Booking(LaneState(), period_ns, BEGIN_NS, required=True, tolerance=self.tolerance)
        one.is_away = False
        return one


def completeness(one: Booking) -> float:
    losses = one.state.losses
    held = one.state.expected - losses.total
    return held / one.state.expected


def true_completeness(device: Device) -> float:
    return len(list(device.numbers())) / round(device.seconds * device.really_hz)


def by_stamps(device: Device) -> float:
    """Book samples that have nothing but their time."""
    one = device.booking()
    came = 0
    for _, at_ns in device.stamps():
        one.sample(Sample(at_ns, 1, []))
        came += 1
    assert one.state.expected == came + one.state.losses.total
    assert one.state.counter == NO_COUNTER
    return completeness(one)


def by_counter(device: Device) -> float:
    """Book samples that have the device's own numbers."""
    one = device.booking()
    for number, at_ns in device.stamps():
        one.sample(Sample(at_ns, 1, [], counter=number))
    return completeness(one)


def by_bursts(device: Device) -> float:
    """Book bursts of up to ten rows of a FIFO, which says when it lost some."""
    one = device.booking()
    period_ns = round(S / device.really_hz)
    burst: list[int] = []
    gap = is_gap = False
    for number in device.numbers():
        is_gap = bool(burst) and number != burst[-1] + 1
        if is_gap or len(burst) == 10:
            at_ns = BEGIN_NS + round(burst[0] * S / device.really_hz)
            one.sample(Sample(at_ns, len(burst), [], period_ns, gap=gap))
            burst, gap = [], is_gap
        burst.append(number)
    at_ns = BEGIN_NS + round(burst[0] * S / device.really_hz)
    one.sample(Sample(at_ns, len(burst), [], period_ns, gap=gap))
    return completeness(one)


SLOW_IMU = Device(1000, 988, 0.03, 60)
FAST_IMU = Device(1000, 1012, 0.03, 60, away=(30, 33))
#: The table of the specification; the slowest devices for as long as it says.
CASES = {
    "IMU at 0.988 of the contract, 0.2 % lost": SLOW_IMU,
    "IMU at 1.012 of the contract, 0.2 % and 3 s lost": FAST_IMU,
    "IMU, jitter 20 % of the period, 10 s lost": Device(
        200, 200, 0.03, 600, away=(300, 310), jitter=0.2
    ),
    "IMU, jitter 35 % of the period, 10 s lost": Device(
        200, 200, 0.03, 600, away=(300, 310), jitter=0.35
    ),
    "GPS, 10 min absent": Device(10, 10, 0.001, 3600, away=(1000, 1600)),
    "camera, 29.97 for 30 frames per second, 5 % lost": Device(30, 29.97, 0.01, 600, lost=0.05),
}


@pytest.mark.parametrize("case", CASES)
def test_what_has_only_its_time_is_booked_to_a_thousandth(case: str) -> None:
    device = CASES[case]
    assert by_stamps(device) == pytest.approx(true_completeness(device), abs=0.001)


@pytest.mark.parametrize("case", [one for one in CASES if "jitter" not in one])
def test_what_has_numbers_of_its_own_is_booked_exactly(case: str) -> None:
    device = CASES[case]
    if device.away[1]:  # numbers are checked against a clock that is off: 1.2 % of the gap
        assert by_counter(device) == pytest.approx(true_completeness(device), abs=1e-9)
    else:
        assert by_counter(device) == true_completeness(device)


@pytest.mark.parametrize("device", [SLOW_IMU, FAST_IMU], ids=["slow", "fast"])
def test_a_fifo_of_a_wrong_clock_is_booked_exactly(device: Device) -> None:
    assert by_bursts(device) == pytest.approx(true_completeness(device), abs=1e-5)


def test_the_examples_of_clocks_that_are_off_meet_the_specification() -> None:
    # Rate times time would say 0.9862 and 1.0051 here.
    assert true_completeness(SLOW_IMU) == pytest.approx(0.998, abs=0.001)
    assert by_stamps(SLOW_IMU) < 1
    assert by_stamps(FAST_IMU) == pytest.approx(true_completeness(FAST_IMU), abs=0.0005)


@pytest.mark.parametrize("book", [by_stamps, by_counter], ids=["time", "counter"])
def test_a_gps_set_to_a_tenth_of_the_contract_is_a_tenth_complete(book: object) -> None:
    device = Device(10, 1, 0.001, 3600, lost=0.0)
    found = by_stamps(device) if book is by_stamps else _grid(device)
    assert found == pytest.approx(0.1, abs=0.001)


def _grid(device: Device) -> float:
    """Book a receiver's epochs by their numbers on the contract's grid."""
    one = device.booking()
    for number, at_ns in device.stamps():
        one.sample(Sample(at_ns, 1, [], counter=number * 10))
    return completeness(one)


def test_a_camera_that_a_long_exposure_slows_owes_what_it_does_not_give() -> None:
    device = Device(30, 20, 0.01, 600, lost=0.0)
    assert by_counter(device) == pytest.approx(2 / 3 * 1.01, abs=0.002)


def test_a_fifo_at_half_its_rate_is_half_complete() -> None:
    device = Device(1000, 500, 0.03, 60, lost=0.0)
    assert by_bursts(device) == pytest.approx(0.5 * 1.03, abs=0.01)


def test_a_device_within_its_tolerance_owes_nothing() -> None:
    for really_hz in (971, 1000, 1029):
        device = Device(1000, really_hz, 0.03, 30, lost=0.0)
        assert by_counter(device) == by_bursts(device) == 1.0
        assert by_stamps(device) == pytest.approx(1.0, abs=3 / 30_000)


def test_a_frame_that_is_only_stamped_late_was_not_lost() -> None:
    device = Device(30, 30, 0.01, 20, lost=0.0)
    one = device.booking()
    for number, at_ns in device.stamps():
        late_ns = 60_000_000 if number % 100 == 50 else 0
        one.sample(Sample(at_ns + late_ns, 1, [], counter=number))
    assert one.state.losses.total == 0


def test_events_owe_nothing_but_what_their_numbers_show() -> None:
    one = Booking(LaneState(), 0, BEGIN_NS, required=False, tolerance=0.0)
    for number, at_s in ((0, 1), (1, 500), (4, 501), (0, 502), (1, 503)):
        one.sample(Sample(BEGIN_NS + at_s * S, 1, [], counter=number))
    assert one.state.losses.source == 2  # and a number that began anew shows nothing
    assert one.silence(BEGIN_NS + 10_000 * S) == 0
    one.end(BEGIN_NS + 20_000 * S)
    assert one.state.expected == 5 + 2
