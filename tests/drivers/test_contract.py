"""What every driver must do, on every driver that ships."""

from __future__ import annotations

import pkgutil
import re
import time
from itertools import pairwise

import pytest

import drivers
from drivers.base import (
    TYPES,
    BadSampleError,
    DeviceAbsentError,
    DeviceLostError,
    Driver,
    Sample,
    StuckDeviceError,
    WrongDeviceError,
    boot_ns,
)
from recorder.columns import arrow_schema
from recorder.devices import driver_class
from recorder.errors import ConfigError
from recorder.schema import LaneSchema
from tests.drivers.imus import KINDS
from tests.drivers.rigs import RIGS, UNTRIED, Rig, take, until

#: SI, and what the vendor's ontology has instead.
UNITS = {
    *("1", "m", "1/m", "m/s", "m/s^2", "rad/s", "deg", "degC", "K", "T"),
    *("ns", "us", "s", "Hz", "px", "bytes"),
}
#: Kinds whose device can do what a test asks for.
IMUS = sorted(KINDS)
EVERY = sorted(RIGS)
WITH_BROKEN_SAMPLES = ["frame_source", "nmea_gps", "v4l2_camera"]


@pytest.fixture
def rig(request, tmp_path):
    made: Rig = RIGS[request.param](tmp_path)
    yield made
    made.stop()


def on(names: list[str]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("rig", names, indirect=True)


def taken_again(driver: Driver, samples: int, within_s: float = 15.0) -> list[Sample]:
    """Open and read as a lane does: again and again while the device is absent or lost."""
    deadline_s = time.monotonic() + within_s
    while True:
        try:
            driver.open()
            return take(driver, samples)
        except (DeviceAbsentError, DeviceLostError):
            driver.close()
            assert time.monotonic() < deadline_s, "it does not come back"
            time.sleep(0.05)  # a pause between two attempts


def stamps(samples: list[Sample]) -> list[int]:
    return [one.boot_ns + row * one.period_ns for one in samples for row in range(one.rows)]


def missed(samples: list[Sample], period_ns: float) -> int:
    """Count what is missing between samples: by the device's numbers, else by time."""
    lost = 0
    for a, b in pairwise(samples):
        if a.counter is not None and b.counter is not None:
            lost += b.counter - a.counter - a.rows
        else:
            each_ns = a.period_ns or period_ns
            lost += round((b.boot_ns - a.boot_ns) / each_ns) - a.rows
    return lost


def test_every_driver_that_ships_has_a_rig_or_a_reason():
    shipped = set()
    for module in pkgutil.iter_modules(drivers.__path__):
        try:
            driver_class(module.name)
        except ConfigError:
            continue
        shipped.add(module.name)
    tried = {kind.driver.kind for kind in KINDS.values()} | set(RIGS) - set(KINDS)
    assert shipped == tried | set(UNTRIED)
    assert not tried & set(UNTRIED)


@on(EVERY)
def test_fields_have_types_units_and_ranges_and_fill_their_ontology(rig):
    driver = rig.make()
    assert driver.rate_hz > 0
    assert 0 < driver.rate_tolerance <= 0.1
    arrow_schema(LaneSchema.of("lane", driver))
    for field in driver.fields:
        assert field.type[0] in "<>"
        assert field.type[1:] in TYPES
        assert field.unit in UNITS, field
        if field.least is not None and field.most is not None:
            assert field.least < field.most
        elif field.scale != 1.0:
            pytest.fail(f"{field.name} is a quantity without a range")
    assert len({field.name for field in driver.fields}) == len(driver.fields)


@on(EVERY)
def test_a_constructor_touches_no_hardware_and_closing_before_opening_is_fine(rig):
    driver = rig.make(**rig.nowhere)
    driver.close()
    driver.close()
    assert driver.finish.__doc__


@on(EVERY)
def test_a_device_that_is_not_there_is_absent_and_named(rig):
    driver = rig.make(**rig.nowhere)
    place = re.escape(str(next(iter(rig.nowhere.values()))).removeprefix("unix:"))
    place = "0x55" if "address" in rig.nowhere else place
    with driver, pytest.raises(DeviceAbsentError, match=place) as error:
        driver.open()
    assert not isinstance(error.value, WrongDeviceError)


@on(EVERY)
def test_a_device_says_who_it_is_and_where(rig):
    with rig.make() as driver:
        device = driver.open()
    assert device.interface
    assert all(isinstance(one, str) for one in device.interface.values())
    if rig.vendor_known:
        assert device.model


@on(EVERY)
def test_samples_have_whole_rows_and_rising_boot_times_at_the_rate(rig):
    begin_ns = boot_ns()
    with rig.make() as driver:
        driver.open()
        samples = take(driver, 12)
        samples += driver.finish()
    row_bytes = sum(int(one.type[2:]) for one in driver.fields)
    for sample in samples:
        size = sum(map(len, sample.payload))
        assert sample.rows >= 1
        assert size > row_bytes if driver.blob else size == sample.rows * row_bytes
    times = stamps(samples)
    assert times == sorted(set(times))
    # A receiver's epoch may have begun before we listened; nothing is stamped in the future.
    assert begin_ns - 1_000_000_000 < times[0]
    assert times[-1] <= boot_ns()
    spacing_ns = (times[-1] - times[0]) / (len(times) - 1 + missed(samples, 1e9 / driver.rate_hz))
    # A poll is late on a busy machine; a quarter is far from twice or half of what was asked.
    assert spacing_ns * driver.rate_hz == pytest.approx(1e9, rel=0.25)


@on(EVERY)
def test_silence_within_the_time_out_is_none_and_no_error(rig):
    with rig.make() as driver:
        driver.open()
        take(driver, 2)
        # A model goes on while this process waits for a processor: what came meanwhile comes first.
        assert any(driver.read(0.0) is None for _ in range(20))


@on(EVERY)
def test_reading_what_is_not_open_is_a_loss_and_closing_twice_is_fine(rig):
    driver = rig.make()
    driver.open()
    take(driver, 1)
    driver.close()
    driver.close()
    with pytest.raises(DeviceLostError):
        until(driver, BadSampleError, 2.0)


@on(EVERY)
def test_a_device_that_vanishes_is_lost_and_comes_back_with_later_times(rig):
    with rig.make() as driver:
        driver.open()
        before = take(driver, 4)
        rig.vanish(0.5)
        error = until(driver, DeviceLostError)
        driver.close()
    # A device that only a new process can use gets a new driver, as that process would make it.
    with rig.make() if isinstance(error, StuckDeviceError) else driver as again:
        after = taken_again(again, 4)
    assert stamps(after)[0] > stamps(before)[-1]


@on(EVERY)
def test_what_the_device_loses_shows_in_numbers_or_times(rig):
    with rig.make() as driver:
        driver.open()
        samples = take(driver, 8)
        rig.lose()
        samples += take(driver, 8)
    assert missed(samples, 1e9 / driver.rate_hz) > 0


@on(WITH_BROKEN_SAMPLES)
def test_a_sample_that_cannot_be_understood_is_told_and_reading_goes_on(rig):
    with rig.make() as driver:
        driver.open()
        take(driver, 2)
        assert rig.spoil is not None
        rig.spoil()
        assert str(until(driver, BadSampleError))
        take(driver, 2)


@on(IMUS)
def test_another_device_is_refused_with_what_was_found(rig):
    assert rig.other is not None
    found = rig.other()
    with rig.make() as driver, pytest.raises(WrongDeviceError, match=found):
        driver.open()


@on(IMUS)
def test_a_device_that_forgot_its_set_up_is_lost_and_set_up_again(rig):
    assert rig.brown_out is not None
    with rig.make() as driver:
        driver.open()
        take(driver, 4)
        rig.brown_out()
        assert "lost its supply" in str(until(driver, DeviceLostError))
        driver.close()
        assert taken_again(driver, 4)


@on(IMUS)
def test_a_device_that_was_exchanged_while_it_was_lost_is_refused(rig):
    assert rig.other is not None
    with rig.make() as driver:
        driver.open()
        take(driver, 2)
        rig.vanish(0.2)
        until(driver, DeviceLostError)
        driver.close()
        found = rig.other()
        time.sleep(0.3)  # it acknowledges again
        with pytest.raises(WrongDeviceError, match=found):
            driver.open()


@on(EVERY)
def test_a_device_that_was_finished_is_started_again_by_opening(rig):
    with rig.make() as driver:
        driver.open()
        take(driver, 3)
        driver.finish()
        driver.close()
        assert taken_again(driver, 3)
