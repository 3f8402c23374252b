"""A bus with models of IMUs on it, and every family that there is."""

from __future__ import annotations

import csv
import struct
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from drivers.base import TYPES, Driver, Sample
from drivers.bmi270 import Bmi270
from drivers.bno055 import Bno055
from drivers.icm20948 import Icm20948
from drivers.lsm6ds3 import Lsm6ds3
from drivers.lsm6dso import Lsm6dso
from drivers.mpu6050 import Mpu6050
from drivers.sim.bmi270_chip import Bmi270Chip
from drivers.sim.bno055_chip import Bno055Chip
from drivers.sim.bus import BusServer
from drivers.sim.icm20948_chip import Icm20948Chip
from drivers.sim.lsm6ds_chip import Lsm6ds3Chip, Lsm6dsoChip
from drivers.sim.motion import Sense
from drivers.sim.mpu6050_chip import Mpu6050Chip

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from drivers.sim.imu_chip import ImuChip

G = 9.80665
AXES = [f"{what}.{axis}" for what in ("acceleration", "angular_velocity") for axis in "xyz"]


@dataclass(frozen=True)
class Kind:
    """A driver, the model that it is tried on, and what it is told.

    `rate_hz` is one that the driver has, `identity` the model's, `model` the device's name.
    """

    driver: type[Any]  # a driver; each has its own options
    chip: type[ImuChip]
    rate_hz: float
    address: int
    options: Mapping[str, Any] = field(default_factory=dict)
    identity: int | None = None
    model: str = ""


KINDS = {
    "mpu6050": Kind(Mpu6050, Mpu6050Chip, 100, 0x68, model="MPU-6050"),
    "mpu6500": Kind(Mpu6050, Mpu6050Chip, 100, 0x68, {"chip": "mpu6500"}, 0x70, model="MPU-6500"),
    "icm20948": Kind(Icm20948, Icm20948Chip, 112.5, 0x68, model="ICM-20948"),
    "lsm6dso": Kind(Lsm6dso, Lsm6dsoChip, 208, 0x6A, model="LSM6DSO"),
    "ism330dhcx": Kind(
        Lsm6dso, Lsm6dsoChip, 208, 0x6A, {"chip": "ism330dhcx"}, 0x6B, model="ISM330DHCX"
    ),
    "lsm6ds3": Kind(
        Lsm6ds3, Lsm6ds3Chip, 208, 0x6A, {"chip": "lsm6ds3tr-c"}, 0x6A, model="LSM6DS3TR-C"
    ),
    "bmi270": Kind(Bmi270, Bmi270Chip, 100, 0x68, model="BMI270"),
    "bno055": Kind(Bno055, Bno055Chip, 100, 0x28, model="BNO055"),
}
WITH_FIFO = [name for name in KINDS if name != "bno055"]


def moving(at_ns: int) -> Sense:
    """Every axis tells roughly when it was taken."""
    ms = at_ns // 1_000_000 % 5_000 / 1000
    return Sense(ms, 2 * ms, G, ms / 10, -ms / 5, 0.3)


@dataclass
class Bench:
    """A chip on a bus, what it wrote down, and its driver."""

    kind: Kind
    folder: Path
    motion: Callable[[int], Sense] = moving
    rate_error: float = 0.004

    def __post_init__(self) -> None:
        self.log = self.folder / "imu.csv"
        self.chip = self.kind.chip(
            self.motion, self.log, self.rate_error, identity=self.kind.identity
        )
        self.bus = BusServer(self.folder / "i2c", {self.kind.address: self.chip})
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self.bus.run, args=(self._stop,))
        self._thread.start()
        program = self.folder / "program"
        program.write_bytes(bytes(8192))
        self._own = {"config_file": str(program)} if self.kind.driver is Bmi270 else {}
        self.device = f"unix:{self.folder / 'i2c'}"

    def driver(self, **options: Any) -> Driver:
        """Make the driver, not opened."""
        usual = {"device": self.device, "rate_hz": self.kind.rate_hz, **self.kind.options}
        made: Driver = self.kind.driver(**{**usual, **self._own, **options})
        return made

    def stop(self) -> None:
        """End the model; its log is complete."""
        self._stop.set()
        self._thread.join(5)
        assert not self._thread.is_alive()
        self.chip.close()

    def produced(self) -> list[tuple[int, ...]]:
        """Stop the chip; return index, boot_ns and six counts of every row it ever made."""
        self.stop()
        with self.log.open() as file:
            return [tuple(map(int, row)) for row in list(csv.reader(file))[1:]]


def unpacked(driver: Driver, sample: Sample) -> list[dict[str, int]]:
    """Return the raw counts of every row, by field."""
    order = driver.fields[0].type[0]
    row = struct.Struct(order + "".join(TYPES[one.type[1:]] for one in driver.fields))
    names = [one.name for one in driver.fields]
    rows = [dict(zip(names, one, strict=True)) for one in row.iter_unpack(b"".join(sample.payload))]
    assert len(rows) == sample.rows
    return rows


def scaled(driver: Driver, row: dict[str, int]) -> dict[str, float]:
    """Return a row in its fields' units."""
    return {one.name: row[one.name] * one.scale + one.offset for one in driver.fields}


def read_rows(driver: Driver, rows: int) -> list[Sample]:
    """Read until so many rows came, at most 10 s."""
    samples: list[Sample] = []
    deadline_s = time.monotonic() + 10
    while sum(sample.rows for sample in samples) < rows:
        assert time.monotonic() < deadline_s, "the chip gives too little"
        sample = driver.read(0.2)
        if sample is not None:
            samples.append(sample)
    return samples


def lost_between(before: Sample, after: Sample) -> int:
    """Count missing rows as a lane does: by the device's numbers, else by time."""
    if before.counter is not None and after.counter is not None and not after.gap:
        return after.counter - before.counter - before.rows
    next_ns = before.boot_ns + before.rows * before.period_ns
    return round((after.boot_ns - next_ns) / before.period_ns)


def reconcile(driver: Driver, samples: list[Sample], produced: list[tuple[int, ...]]) -> list[int]:
    """Check every row and its time against the chip's own log; return the losses that show."""
    losses, place, before = [], 0, None
    for sample in samples:
        lost = lost_between(before, sample) if before else 0
        place += lost
        losses += [lost] if lost or sample.gap else []
        made = produced[place : place + sample.rows]
        assert [tuple(row[axis] for axis in AXES) for row in unpacked(driver, sample)] == [
            row[2:] for row in made
        ]
        for number, row in enumerate(made):
            assert abs(sample.boot_ns + number * sample.period_ns - row[1]) < sample.period_ns / 2
        place += sample.rows
        before = sample
    assert place == len(produced)
    return losses
