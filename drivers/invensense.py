"""The FIFO of InvenSense's chips: a count of bytes that stays at its top, a port, and a flag.

Source: the register maps that `drivers.mpu6050` and `drivers.icm20948` name (FIFO count, FIFO read
and write, interrupt status).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from drivers.base import boot_ns
from drivers.fifo_imu import FifoImu
from drivers.imu import Burst

if TYPE_CHECKING:
    from drivers.i2c import Word

#: Rows that a FIFO may be short of its top, and yet be full: the last one may not fit in whole.
SPARE_ROWS = 2


class InvensenseFifo(FifoImu):
    """Its families differ in the registers' addresses.

    Attributes:
        fifo_count: bytes in the FIFO.
        fifo_port: register that gives them.
    """

    fifo_count: ClassVar[Word]
    fifo_port: ClassVar[int]

    def prepare(self) -> None:
        """Begin without knowledge of the FIFO's room."""
        super().prepare()
        self._room_until_ns = 0.0

    def waiting_rows(self) -> int:
        """Return how many whole rows the FIFO holds."""
        before_ns = boot_ns()
        rows = self.whole_rows(self.fifo_count)
        room = self.chip.fifo_bytes // self.wire_row_bytes - SPARE_ROWS - rows
        least_period_ns = 1e9 / (self.rate_hz * (1 + self.rate_tolerance))
        self._room_until_ns = before_ns + room * least_period_ns
        return rows

    def take(self, rows: int) -> Burst:
        """Read so many rows."""
        return Burst(self.read_register(self.fifo_port, rows * self.wire_row_bytes))

    def has_overflown(self) -> bool:
        """Read the flag, which clears it, where it can be set.

        A FIFO that was not full at a look has lost nothing until then, nor until it can have been
        filled up since: one transfer less for nearly every burst. A look counts once: whoever asks
        again wants the flag cleared.
        """
        room_until_ns, self._room_until_ns = self._room_until_ns, 0.0
        return boot_ns() >= room_until_ns and self.overflow_flag()

    def overflow_flag(self) -> bool:
        """Read the flag of an overflow, and clear it."""
        raise NotImplementedError

    def is_aligned(self) -> bool:
        """Tell whether the FIFO holds whole rows."""
        return self.fifo_count % self.wire_row_bytes == 0
