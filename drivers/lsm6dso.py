"""ST LSM6DSO, LSM6DSOX, LSM6DSR, ISM330DHCX on I2C: the FIFO whose words carry tags.

Every word is a byte that says whose it is and six bytes of counts. An output rate that the chip
sets wide of its name (INTERNAL_FREQ_FINE) shows in the measured period.

Source: ST data sheets DS12814 (LSM6DSOX) and DS13012 (ISM330DHCX): FIFO_CTRL1 to FIFO_CTRL4,
FIFO_STATUS1 and 2, FIFO_DATA_OUT_TAG, CTRL8_XL; application note AN5272 (the FIFO).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from drivers.i2c import Byte
from drivers.imu import Burst, Chip, laid_out
from drivers.lsm6ds import Lsm6ds

if TYPE_CHECKING:
    from drivers.imu import Chips, Codes

FIFO = 0x78
WORD_BYTES = 7
WORDS = 0x03FF  # FIFO_STATUS: how many words there are
FIFO_MODE, BYPASS, CONTINUOUS = 0x0A, 0x00, 0x06  # FIFO_CTRL4
SECOND_FILTER = 1 << 1  # CTRL1_XL
#: Of a tag: whose word it is, and the number of its sample, modulo 4.
OWNERS = bytes(byte >> 3 for byte in range(256))
NUMBERS = bytes(byte >> 1 & 3 for byte in range(256))
GYRO, ACCEL = b"\x01", b"\x02"
_FIRST, _SECOND = tuple(range(1, 7)), tuple(range(8, 14))
#: The two words of a row in either order, and where its counts are, the gyroscope's first.
PAIRS = ((GYRO + ACCEL, _FIRST + _SECOND), (ACCEL + GYRO, _SECOND + _FIRST))


class Lsm6dso(Lsm6ds):
    """The families with a tagged FIFO; the temperature is read once a second beside it."""

    kind = "lsm6dso"
    chips: ClassVar[Chips] = {
        "lsm6dso": Chip(0x6C, "LSM6DSO", 512 * WORD_BYTES, per_kelvin=256, zero_degc=25),
        "lsm6dsox": Chip(0x6C, "LSM6DSOX", 512 * WORD_BYTES, per_kelvin=256, zero_degc=25),
        "lsm6dsr": Chip(0x6B, "LSM6DSR", 512 * WORD_BYTES, per_kelvin=256, zero_degc=25),
        "ism330dhcx": Chip(0x6B, "ISM330DHCX", 512 * WORD_BYTES, per_kelvin=256, zero_degc=25),
    }
    wire_row_bytes = 2 * WORD_BYTES
    overrun = 0x4800  # FIFO_STATUS: now, and since it was read last

    fifo_rates = Byte(0x09)
    fifo_mode = Byte(FIFO_MODE)

    def filters_hz(self) -> Codes:
        """Return the accelerometer's bandwidths; the gyroscope's follows the rate."""
        steps = (4, 10, 20, 45, 100, 200, 400, 800)
        own = {self.rate_hz / step: code << 5 | 1 for code, step in enumerate(steps)}
        return {self.rate_hz / 2: 0, **own}

    def setup(self) -> dict[str, int]:
        """Sensors first, then the FIFO."""
        code = self.filters_hz()[self.filter_hz]
        rate = self.rates_hz[self.rate_hz]
        return {
            "accel_filter": code & 0xE0,
            **self.sensors(SECOND_FILTER if code & 1 else 0),
            "fifo_mode": CONTINUOUS,
            "fifo_rates": rate << 4 | rate,
        }

    def empty_fifo(self) -> None:
        """Bypass the FIFO, which empties it, and let it go on."""
        self.write_in_turn((FIFO_MODE, BYPASS), (FIFO_MODE, CONTINUOUS))

    def waiting_rows(self) -> int:
        """Return how many rows of two words there are."""
        return self.whole_rows((self.status() & WORDS) * WORD_BYTES)

    def take(self, rows: int) -> Burst:
        """Read so many pairs of words and part the counts from their tags."""
        burst = self.read_register(FIFO, rows * self.wire_row_bytes)
        tags = burst[::WORD_BYTES]
        owners, numbers = tags.translate(OWNERS), tags.translate(NUMBERS)
        for pair, kept in PAIRS:
            if owners == pair * rows and numbers[::2] == numbers[1::2]:
                return Burst(laid_out(burst, self.wire_row_bytes, kept, self.heat()))
        return Burst(b"", is_torn=True)  # it does not begin with a whole row, or others' words came
