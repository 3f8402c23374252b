from __future__ import annotations

import pytest

from drivers import stamp_clock
from drivers.stamp_clock import OLDEST_NS, WINDOW_NS, StampClock

MS = 1_000_000
HOUR_NS = 3600 * 1000 * MS


class Machine:
    """The machine's clocks, as the test sets them."""

    now_ns = 50 * HOUR_NS
    suspended_ns = 0


@pytest.fixture
def machine(monkeypatch):
    made = Machine()
    monkeypatch.setattr(stamp_clock, "boot_ns", lambda: made.now_ns)
    monkeypatch.setattr(stamp_clock, "suspended_ns", lambda: made.suspended_ns)
    return made


@pytest.mark.parametrize("suspended_ns", [0, 500 * MS, 2 * HOUR_NS])
@pytest.mark.parametrize("age_ns", [0, 15 * MS, 300 * MS])
@pytest.mark.parametrize("name", ["boottime", "monotonic"])
def test_the_clock_is_found_by_the_age_of_the_stamp(machine, name, suspended_ns, age_ns):
    machine.suspended_ns = suspended_ns
    exposed_ns = machine.now_ns - age_ns
    stamp_ns = exposed_ns - (suspended_ns if name == "monotonic" else 0)
    clock = StampClock()
    assert clock.to_boot_ns(stamp_ns) == exposed_ns
    assert clock.name == name or suspended_ns == 0  # without a suspend they are one clock


def test_a_suspend_in_between_is_noticed_at_the_next_frame(machine):
    clock = StampClock()
    assert clock.to_boot_ns(machine.now_ns) == machine.now_ns
    machine.now_ns += HOUR_NS
    machine.suspended_ns += HOUR_NS
    assert clock.to_boot_ns(machine.now_ns - HOUR_NS - 20 * MS) == machine.now_ns - 20 * MS


def test_stamps_of_the_devices_own_clock_keep_their_distances_and_the_least_delay(machine):
    clock = StampClock()
    start_ns = machine.now_ns
    found = []
    for number, delay_ms in enumerate((30, 12, 80, 45)):
        exposed_ns = start_ns + number * 100 * MS
        machine.now_ns = exposed_ns + delay_ms * MS
        found.append(clock.to_boot_ns(number * 100 * MS) - exposed_ns)
    assert clock.name == "device"
    assert found == [30 * MS, 12 * MS, 12 * MS, 12 * MS]


def test_a_devices_clock_that_drifts_is_followed(machine):
    clock = StampClock()
    start_ns = machine.now_ns
    for second in range(600):
        stamp_ns = second * 1000 * MS
        machine.now_ns = start_ns + stamp_ns + second * 100_000 + 10 * MS  # 100 ppm slow
        error_ns = clock.to_boot_ns(stamp_ns) - (machine.now_ns - 10 * MS)
        assert 0 <= error_ns + 2 * WINDOW_NS // 10_000 <= 20 * MS


def test_a_stamp_older_than_any_delay_is_of_no_clock_of_the_machine(machine):
    clock = StampClock()
    clock.to_boot_ns(machine.now_ns - OLDEST_NS - MS)
    assert clock.name == "device"


def test_the_two_clocks_are_apart_by_the_time_spent_suspended():
    import time  # noqa: PLC0415 - the module's own names are replaced in the other tests

    apart_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.clock_gettime_ns(
        time.CLOCK_MONOTONIC
    )
    assert abs(stamp_clock.suspended_ns() - apart_ns) < 50 * MS
