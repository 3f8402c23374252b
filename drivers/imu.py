"""What a family of IMU chips declares: its chips, ranges, rates and filters; and its options.

A family is a subclass with tables, see `drivers.mpu6050`. A further chip of a family is one entry
of `Imu.chips`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple, TypeAlias

from drivers.base import Device, Field
from drivers.i2c import I2cDriver

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

G = 9.80665
FULL_SCALE = 32768
#: So many choices are all named in an error.
FEW = 16
#: What a thermometer's count is while it measures nothing.
NO_HEAT = -32768
#: Beginnings of the names of the columns that a living sensor keeps moving.
AXES = ("acceleration", "angular_velocity")
#: A bandwidth is met if it is so close to what was asked for, as a fraction.
CLOSE = 0.01


@dataclass(frozen=True)
class Chip:
    """One chip of a family.

    Args:
        identity: what its identity register answers.
        model: its name.
        fifo_bytes: what its FIFO holds.
        per_kelvin: counts of its thermometer per kelvin.
        zero_degc: temperature in degrees Celsius at a count of 0.
    """

    identity: int
    model: str
    fifo_bytes: int
    per_kelvin: float
    zero_degc: float


#: What can be chosen, and its code in the registers; the chips of a family by their option's name.
Codes: TypeAlias = "Mapping[float, int]"
Chips: TypeAlias = "Mapping[str, Chip]"


class Burst(NamedTuple):
    """What was read out of the FIFO.

    Args:
        rows: whole rows, as the driver's fields say.
        lost: rows that the chip says it lost before these, exactly.
        is_torn: it lost some and does not say how many, or what came makes no sense.
    """

    rows: bytes
    lost: int = 0
    is_torn: bool = False


class Imu(I2cDriver):
    """Specific force and angular velocity in sensor axes, and the chip's temperature.

    Args:
        device, bus_hz, calibration, mounting: see `drivers.i2c.I2cDriver`.
        address: None: the family's usual one.
        chip: which of `chips`; empty: the first.
        rate_hz: one of `rates_hz`; None: the family's usual one.
        range_g: full scale of the accelerometer in g.
        range_dps: full scale of the gyroscope in degrees per second.
        filter_hz: bandwidth of the low-pass; None: the widest up to a quarter of the rate, so that
            what is faster than the rate can show does not appear as something slower.

    Attributes:
        vendor: who makes the family.
        chips: the family, by the name that the option `chip` has.
        rates_hz, ranges_g, ranges_dps: what can be chosen, and its code in the registers.
        layout: the columns of a row: byte order, then ``a`` acceleration, ``w`` angular velocity
            and ``t`` temperature.
        turn_counts: the gyroscope's counts at full scale, by the data sheet's sensitivity.
    """

    ontology = "IMU"
    vendor: ClassVar[str]
    chips: ClassVar[Chips]
    usual_address: ClassVar[int]
    usual_rate_hz: ClassVar[float]
    rates_hz: ClassVar[Codes]
    ranges_g: ClassVar[Codes]
    ranges_dps: ClassVar[Codes]
    layout: ClassVar[str]
    turn_counts: ClassVar[float] = FULL_SCALE

    def __init__(
        self,
        *,
        device: str = "/dev/i2c-1",
        address: int | None = None,
        chip: str = "",
        rate_hz: float | None = None,
        range_g: int = 4,
        range_dps: int = 500,
        filter_hz: float | None = None,
        bus_hz: int = 0,
        calibration: str = "",
        mounting: str = "",
    ) -> None:
        super().__init__(
            device=device,
            address=self.usual_address if address is None else address,
            bus_hz=bus_hz,
            calibration=calibration,
            mounting=mounting,
        )
        if chip and chip not in self.chips:
            raise ValueError(f'chip is "{chip}", allowed are {", ".join(self.chips)}')
        self.chip = self.chips[chip or next(iter(self.chips))]
        self.chip_ids = (self.chip.identity,)
        asked_hz = self.usual_rate_hz if rate_hz is None else rate_hz
        self.rate_hz = self._choice("rate_hz", asked_hz, self.rates_hz, 1e-4)
        self.range_g = round(self._choice("range_g", range_g, self.ranges_g, 0.0))
        self.range_dps = round(self._choice("range_dps", range_dps, self.ranges_dps, 0.0))
        self.filter_hz = self._filter_hz(filter_hz)
        self.fields = self._fields()
        self.prepare()

    def prepare(self) -> None:
        """Set up what depends on the options; called last by the constructor."""

    def filters_hz(self) -> Codes:
        """Return the low-pass bandwidths at the chosen rate, in Hz, with their codes."""
        raise NotImplementedError

    @property
    def model(self) -> str:
        """Name of the chip that is expected."""
        return self.chip.model

    def device_facts(self, firmware: str = "") -> Device:
        """Return who the device is, for `open`."""
        interface = {"bus": self.device, "address": f"{self.address:#04x}"}
        return Device(self.vendor, self.chip.model, firmware, interface=interface)

    def _relative(self, found: int) -> str:
        names = [name for name, chip in self.chips.items() if chip.identity == found]
        return f'; that is chip = "{names[0]}"' if names else ""

    def _choice(self, name: str, asked: float, allowed: Codes, tolerance: float) -> float:
        """Return the allowed value that was asked for.

        Raises:
            ValueError: there is none; the text names the nearest.
        """
        found = min(allowed, key=lambda one: abs(one - asked))
        if math.isclose(found, asked, rel_tol=tolerance):
            return found
        raise ValueError(
            f"{name} is {asked:g}, a {self.model} has {_named(sorted(allowed), found)}"
        )

    def _filter_hz(self, asked_hz: float | None) -> float:
        allowed = self.filters_hz()
        if asked_hz is not None:
            return self._choice("filter_hz", asked_hz, allowed, CLOSE)
        narrow = [one for one in allowed if one <= self.rate_hz / 4]
        return max(narrow, default=min(allowed))

    def _fields(self) -> tuple[Field, ...]:
        order = self.layout[0]
        force = self.range_g * G / FULL_SCALE
        turn = math.radians(self.range_dps) / self.turn_counts
        heat = 1 / self.chip.per_kelvin
        zero = self.chip.zero_degc
        columns = {
            "a": _vector("acceleration", order, "m/s^2", force),
            "w": _vector("angular_velocity", order, "rad/s", turn),
            "t": (Field("temperature", f"{order}i2", "degC", heat, zero, NO_HEAT, -60, 150),),
        }
        return tuple(field for letter in self.layout[1:] for field in columns[letter])


def _vector(name: str, order: str, unit: str, scale: float) -> tuple[Field, ...]:
    most = FULL_SCALE * scale
    return tuple(
        Field(f"{name}.{axis}", f"{order}i2", unit, scale, least=-most, most=most) for axis in "xyz"
    )


def _named(allowed: list[float], near: float) -> str:
    """Name all of a short list, or its ends and what is nearest."""
    if len(allowed) <= FEW:
        return ", ".join(f"{one:g}" for one in allowed)
    place = allowed.index(near)
    nearest = ", ".join(f"{one:g}" for one in allowed[max(0, place - 1) : place + 2])
    return f"{allowed[0]:g} to {allowed[-1]:g} in steps: the nearest are {nearest}"


def laid_out(burst: bytes, wire_bytes: int, kept: Sequence[int], tail: bytes) -> bytes:
    """Lay rows out anew, without touching them one by one.

    Args:
        burst: rows back to back, as the FIFO gave them.
        wire_bytes: bytes of a row in `burst`.
        kept: which bytes of each row to keep, in order.
        tail: bytes to put behind each row.
    """
    rows = len(burst) // wire_bytes
    row_bytes = len(kept) + len(tail)
    out = bytearray(rows * row_bytes)
    for place, offset in enumerate(kept):
        out[place::row_bytes] = burst[offset::wire_bytes]
    for place, byte in enumerate(tail, len(kept)):
        out[place::row_bytes] = bytes((byte,)) * rows
    return bytes(out)
