"""The chips that the kernel's own drivers are tried on, and what drives them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drivers.sim.lsm6ds_chip import Lsm6ds3Chip, Lsm6dsoChip
from drivers.sim.motion import Sense
from drivers.sim.mpu6050_chip import Mpu6050Chip

if TYPE_CHECKING:
    from drivers.sim.imu_chip import ImuChip

#: Within every range, each axis another.
RESTING = Sense(1.2, -3.4, 9.0, 0.5, -1.0, 1.7)
SWING_HZ, SWING = 0.3, 0.4


@dataclass(frozen=True)
class Chip:
    """A chip of the bench.

    Args:
        name: what it is.
        model: the register model.
        identity: what its identity register answers.
        maker: before the name in what the kernel calls compatible.
        driver: name of the chip that the kernel's driver is told; empty: its own.
        rates_hz: at which its FIFO is read, as the kernel names them.
    """

    name: str
    model: type[ImuChip]
    identity: int
    maker: str = "st"
    driver: str = ""
    rates_hz: tuple[str, ...] = ("12.5", "26")

    @property
    def devices(self) -> tuple[str, ...]:
        """What the kernel's driver calls what it makes of it."""
        parts = ("_accel", "_gyro") if self.maker == "st" else ("",)
        return tuple(self.told + part for part in parts)

    @property
    def told(self) -> str:
        """The chip that the kernel is told."""
        return self.driver or self.name


INVENSENSE = ("10", "20")
CHIPS = (
    Chip("mpu6050", Mpu6050Chip, 0x68, "invensense", rates_hz=INVENSENSE),
    Chip("mpu6500", Mpu6050Chip, 0x70, "invensense", rates_hz=INVENSENSE),
    # As themselves they are bound with their magnetometer only, which the model has not.
    Chip("mpu9250", Mpu6050Chip, 0x71, "invensense", "mpu6500", INVENSENSE),
    Chip("mpu9255", Mpu6050Chip, 0x73, "invensense", "mpu6500", INVENSENSE),
    Chip("lsm6ds3", Lsm6ds3Chip, 0x69),
    Chip("lsm6ds3tr-c", Lsm6ds3Chip, 0x6A),
    Chip("ism330dlc", Lsm6ds3Chip, 0x6A),
    Chip("lsm6dso", Lsm6dsoChip, 0x6C),
    Chip("lsm6dsox", Lsm6dsoChip, 0x6C),
    Chip("lsm6dsr", Lsm6dsoChip, 0x6B),
    Chip("ism330dhcx", Lsm6dsoChip, 0x6B),
)
#: Of Debian 13's kernel: no driver in Linux 6.12, none yet there, and left out by Debian.
WITHOUT_DRIVER = ("icm20948", "bmi270", "bno055")
FIRST_ADDRESS = 0x30
#: By address: any will do for a model.
BY_ADDRESS = dict(enumerate(CHIPS, FIRST_ADDRESS))


class Motion:
    """What all chips feel: at rest, or swinging.

    Attributes:
        swings: whether every axis moves.
    """

    def __init__(self) -> None:
        self.swings = False

    def __call__(self, at_ns: int) -> Sense:
        """Return what is felt at an instant."""
        turn = 2 * math.pi * SWING_HZ * at_ns / 1e9
        more = SWING if self.swings else 0.0
        return Sense(*(one * (1 + more * math.sin(turn + at)) for at, one in enumerate(RESTING)))
