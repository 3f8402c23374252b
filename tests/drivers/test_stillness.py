from __future__ import annotations

import random
import struct

import pytest

from drivers.base import Field
from drivers.stillness import FROZEN_NS, FROZEN_ROWS, Stillness

FIELDS = (
    Field("acceleration.x", ">i2", "m/s^2"),
    Field("temperature", ">i2", "degC"),
    Field("angular_velocity.z", ">i2", "rad/s"),
)
BURST, PERIOD_NS = 5, 10_000_000
FROZEN_S = FROZEN_NS / 1e9


class Sensor(Stillness):
    """Two axes at 100 Hz, watched in bursts of five rows."""

    def __init__(self) -> None:
        super().__init__(FIELDS, ("acceleration", "angular_velocity"))
        self._dice = random.Random(1)
        self._now_ns = 0

    def gives(self, *rows: tuple[int, int]) -> None:
        self._now_ns += len(rows) * PERIOD_NS
        self.look(b"".join(struct.pack(">hhh", x, 25, z) for x, z in rows), self._now_ns)

    def gives_for(self, seconds: float, x: int | None, z: int | None) -> None:
        """Give rows; None: a value with noise in its lowest bit."""
        for _ in range(round(seconds * 1e9 / PERIOD_NS / BURST)):
            self.gives(*((self._value(x), self._value(z)) for _ in range(BURST)))

    def _value(self, value: int | None) -> int:
        return self._dice.choice((7, 8)) if value is None else value


@pytest.fixture
def sensor():
    return Sensor()


def test_an_axis_that_stands_still_is_named_alone_and_no_longer_than_it_does(sensor):
    sensor.gives_for(FROZEN_S + 0.2, x=3, z=None)
    assert sensor.frozen == ["acceleration.x"]
    assert not sensor.is_frozen
    sensor.gives_for(0.1, x=None, z=None)
    assert sensor.frozen == []


def test_all_axes_that_stand_still_are_a_sensor_that_hangs(sensor):
    sensor.gives_for(FROZEN_S - 0.2, x=3, z=-4)
    assert sensor.frozen == []
    sensor.gives_for(0.4, x=3, z=-4)
    assert sensor.is_frozen
    sensor.forget()
    sensor.gives_for(1, x=3, z=-4)
    assert sensor.frozen == []


def test_one_row_that_differs_within_a_burst_is_a_sign_of_life(sensor):
    sensor.gives_for(FROZEN_S - 0.5, x=3, z=-4)
    sensor.gives((3, -4), (3, -4), (4, -4), (3, -4), (3, -4))
    sensor.gives_for(1, x=3, z=-4)
    assert sensor.frozen == ["angular_velocity.z"]


def test_few_rows_are_no_proof_however_long_they_take(sensor):
    row = struct.pack(">hhh", 3, 25, -4)
    for second in range(FROZEN_ROWS - 2):
        sensor.look(row, second * 1_000_000_000)
    assert sensor.frozen == []


@pytest.mark.parametrize(("value", "is_dead"), [(0, True), (-1, True), (0x0101, False)])
def test_nothing_but_zeros_or_ones_is_a_chip_without_power(sensor, value, is_dead):
    sensor.gives((value, value))
    assert sensor.is_dead is is_dead
