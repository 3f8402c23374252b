"""TDK InvenSense ICM-20948 on I2C, read through the FIFO. The magnetometer in it is not read.

Source: ICM-20948 Data Sheet, DS-000189: sensitivities, and the registers of banks 0 and 2.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar

from drivers.i2c import Byte, I2cDriver, Word
from drivers.imu import Chip
from drivers.invensense import InvensenseFifo

if TYPE_CHECKING:
    from drivers.imu import Chips, Codes

FIFO = 0x72
FIFO_OVERFLOW = 0x1F  # INT_STATUS_2 and INT_ENABLE_2: a bit for each of five FIFOs
RESET, SLEEP, BEST_CLOCK = 0x80, 0x40, 0x01  # PWR_MGMT_1
USER_CONTROL, FIFO_ON = 0x03, 0x40
FIFO_RESETS, FIFO_RESET = 0x68, 0x1F
ROWS_ON, ROWS_OFF = 0x1F, 0x00  # FIFO_EN_2: accelerometer, three gyroscope axes, thermometer
FILTER_ON = 0x01  # GYRO_CONFIG_1 and ACCEL_CONFIG
BANK_SELECT, BANK_2 = 0x7F, 0x20
RESET_S = 0.1


class Bank2(Byte):
    """A register of bank 2; bank 0 is selected again behind each access."""

    def __get__(self, chip: I2cDriver, owner: type[I2cDriver] | None = None) -> int:
        chip.write_register(BANK_SELECT, BANK_2)
        value = super().__get__(chip, owner)
        chip.write_register(BANK_SELECT, 0)
        return value

    def __set__(self, chip: I2cDriver, value: int) -> None:
        chip.write_register(BANK_SELECT, BANK_2)
        super().__set__(chip, value)
        chip.write_register(BANK_SELECT, 0)


class Icm20948(InvensenseFifo):
    """The ICM-20948; rows are the FIFO's bytes as they came."""

    kind = "icm20948"
    vendor = "TDK InvenSense"
    chips: ClassVar[Chips] = {
        "icm20948": Chip(0xEA, "ICM-20948", 512, per_kelvin=333.87, zero_degc=21)
    }
    usual_address = 0x68
    usual_rate_hz = 225
    rate_tolerance = 0.05
    rates_hz: ClassVar[Codes] = {1125 / n: n - 1 for n in range(256, 0, -1)}
    ranges_g: ClassVar[Codes] = {2: 0, 4: 1 << 1, 8: 2 << 1, 16: 3 << 1}
    ranges_dps: ClassVar[Codes] = {250: 0, 500: 1 << 1, 1000: 2 << 1, 2000: 3 << 1}
    layout = ">awt"
    turn_counts = 131 * 250
    wire_row_bytes = 14
    fifo_port = FIFO
    start_up_s = 0.05  # of the gyroscope

    who_am_i = Byte(0x00)
    user_control = Byte(USER_CONTROL)
    power = Byte(0x06)
    interrupt_enable_2 = Byte(0x12)
    interrupt_status_2 = Byte(0x1B)
    fifo_enable_2 = Byte(0x67)
    fifo_mode = Byte(0x69)
    fifo_count = Word(0x70)
    bank = Byte(BANK_SELECT)
    gyro_divider = Bank2(0x00)
    gyro_config_1 = Bank2(0x01)
    accel_divider_high = Bank2(0x10)
    accel_divider = Bank2(0x11)
    accel_config = Bank2(0x14)

    def identity(self) -> int:
        """Read the identity; a dead process may have left another bank selected."""
        if self.who_am_i not in self.chip_ids:
            self.bank = 0
        return self.who_am_i

    def filters_hz(self) -> Codes:
        """Return the gyroscope's bandwidths; the accelerometer's are about the same."""
        return {197: 0, 152: 1, 120: 2, 51: 3, 24: 4, 12: 5, 6: 6}

    def setup(self) -> dict[str, int]:
        """Power first: a sleeping chip ignores the others."""
        divider = self.rates_hz[self.rate_hz]
        low_pass = self.filters_hz()[self.filter_hz] << 3 | FILTER_ON
        return {
            "power": BEST_CLOCK,
            "gyro_divider": divider,
            "accel_divider_high": 0,
            "accel_divider": divider,
            "gyro_config_1": low_pass | self.ranges_dps[self.range_dps],
            "accel_config": low_pass | self.ranges_g[self.range_g],
            "interrupt_enable_2": FIFO_OVERFLOW,
            "fifo_mode": 0,  # the newest rows stay
            "user_control": FIFO_ON,
            "fifo_enable_2": ROWS_ON,
        }

    def reset(self) -> None:
        """Reset the chip and wait for its registers; 0.1 s."""
        self.power = RESET
        time.sleep(RESET_S)

    def overflow_flag(self) -> bool:
        """Read the flags of an overflow; that clears them."""
        return bool(self.interrupt_status_2 & FIFO_OVERFLOW)

    def empty_fifo(self) -> None:
        """Switch the FIFO off, hold it in reset, and let it go."""
        held, released = (FIFO_RESETS, FIFO_RESET), (FIFO_RESETS, 0)
        self.write_in_turn((USER_CONTROL, 0), held, released, (USER_CONTROL, FIFO_ON))

    def stop_fifo(self) -> None:
        """Let no more rows in."""
        self.fifo_enable_2 = ROWS_OFF

    def sleep(self) -> None:
        """Let the chip rest."""
        self.power = SLEEP | BEST_CLOCK
