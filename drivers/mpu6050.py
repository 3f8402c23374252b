"""InvenSense MPU-6050, MPU-6500, MPU-9250 and MPU-9255 on I2C, read through the FIFO.

The magnetometer of the latter two is a chip of its own behind the bus switch; it is not read.

Source: InvenSense MPU-6000/MPU-6050 Register Map and Descriptions, revision 4.2 (sections 4.2 to
4.31), and Product Specification, revision 3.4 (section 6: sensitivities, start-up times); MPU-6500
Register Map, revision 2.1 (CONFIG, ACCEL_CONFIG2), and MPU-9250 Register Map, revision 1.4.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar

from drivers.i2c import Byte, Word
from drivers.imu import Chip
from drivers.invensense import InvensenseFifo

if TYPE_CHECKING:
    from drivers.imu import Chips, Codes

MPU_6050 = 0x68
FIFO = 0x74
FIFO_OVERFLOW = 0x10  # INT_STATUS and INT_ENABLE
RESET, SLEEP, GYRO_CLOCK = 0x80, 0x40, 0x01  # PWR_MGMT_1
USER_CONTROL, FIFO_ON, FIFO_RESET = 0x6A, 0x40, 0x04
ROWS_ON, ROWS_OFF = 0xF8, 0x00  # FIFO_EN: thermometer, three gyroscope axes, accelerometer
RESET_S = 0.1


class Mpu6050(InvensenseFifo):
    """The MPU family; rows are the FIFO's bytes as they came."""

    kind = "mpu6050"
    vendor = "InvenSense"
    chips: ClassVar[Chips] = {
        "mpu6050": Chip(MPU_6050, "MPU-6050", 1024, per_kelvin=340, zero_degc=36.53),
        "mpu6500": Chip(0x70, "MPU-6500", 512, per_kelvin=333.87, zero_degc=21),
        "mpu9250": Chip(0x71, "MPU-9250", 512, per_kelvin=333.87, zero_degc=21),
        "mpu9255": Chip(0x73, "MPU-9255", 512, per_kelvin=333.87, zero_degc=21),
    }
    usual_address = 0x68
    usual_rate_hz = 200
    rate_tolerance = 0.03
    rates_hz: ClassVar[Codes] = {1000 / n: n - 1 for n in range(256, 0, -1)}
    ranges_g: ClassVar[Codes] = {2: 0, 4: 1 << 3, 8: 2 << 3, 16: 3 << 3}
    ranges_dps: ClassVar[Codes] = {250: 0, 500: 1 << 3, 1000: 2 << 3, 2000: 3 << 3}
    layout = ">atw"
    turn_counts = 131 * 250
    wire_row_bytes = 14
    fifo_port = FIFO
    start_up_s = 0.07  # gyroscope 30 or 35 ms, and two time constants of the filter

    sample_rate_divider = Byte(0x19)
    config = Byte(0x1A)
    gyro_config = Byte(0x1B)
    accel_config = Byte(0x1C)
    accel_config_2 = Byte(0x1D)
    fifo_enable = Byte(0x23)
    interrupt_enable = Byte(0x38)
    interrupt_status = Byte(0x3A)
    user_control = Byte(USER_CONTROL)
    power = Byte(0x6B)
    fifo_count = Word(0x72)
    who_am_i = Byte(0x75)

    def filters_hz(self) -> Codes:
        """Return the gyroscope's bandwidths; the accelerometer's are about the same."""
        if self.chip.identity == MPU_6050:
            return {188: 1, 98: 2, 42: 3, 20: 4, 10: 5, 5: 6}
        return {184: 1, 92: 2, 41: 3, 20: 4, 10: 5, 5: 6}

    def setup(self) -> dict[str, int]:
        """Power first: a sleeping chip ignores the others."""
        code = self.filters_hz()[self.filter_hz]
        own = {} if self.chip.identity == MPU_6050 else {"accel_config_2": code}
        return {
            "power": GYRO_CLOCK,
            "sample_rate_divider": self.rates_hz[self.rate_hz],
            "config": code,
            "gyro_config": self.ranges_dps[self.range_dps],
            "accel_config": self.ranges_g[self.range_g],
            **own,
            "interrupt_enable": FIFO_OVERFLOW,  # or the overflow would not show in its status
            "user_control": FIFO_ON,
            "fifo_enable": ROWS_ON,
        }

    def reset(self) -> None:
        """Reset the chip and wait for its registers; 0.1 s."""
        self.power = RESET
        time.sleep(RESET_S)

    def overflow_flag(self) -> bool:
        """Read the flag of an overflow; that clears it."""
        return bool(self.interrupt_status & FIFO_OVERFLOW)

    def empty_fifo(self) -> None:
        """Empty the FIFO: the chip does that only while it is switched off."""
        self.write_in_turn((USER_CONTROL, FIFO_RESET), (USER_CONTROL, FIFO_ON))

    def stop_fifo(self) -> None:
        """Let no more rows in."""
        self.fifo_enable = ROWS_OFF

    def sleep(self) -> None:
        """Let the chip rest."""
        self.power = SLEEP | GYRO_CLOCK
