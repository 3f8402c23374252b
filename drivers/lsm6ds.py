"""What ST's LSM6DS and ISM330 chips share, whichever FIFO they have.

Source: ST data sheets of the LSM6DS3 (DocID026899) and LSM6DSOX (DS12814): mechanical
characteristics, WHO_AM_I, CTRL1_XL to CTRL8_XL.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar

from drivers.fifo_imu import FifoImu
from drivers.i2c import Byte, Word

if TYPE_CHECKING:
    from drivers.imu import Codes

#: CTRL3_C: reset; a number changes only when it is read whole; the address goes on by itself.
RESET, WHOLE_NUMBERS, NEXT_REGISTER = 0x01, 0x40, 0x04
ACCEL_CONTROL, BOTH_OFF = 0x10, bytes(2)  # CTRL1_XL and, behind it, CTRL2_G
RESET_S = 0.02


class Lsm6ds(FifoImu):
    """Registers and tables of the families; the FIFO is the subclass's.

    Attributes:
        overrun: bits of `fifo_status` that say that rows were overwritten.
    """

    vendor = "STMicroelectronics"
    usual_address = 0x6A
    usual_rate_hz = 208
    rate_tolerance = 0.10
    rates_hz: ClassVar[Codes] = {12.5: 1, 26: 2, 52: 3, 104: 4, 208: 5, 416: 6, 833: 7, 1666: 8}
    ranges_g: ClassVar[Codes] = {2: 0, 16: 1 << 2, 4: 2 << 2, 8: 3 << 2}
    ranges_dps: ClassVar[Codes] = {125: 1 << 1, 250: 0, 500: 1 << 2, 1000: 2 << 2, 2000: 3 << 2}
    turn_counts = 250 / 8.75e-3
    layout = "<wat"
    thermometer = 0x20
    start_up_s = 0.08  # of the gyroscope
    overrun: ClassVar[int]

    who_am_i = Byte(0x0F)
    accel_control = Byte(ACCEL_CONTROL)
    gyro_control = Byte(0x11)
    common_control = Byte(0x12)
    accel_filter = Byte(0x17)
    fifo_status = Word(0x3A, "<")

    def reset(self) -> None:
        """Reset the chip and wait for its registers; 20 ms."""
        self.common_control = RESET
        time.sleep(RESET_S)

    def sensors(self, filter_code: int) -> dict[str, int]:
        """Return the part of the set-up that starts both sensors at one rate.

        Args:
            filter_code: bits of CTRL1_XL that switch the accelerometer's second low-pass.
        """
        rate = self.rates_hz[self.rate_hz] << 4
        return {
            "common_control": WHOLE_NUMBERS | NEXT_REGISTER,
            "accel_control": rate | self.ranges_g[self.range_g] | filter_code,
            "gyro_control": rate | self.ranges_dps[self.range_dps],
        }

    def prepare(self) -> None:
        """Begin without an overrun."""
        super().prepare()
        self._has_overrun = False

    def status(self) -> int:
        """Read the FIFO's status, and note an overrun that it shows only now."""
        status = self.fifo_status
        self._has_overrun = self._has_overrun or bool(status & self.overrun)
        return status

    def has_overflown(self) -> bool:
        """Tell whether rows were overwritten since this was asked last."""
        self.status()
        found, self._has_overrun = self._has_overrun, False
        return found

    def stop_fifo(self) -> None:
        """Switch both sensors off; what is in the FIFO stays.

        In one transfer: else the gyroscope's row could come without the accelerometer's.
        """
        self.write_block(ACCEL_CONTROL, BOTH_OFF)

    def sleep(self) -> None:
        """Nothing is left to switch off."""
