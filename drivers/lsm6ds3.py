"""ST LSM6DS3, LSM6DS3TR-C, ISM330DLC on I2C: the FIFO that is a pattern of words without tags.

Source: ST data sheets DocID026899 (LSM6DS3) and DocID030071 (LSM6DS3TR-C): FIFO_CTRL1 to
FIFO_CTRL5, FIFO_STATUS1 to 4, CTRL1_XL; application note AN4650 (the FIFO).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from drivers.i2c import Byte, Word
from drivers.imu import Burst, Chip, laid_out
from drivers.lsm6ds import Lsm6ds

if TYPE_CHECKING:
    from drivers.imu import Chips, Codes

LSM6DS3 = 0x69
FIFO = 0x3E
WORDS = 0x0FFF  # FIFO_STATUS1 and 2: how many words of two bytes there are
PATTERN = 0x03FF  # FIFO_STATUS3 and 4: which word of the row is the next
BOTH_SENSORS = 1 << 3 | 1  # FIFO_CTRL3: each row of either
FIFO_CONTROL, BYPASS, CONTINUOUS = 0x0A, 0x00, 0x06  # FIFO_CTRL5
FIRST_FILTER_NARROW = 1 << 1  # CTRL1_XL


class Lsm6ds3(Lsm6ds):
    """The families with a pattern; the temperature is read once a second beside the FIFO."""

    kind = "lsm6ds3"
    chips: ClassVar[Chips] = {
        "lsm6ds3": Chip(LSM6DS3, "LSM6DS3", 8192, per_kelvin=16, zero_degc=25),
        "lsm6ds3tr-c": Chip(0x6A, "LSM6DS3TR-C", 4096, per_kelvin=256, zero_degc=25),
        "ism330dlc": Chip(0x6A, "ISM330DLC", 4096, per_kelvin=256, zero_degc=25),
    }
    wire_row_bytes = 12
    overrun = 0x4000  # FIFO_STATUS1 and 2

    fifo_parts = Byte(0x08)
    fifo_control = Byte(FIFO_CONTROL)
    fifo_pattern = Word(0x3C, "<")

    def filters_hz(self) -> Codes:
        """Return the accelerometer's bandwidths; the gyroscope's follows the rate."""
        if self.chip.identity == LSM6DS3:  # its filter is analog and follows the rate
            return {self.rate_hz / 2: 0}
        return {self.rate_hz / 2: 0, self.rate_hz / 4: FIRST_FILTER_NARROW}

    def setup(self) -> dict[str, int]:
        """Sensors first, then the FIFO."""
        return {
            **self.sensors(self.filters_hz()[self.filter_hz]),
            "fifo_control": self._continuous(),
            "fifo_parts": BOTH_SENSORS,
        }

    def _continuous(self) -> int:
        return self.rates_hz[self.rate_hz] << 3 | CONTINUOUS

    def waiting_rows(self) -> int:
        """Return how many rows of six words there are."""
        return self.whole_rows((self.status() & WORDS) * 2)

    def take(self, rows: int) -> Burst:
        """Read so many rows; the gyroscope's counts come first."""
        burst = self.read_register(FIFO, rows * self.wire_row_bytes)
        return Burst(laid_out(burst, self.wire_row_bytes, range(self.wire_row_bytes), self.heat()))

    def is_aligned(self) -> bool:
        """Tell whether the next word is a row's first."""
        return self.fifo_pattern & PATTERN == 0

    def empty_fifo(self) -> None:
        """Bypass the FIFO, which empties it, and let it go on."""
        self.write_in_turn((FIFO_CONTROL, BYPASS), (FIFO_CONTROL, self._continuous()))
