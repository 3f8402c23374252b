from __future__ import annotations

import csv
import itertools
import os
import threading
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from smbus2 import i2c_msg

from drivers.base import DeviceAbsentError, DeviceLostError, Sample
from drivers.bmi270 import Bmi270, part
from drivers.fifo_imu import FifoImu
from drivers.i2c import Bus
from drivers.sim.bus import BusServer
from drivers.sim.motion import Sense
from tests.drivers.imus import (
    AXES,
    KINDS,
    WITH_FIFO,
    Bench,
    G,
    lost_between,
    moving,
    read_rows,
    reconcile,
    scaled,
    unpacked,
)
from tests.known import known


@pytest.fixture
def bench(tmp_path):
    made = []

    def build(name: str, **options) -> Bench:
        made.append(Bench(KINDS[name], tmp_path, **options))
        return made[-1]

    yield build
    for one in made:
        one.stop()


@pytest.mark.parametrize("name", WITH_FIFO)
@pytest.mark.parametrize(("range_g", "range_dps"), [(2, 250), (16, 2000)])
def test_one_g_and_a_turn_are_what_they_are_at_every_range(bench, name, range_g, range_dps):
    imu = bench(name, motion=lambda _: Sense(0.0, -G / 2, G, 0.0, 1.0, -2.0))
    with imu.driver(range_g=range_g, range_dps=range_dps) as driver:
        driver.open()
        row = scaled(driver, unpacked(driver, read_rows(driver, 5)[-1])[-1])
    count_a, count_w = 2.1 * range_g * G / 32768, 2.5 * range_dps / 32768 / 57
    assert row["acceleration.z"] == pytest.approx(G, abs=count_a)
    assert row["acceleration.y"] == pytest.approx(-G / 2, abs=count_a)
    assert row["angular_velocity.y"] == pytest.approx(1.0, abs=count_w)
    assert row["angular_velocity.z"] == pytest.approx(-2.0, abs=count_w)
    assert row["temperature"] == pytest.approx(25.0, abs=0.05)


@pytest.mark.parametrize("name", WITH_FIFO)
@pytest.mark.parametrize("rate_error", [-0.02, 0.025])
def test_every_row_is_read_once_with_its_time_and_finish_leaves_nothing(bench, name, rate_error):
    imu = bench(name, rate_error=rate_error)
    with imu.driver() as driver:
        driver.open()
        samples = [*read_rows(driver, 80), *driver.finish()]
    assert reconcile(driver, samples, imu.produced()) == []
    stamps = [s.boot_ns + i * s.period_ns for s in samples for i in range(s.rows)]
    assert stamps == sorted(stamps)


#: A rate, and for how long the bus must be held up then until the FIFO is more than full.
OVERFLOWS = {
    "mpu6050": (100, 1.0),
    "mpu6500": (100, 0.7),
    "icm20948": (112.5, 0.7),
    "lsm6dso": (208, 1.6),
    "ism330dhcx": (208, 1.6),
    "lsm6ds3": (208, 2.0),
    "bmi270": (200, 1.1),
}


@pytest.mark.parametrize("name", WITH_FIFO)
def test_rows_that_an_overflow_cost_are_counted_exactly(bench, name):
    rate_hz, held_s = OVERFLOWS[name]
    imu = bench(name)
    with imu.driver(rate_hz=rate_hz) as driver:
        driver.open()
        samples = read_rows(driver, round(rate_hz * 1.5))
        imu.bus.fault("overflow", seconds=held_s)
        samples += [*read_rows(driver, round(rate_hz / 2)), *driver.finish()]
    losses = reconcile(driver, samples, imu.produced())
    assert len(losses) == 1
    assert losses[0] > 10


class Counted:
    """A bus that counts what goes over it."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.transfers = 0

    def write_byte_data(self, i2c_addr: int, register: int, value: int) -> None:
        self.transfers += 1
        self._bus.write_byte_data(i2c_addr, register, value)

    def i2c_rdwr(self, *i2c_msgs: i2c_msg) -> None:
        self.transfers += 1
        self._bus.i2c_rdwr(*i2c_msgs)

    def close(self) -> None:
        self._bus.close()


@pytest.mark.parametrize("name", WITH_FIFO)
def test_a_fifo_is_emptied_in_one_transfer_so_that_no_sample_falls_between_two(bench, name):
    imu = bench(name)
    with imu.driver() as driver:
        driver.open()
        bus = driver._bus = Counted(known(driver._bus))
        driver.empty_fifo()
        assert bus.transfers == 1


@pytest.mark.parametrize("name", ["mpu6050", "bmi270"])
def test_rows_that_are_held_when_the_fifo_overflows_are_given_before_the_gap(
    bench, name, monkeypatch
):
    rate_hz, held_s = OVERFLOWS[name]
    imu = bench(name)
    with imu.driver(rate_hz=rate_hz) as driver:
        driver.open()
        samples = read_rows(driver, round(rate_hz * 1.5))
        with monkeypatch.context() as patch:
            patch.setattr("drivers.fifo_imu.HELD_S", 60.0)
            patch.setattr("drivers.fifo_clock.FifoClock.is_first_known", False)
            deadline_s = time.monotonic() + 5
            while driver._held_rows() < 10 and time.monotonic() < deadline_s:
                assert driver.read(0.02) is None
            since_ns = known(driver.held_since_ns)
            imu.bus.fault("overflow", seconds=held_s)
            held = known(driver.read(0.2))
        assert held.rows >= 10
        assert 0 <= held.boot_ns - since_ns < held.period_ns
        samples += [held, *read_rows(driver, round(rate_hz / 2)), *driver.finish()]
    assert driver.held_since_ns is None
    assert len(reconcile(driver, samples, imu.produced())) == 1


def test_a_bmi270_numbers_its_rows_and_an_overflow_is_no_guess(bench):
    imu = bench("bmi270")
    with imu.driver(rate_hz=400) as driver:
        driver.open()
        samples = read_rows(driver, 400)
        imu.bus.fault("overflow", seconds=0.8)
        samples += [*read_rows(driver, 200), *driver.finish()]
    assert not any(sample.gap for sample in samples)
    lost = [lost_between(a, b) for a, b in itertools.pairwise(samples)]
    assert sum(lost) == len(imu.produced()) - sum(sample.rows for sample in samples) > 0


def test_more_than_a_skip_frame_can_count_is_counted_by_time(bench):
    imu = bench("bmi270")
    with imu.driver(rate_hz=200) as driver:
        driver.open()
        samples = read_rows(driver, 400)
        imu.bus.fault("overflow", seconds=2.4)
        samples += [*read_rows(driver, 100), *driver.finish()]
    assert sum(sample.gap for sample in samples) == 1
    assert reconcile(driver, samples, imu.produced())[0] > 255


def test_frames_of_a_bmi270_are_parted_and_nonsense_is_not_guessed_at():
    row = bytes((0x8C, *range(12)))
    assert part(bytes((0x40, 7)) + row + bytes((0x48, 0)) + row[:5]) == (row, 7)
    assert part(row + bytes((0x84, *range(6))) + row + bytes((0x80,) * 3)) == (row + row, 0)
    assert part(bytes((0x40, 255)) + row) is None
    assert part(row + bytes((0x33,)) + row) is None


@pytest.mark.parametrize("name", ["mpu6050", "lsm6ds3"])
def test_a_fill_that_came_garbled_over_the_wires_gives_no_row_that_was_not_made(
    bench, name, monkeypatch
):
    imu = bench(name)
    with imu.driver() as driver:
        driver.open()
        samples = read_rows(driver, 30)
        whole = type(driver).waiting_rows
        flips = iter([40])
        monkeypatch.setattr(type(driver), "waiting_rows", lambda self: whole(self) + next(flips, 0))
        samples += read_rows(driver, 60)
        samples += driver.finish()
    losses = reconcile(driver, samples, imu.produced())
    assert len(losses) == 1


@pytest.mark.parametrize("name", WITH_FIFO)
def test_taking_over_from_a_dead_process_loses_nothing_while_the_fifo_holds(bench, name):
    imu = bench(name)
    dead = imu.driver()
    dead.open()
    samples = read_rows(dead, 60)
    dead.close()  # as a killed process: nothing was stopped
    time.sleep(0.2)
    with imu.driver() as driver:
        driver.open()
        after = [*read_rows(driver, 40), *driver.finish()]
    rows = [row for sample in [*samples, *after] for row in unpacked(driver, sample)]
    assert len(rows) == len(imu.produced())


@pytest.mark.parametrize("name", WITH_FIFO)
def test_the_period_and_the_jitter_of_the_stamps_are_told(bench, name):
    imu = bench(name, rate_error=0.02)
    with imu.driver() as driver:
        driver.open()
        read_rows(driver, 150)
        told = driver.measured()
    period_ns = 1e9 / (driver.rate_hz * 1.02)
    assert told["period_ns"] == pytest.approx(period_ns, rel=2e-3)
    jitter_ns, bound_ns = told["stamp_jitter_ns"], told["stamp_bound_ns"]
    assert isinstance(jitter_ns, int)
    assert isinstance(bound_ns, int)
    assert jitter_ns < period_ns / 2
    assert bound_ns < period_ns / 2
    assert told["frozen"] == []


@pytest.mark.parametrize("name", WITH_FIFO)
def test_a_torn_fifo_is_emptied_and_the_loss_counted_by_time(bench, name):
    imu = bench(name)
    with imu.driver() as driver:
        assert isinstance(driver, FifoImu)
        driver.open()
        samples = read_rows(driver, 100)
        time.sleep(0.05)  # some rows wait
        driver.read_register(imu.chip.fifo_port, 7)  # as a transfer that broke off
        driver.close()
        driver.open()
        samples += [*read_rows(driver, 60), *driver.finish()]
    unnumbered = [replace(sample, counter=None) for sample in samples]  # they began anew
    losses = reconcile(driver, unnumbered, imu.produced())
    # A BMI270 gives a frame that was cut again; of the others a row, or all that waited, is gone.
    assert any(losses) is any(sample.gap for sample in samples) is (name != "bmi270")


def test_a_bmi270_without_boschs_file_says_what_is_missing(bench, tmp_path):
    imu = bench("bmi270")
    missing = imu.driver(config_file=str(tmp_path / "none.fw"))
    with missing, pytest.raises(DeviceAbsentError, match=r"none\.fw: No such file.*Bosch's"):
        missing.open()
    (tmp_path / "short.fw").write_bytes(bytes(100))
    short = imu.driver(config_file=str(tmp_path / "short.fw"))
    with short, pytest.raises(DeviceAbsentError, match="has 100 bytes, not 8192"):
        short.open()
    os.mkfifo(tmp_path / "pipe.fw")
    pipe = imu.driver(config_file=str(tmp_path / "pipe.fw"))
    with pipe, pytest.raises(DeviceAbsentError, match="has 0 bytes, not 8192"):
        pipe.open()
    endless = imu.driver(config_file="/dev/zero")
    with endless, pytest.raises(DeviceAbsentError, match="has more bytes, not 8192"):
        endless.open()


def test_a_bmi270_that_does_not_take_its_program_is_lost(bench):
    imu = bench("bmi270")

    class Deaf(Bmi270):
        def write_block(self, register: int, data: bytes) -> None:
            if register != 0x5E:
                super().write_block(register, data)

    program = str(imu.folder / "program")
    with (
        Deaf(device=imu.device, config_file=program) as driver,
        pytest.raises(DeviceLostError, match="INTERNAL_STATUS is 2, not 1"),
    ):
        driver.open()


def until(driver: FifoImu, samples: list[Sample] | None = None) -> None:
    """Read until the driver raises, at most 20 s."""
    deadline_s = time.monotonic() + 20
    while time.monotonic() < deadline_s:
        sample = driver.read(0.2)
        if sample is not None and samples is not None:
            samples.append(sample)


@pytest.mark.parametrize("name", WITH_FIFO)
@pytest.mark.parametrize("value", [0x00, 0xFF])
def test_a_chip_without_power_is_lost_and_not_recorded_as_stillness(bench, name, value):
    imu = bench(name)
    with imu.driver() as driver:
        driver.open()
        samples = read_rows(driver, 10)
        imu.chip.fault("unpowered", value=value, seconds=30)
        with pytest.raises(DeviceLostError, match=r"supply|power"):
            until(driver, samples)
    rows = [row for sample in samples for row in unpacked(driver, sample)]
    assert all(abs(row["acceleration.z"] - 8192) <= 1 for row in rows)  # one g, and its noise


@pytest.mark.parametrize("name", ["mpu6050", "lsm6dso"])
def test_values_that_stay_the_same_for_seconds_are_no_stillness_but_a_loss(bench, name):
    imu = bench(name)
    with imu.driver() as driver:
        driver.open()
        read_rows(driver, 20)
        imu.chip.fault("frozen")
        with pytest.raises(DeviceLostError, match="the same values for seconds"):
            until(driver)
        assert set(driver.measured()["frozen"]) == set(AXES)
        driver.close()
        driver.open()  # it still runs as configured; only the reset makes it live
        rows = [row for sample in read_rows(driver, 50) for row in unpacked(driver, sample)]
    assert len({tuple(row.values()) for row in rows}) > 10


def test_two_sensors_share_one_bus_and_disturb_each_other_in_nothing(tmp_path):
    folders = {name: tmp_path / name for name in ("mpu6050", "lsm6dso")}
    made = {}
    for name, folder in folders.items():
        folder.mkdir()
        made[name] = KINDS[name].chip(moving, folder / "imu.csv")
    bus = BusServer(tmp_path / "i2c", {KINDS[name].address: chip for name, chip in made.items()})
    stop = threading.Event()
    thread = threading.Thread(target=bus.run, args=(stop,))
    thread.start()
    found: dict[str, list[Sample]] = {}

    def record(name: str) -> None:
        driver = KINDS[name].driver(device=f"unix:{tmp_path / 'i2c'}", rate_hz=KINDS[name].rate_hz)
        with driver:
            driver.open()
            found[name] = [*read_rows(driver, 150), *driver.finish()]

    lanes = [threading.Thread(target=record, args=(name,)) for name in made]
    for lane in lanes:
        lane.start()
    for lane in lanes:
        lane.join(20)
        assert not lane.is_alive()
    stop.set()
    thread.join(5)
    for name, chip in made.items():
        chip.close()
        with (folders[name] / "imu.csv").open() as file:
            rows = [tuple(map(int, row)) for row in list(csv.reader(file))[1:]]
        assert reconcile(KINDS[name].driver(), found[name], rows) == []


@pytest.mark.parametrize("name", WITH_FIFO)
@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"range_g": 3}, r"range_g is 3, a .* has 2, 4, 8, 16"),
        ({"range_dps": 300}, r"range_dps is 300, a .* has (125, )?250, 500, 1000, 2000"),
        ({"rate_hz": 3.0}, r"rate_hz is 3, a .* has "),
        ({"filter_hz": 3000.0}, r"filter_hz is 3000, a .* has "),
        ({"chip": "adxl"}, 'chip is "adxl", allowed are '),
        ({"calibration": "imu.toml"}, r"calibration is imu\.toml, must be an absolute path"),
    ],
)
def test_what_a_chip_has_not_is_refused_with_what_it_has(name, options, text):
    with pytest.raises(ValueError, match=text):
        KINDS[name].driver(**options)


@pytest.mark.parametrize("name", WITH_FIFO)
def test_the_filter_is_the_widest_that_hides_nothing_unless_told_otherwise(name):
    driver = KINDS[name].driver(**KINDS[name].options, rate_hz=KINDS[name].rate_hz)
    assert isinstance(driver, FifoImu)
    wider = [one for one in driver.filters_hz() if driver.filter_hz < one <= driver.rate_hz / 4]
    assert wider == []
    narrow = min(driver.filters_hz())
    assert KINDS[name].driver(rate_hz=driver.rate_hz, filter_hz=narrow, **KINDS[name].options)


def test_a_calibration_and_a_mounting_are_named_and_never_opened():
    driver = KINDS["mpu6050"].driver(calibration="/none/imu.json", mounting="/none/seat.json")
    assert {kind: str(path) for kind, path in driver.documents.items()} == {
        "calibration": "/none/imu.json",
        "mounting": "/none/seat.json",
    }


def test_one_khz_does_not_fit_on_a_bus_of_100_khz_and_does_on_400():
    for name in ("mpu6050", "lsm6dso", "bmi270"):
        rate_hz = {"mpu6050": 1000.0, "lsm6dso": 833.0, "bmi270": 800.0}[name]
        driver = KINDS[name].driver(rate_hz=rate_hz)
        assert isinstance(driver, FifoImu)
        assert 93_000 < driver.bits_per_s < 200_000


FRAMES = st.sampled_from(
    [
        *(bytes((0x8C, *range(each, each + 12))) for each in (0, 0x40, 0x80)),
        bytes((0x88, *range(6))),
        bytes((0x84, *range(6))),
        bytes((0x48, 1)),
        bytes((0x44, 1, 2, 3)),
    ]
)


@given(frames=st.lists(FRAMES, max_size=30), skipped=st.integers(0, 254), cut=st.integers(0, 12))
def test_whatever_frames_a_bmi270_gives_whole_rows_come_out_and_none_twice(frames, skipped, cut):
    head = bytes((0x40, skipped)) if skipped else b""
    rows = b"".join(one for one in frames if one[0] == 0x8C)
    torn = bytes((0x8C, *range(12)))[:cut]
    assert part(head + b"".join(frames) + torn) == (rows, skipped)
    assert part(head + b"".join(frames) + b"\x80" * 9) == (rows, skipped)
