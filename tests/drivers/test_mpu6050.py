from __future__ import annotations

import csv
import math
import struct
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from drivers.base import DeviceAbsentError, DeviceLostError, Sample, WrongDeviceError
from drivers.mpu6050 import SLEEP, Mpu6050
from drivers.sim.bus import BusClient, BusServer
from drivers.sim.motion import Sense
from drivers.sim.mpu6050_chip import Mpu6050Chip

ADDRESS = 0x68
POWER = 0x6B
G = 9.80665
ROW = struct.Struct(">3hh3h")
ACCEL_LSB, GYRO_LSB = G / 8192, math.radians(1 / 65.5)


def marked(at_ns: int) -> Sense:
    """Each sample tells when it was taken: milliseconds on x and y."""
    ms = at_ns // 1_000_000
    return Sense(ms % 20_000 * ACCEL_LSB, ms // 20_000 % 20_000 * ACCEL_LSB, G, 0.1, -0.2, 0.3)


@dataclass
class Imu:
    """A chip on a bus, and what it wrote down."""

    chip: Mpu6050Chip
    bus: BusServer
    device: str
    log: Path
    stop: threading.Event
    thread: threading.Thread

    def produced(self) -> list[tuple[int, ...]]:
        """Stop the chip; return index, boot_ns and six counts of every row it ever made."""
        self.stop.set()
        self.thread.join(5)
        self.chip.close()
        with self.log.open() as file:
            return [tuple(map(int, row)) for row in list(csv.reader(file))[1:]]

    def register(self, number: int) -> int:
        client = BusClient(self.device.removeprefix("unix:"))
        value = client.read_byte_data(ADDRESS, number)
        client.close()
        return value


@pytest.fixture
def make(tmp_path):
    made = []

    def build(motion=marked, rate_error=0.004) -> Imu:
        log = tmp_path / "imu.csv"
        chip = Mpu6050Chip(motion, log, rate_error)
        bus = BusServer(tmp_path / "i2c", {ADDRESS: chip})
        stop = threading.Event()
        thread = threading.Thread(target=bus.run, args=(stop,))
        thread.start()
        made.append(Imu(chip, bus, f"unix:{tmp_path / 'i2c'}", log, stop, thread))
        return made[0]

    yield build
    for imu in made:
        imu.stop.set()
        imu.thread.join(5)
        imu.chip.close()


def read_rows(driver: Mpu6050, rows: int) -> list[Sample]:
    """Read until so many rows came, at most 5 s."""
    samples: list[Sample] = []
    deadline_s = time.monotonic() + 5
    while sum(sample.rows for sample in samples) < rows:
        assert time.monotonic() < deadline_s, "the chip gives too little"
        sample = driver.read(0.2)
        if sample is not None:
            samples.append(sample)
    return samples


def counts(samples: list[Sample]) -> list[tuple[int, ...]]:
    data = b"".join(b"".join(sample.payload) for sample in samples)
    assert len(data) == ROW.size * sum(sample.rows for sample in samples)
    return list(ROW.iter_unpack(data))


def next_ns(sample: Sample) -> int:
    return sample.boot_ns + sample.rows * sample.period_ns


def lost_between(before: Sample, after: Sample) -> int:
    """Count missing rows by time, as a lane does."""
    return round((after.boot_ns - next_ns(before)) / before.period_ns)


def reconcile(samples: list[Sample], produced: list[tuple[int, ...]]) -> list[int]:
    """Check every row against the chip's own log; return the losses that time shows."""
    losses, place, before = [], 0, None
    for sample in samples:
        lost = lost_between(before, sample) if before else 0
        place += lost
        losses += [lost] if lost or sample.gap else []
        motion = [row[:3] + row[4:] for row in counts([sample])]
        assert motion == [row[2:] for row in produced[place : place + sample.rows]]
        for number, row in enumerate(produced[place : place + sample.rows]):
            assert abs(sample.boot_ns + number * sample.period_ns - row[1]) < sample.period_ns / 2
        place += sample.rows
        before = sample
    assert place == len(produced)
    return losses


def values(driver: Mpu6050, row: tuple[int, ...]) -> dict[str, float]:
    return {
        field.name: count * field.scale + field.offset
        for field, count in zip(driver.fields, row, strict=True)
    }


def test_one_g_on_z_gives_9_80665_and_a_turn_its_rate(make):
    imu = make(lambda _: Sense(0.0, -G / 2, G, 0.0, 1.0, -2.0))
    with Mpu6050(device=imu.device) as driver:
        driver.open()
        row = values(driver, counts(read_rows(driver, 5))[-1])
    assert row["acceleration.z"] == pytest.approx(G, abs=2 * ACCEL_LSB)
    assert row["acceleration.y"] == pytest.approx(-G / 2, abs=2 * ACCEL_LSB)
    assert row["acceleration.x"] == pytest.approx(0, abs=2 * ACCEL_LSB)
    assert row["angular_velocity.y"] == pytest.approx(1.0, abs=2 * GYRO_LSB)
    assert row["angular_velocity.z"] == pytest.approx(-2.0, abs=2 * GYRO_LSB)
    assert row["temperature"] == pytest.approx(25.0, abs=0.01)


def test_what_is_too_strong_for_the_range_saturates(make):
    imu = make(lambda _: Sense(10 * G, -10 * G, 0.0, 100.0, 0.0, 0.0))
    with Mpu6050(device=imu.device) as driver:
        driver.open()
        row = counts(read_rows(driver, 5))[-1]
    assert row[:2] == (32767, -32768)
    assert row[4] == 32767


@pytest.mark.parametrize("rate_error", [-0.02, 0.004, 0.025])
def test_every_row_is_read_once_with_its_time_and_finish_leaves_nothing(make, rate_error):
    imu = make(rate_error=rate_error)
    with Mpu6050(device=imu.device, rate_hz=100) as driver:
        driver.open()
        samples = [*read_rows(driver, 80), *driver.finish()]
    assert reconcile(samples, imu.produced()) == []
    stamps = [s.boot_ns + i * s.period_ns for s in samples for i in range(s.rows)]
    assert stamps == sorted(stamps)


def test_finish_returns_what_waits_in_the_fifo_and_puts_the_chip_to_sleep(make):
    imu = make()
    with Mpu6050(device=imu.device, rate_hz=100) as driver:
        driver.open()
        samples = read_rows(driver, 20)
        time.sleep(0.1)  # 10 rows wait
        last = driver.finish()
    assert imu.register(POWER) & SLEEP
    assert sum(sample.rows for sample in last) >= 10
    assert reconcile([*samples, *last], imu.produced()) == []


def test_an_overflow_is_a_gap_whose_rows_time_counts_exactly(make):
    imu = make()
    with Mpu6050(device=imu.device) as driver:
        driver.open()
        samples = read_rows(driver, 200)
        imu.bus.fault("overflow", seconds=0.9)
        after = read_rows(driver, 40)
        samples += [*after, *driver.finish()]
    losses = reconcile(samples, imu.produced())
    assert sum(sample.gap for sample in samples) == len(losses)
    assert losses[0] > 73


def test_taking_over_from_a_dead_process_loses_nothing_while_the_fifo_holds(make):
    imu = make(rate_error=0.025)  # so far off that nominal times would be wrong by a row
    dead = Mpu6050(device=imu.device, rate_hz=100)
    dead.open()
    samples = read_rows(dead, 100)
    dead.close()  # as a killed process: nothing was stopped
    time.sleep(0.5)  # 50 rows wait in the chip
    with Mpu6050(device=imu.device, rate_hz=100) as driver:
        driver.open()
        samples += [*read_rows(driver, 40), *driver.finish()]
    assert reconcile(samples, imu.produced()) == []


def test_taking_over_too_late_is_a_gap_whose_rows_time_counts_exactly(make):
    imu = make()
    dead = Mpu6050(device=imu.device)
    dead.open()
    samples = read_rows(dead, 400)
    dead.close()
    time.sleep(0.7)
    with Mpu6050(device=imu.device) as driver:
        driver.open()
        new = [*read_rows(driver, 40), *driver.finish()]
    assert new[0].gap
    assert reconcile(samples + new, imu.produced())[0] > 73


def test_a_chip_set_up_otherwise_is_reset_and_set_up(make):
    imu = make()
    with Mpu6050(device=imu.device, rate_hz=100) as driver:
        driver.open()
        read_rows(driver, 5)
    with Mpu6050(device=imu.device, rate_hz=50) as driver:
        driver.open()
        sample = read_rows(driver, 10)[-1]
    assert sample.period_ns == pytest.approx(20e6, rel=0.03)


def test_no_acknowledge_is_a_loss_and_a_second_open_goes_on(make):
    imu = make()
    with Mpu6050(device=imu.device) as driver:
        driver.open()
        samples = read_rows(driver, 20)
        imu.bus.fault("nak", n=1)
        with pytest.raises(DeviceLostError, match="bus fault"):
            samples += read_rows(driver, 1000)
        driver.close()
        driver.open()
        samples += [*read_rows(driver, 20), *driver.finish()]
    # A burst whose status could not be read any more is given up.
    assert sum(reconcile(samples, imu.produced())) <= 12


def test_a_brown_out_is_noticed_though_the_chip_acknowledges(make):
    imu = make()
    with Mpu6050(device=imu.device) as driver:
        driver.open()
        read_rows(driver, 20)
        imu.chip.fault("brown_out")
        with pytest.raises(DeviceLostError, match=r"lost its supply.*power is 0x40"):
            read_rows(driver, 1000)
        driver.close()
        driver.open()
        assert values(driver, counts(read_rows(driver, 5))[-1])["acceleration.z"] > G - 0.01


def test_an_identity_of_another_chip_is_named(make):
    imu = make()
    imu.chip.fault("wrong_id", value=0x71)
    driver = Mpu6050(device=imu.device)
    with (
        driver,
        pytest.raises(
            WrongDeviceError,
            match=r"identity is 0x71, a MPU-6050 has 0x68; that is chip = .mpu9250.",
        ),
    ):
        driver.open()


def test_nothing_at_the_address_is_absent(make):
    imu = make()
    with Mpu6050(device=imu.device, address=0x69) as driver, pytest.raises(DeviceAbsentError):
        driver.open()


@pytest.mark.parametrize(
    ("rate_hz", "nearest"), [(190, "166.667, 200, 250"), (0.5, "3.90625"), (4000, "500, 1000")]
)
def test_a_rate_that_the_chip_cannot_give_is_refused_with_the_nearest(rate_hz, nearest):
    with pytest.raises(ValueError, match=f"rate_hz is {rate_hz}.*{nearest}"):
        Mpu6050(device="1", rate_hz=rate_hz)


def test_silence_within_the_time_out_gives_none(make):
    imu = make()
    with Mpu6050(device=imu.device, rate_hz=5) as driver:
        driver.open()
        assert driver.read(0.01) is None


def test_the_fifo_keeps_its_newest_bytes_at_an_overflow_and_the_flag_clears_by_reading(tmp_path):
    now_ns = 0
    chip = Mpu6050Chip(marked, tmp_path / "log", 0.0, lambda: now_ns)
    setup = ((0x6B, 1), (0x1A, 3), (0x1C, 8), (0x38, 0x10), (0x6A, 0x40), (0x23, 0x78))
    for register, value in setup:
        chip.write(bytes((register, value)))
    now_ns = 85_000_000
    chip.write(b"\x3a")
    assert chip.read(1) == b"\x00"
    now_ns = 86_000_000
    chip.write(b"\x3a")
    assert chip.read(1) == b"\x10"
    chip.write(b"\x3a")
    assert chip.read(1) == b"\x00"
    chip.write(b"\x72")
    assert int.from_bytes(chip.read(2), "big") == 1024
    chip.write(b"\x74")
    newest = struct.unpack(">h", chip.read(1024)[-12:-10])[0]
    chip.close()
    assert newest == pytest.approx(86, abs=1)  # in ms, and a count of noise: the newest is whole
    assert len((tmp_path / "log").read_text().splitlines()) == 1 + 86
