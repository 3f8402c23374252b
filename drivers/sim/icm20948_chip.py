"""A register-level model of the ICM-20948: banks, FIFO, overflow, sleep, reset, brown-out.

What it does not simulate: the low-pass filters and their delay, bias and cross-axis errors,
self-test, temperature (constant 25 degrees), interrupts (the pin), the auxiliary bus and the
magnetometer, duty-cycled modes, the DMP, a low-pass that is switched off, an accelerometer at
another rate than the gyroscope, and the time that start-up and transfers take.

Source: ICM-20948 Data Sheet, DS-000189. Two choices where it is open: the overflow flag shows in
INT_STATUS_2 only if INT_ENABLE_2 has it, and at an overflow the oldest *bytes* go.
"""

from __future__ import annotations

import math
import struct

from drivers.sim.imu_chip import REGISTERS, G, ImuChip

WHO_AM_I, USER_CTRL, PWR_MGMT_1, INT_ENABLE_2, INT_STATUS_2 = 0x00, 0x03, 0x06, 0x12, 0x1B
ACCEL_XOUT_H, TEMP_OUT_L, FIFO_EN_2, FIFO_RST, FIFO_MODE = 0x2D, 0x3A, 0x67, 0x68, 0x69
FIFO_COUNTH, FIFO_COUNTL, FIFO_R_W, REG_BANK_SEL = 0x70, 0x71, 0x72, 0x7F
#: Of bank 2.
GYRO_SMPLRT_DIV, GYRO_CONFIG_1, ACCEL_CONFIG = 0x00, 0x01, 0x14
RESET, SLEEP, FIFO_ON, OVERFLOW, IN_RESET, KEEP_OLDEST = 0x80, 0x40, 0x40, 0x01, 0x01, 0x01
FIFO_BYTES = 512
TEMPERATURE_RAW = round((25.0 - 21.0) * 333.87)
COUNTS = struct.Struct(">7h")
#: FIFO_EN_2 bits and the data registers that they put into the FIFO, in the FIFO's order.
FIFO_PARTS = (
    (0x10, slice(0, 6)), (0x02, slice(6, 8)), (0x04, slice(8, 10)), (0x08, slice(10, 12)),
    (0x01, slice(12, 14)),
)  # fmt: skip


class Icm20948Chip(ImuChip):
    """One chip."""

    identity_register = WHO_AM_I
    usual_identity = 0xEA
    fifo_port = FIFO_R_W
    read_only = (INT_STATUS_2, FIFO_COUNTH, FIFO_COUNTL, *range(ACCEL_XOUT_H, TEMP_OUT_L + 1))

    def _defaults(self) -> None:
        self._banks = [self._registers, *(bytearray(REGISTERS) for _ in range(3))]
        self._banks[0][PWR_MGMT_1] = SLEEP | 0x01
        self._banks[2][GYRO_CONFIG_1] = self._banks[2][ACCEL_CONFIG] = 0x01
        self._fifo = bytearray()

    @property
    def _bank(self) -> int:
        return self._banks[0][REG_BANK_SEL] >> 4 & 3

    def _give(self, register: int) -> int:
        if self._bank and register != REG_BANK_SEL:
            return self._banks[self._bank][register]
        return super()._give(register)

    def _take(self, register: int, value: int) -> None:
        if self._bank and register != REG_BANK_SEL:
            self._banks[self._bank][register] = value
            self._retime()
        else:
            super()._take(register, value)

    def _load(self, register: int) -> int:
        if register in (FIFO_COUNTH, FIFO_COUNTL):
            return len(self._fifo).to_bytes(2, "big")[register - FIFO_COUNTH]
        value = self._registers[register]
        if register == INT_STATUS_2:
            self._registers[INT_STATUS_2] = 0
        return value

    def _store(self, register: int, value: int) -> None:
        if register == PWR_MGMT_1 and value & RESET:
            self._power_up()
        elif register == FIFO_RST and value & IN_RESET:
            self._fifo.clear()
        elif register == PWR_MGMT_1:
            self._retime()

    def _rate_hz(self) -> float:
        if self._registers[PWR_MGMT_1] & SLEEP:
            return 0.0
        return 1125 / (1 + self._banks[2][GYRO_SMPLRT_DIV])

    def _scales(self) -> tuple[float, float]:
        force = 16384 / (1 << (self._banks[2][ACCEL_CONFIG] >> 1 & 3)) / G
        turn = math.degrees(131 / (1 << (self._banks[2][GYRO_CONFIG_1] >> 1 & 3)))
        return force, turn

    def _sampled(self, counts: tuple[int, ...]) -> bool:
        data = COUNTS.pack(*counts, TEMPERATURE_RAW)
        self._registers[ACCEL_XOUT_H : TEMP_OUT_L + 1] = data
        enabled = self._registers[FIFO_EN_2]
        in_reset = self._registers[FIFO_RST] & IN_RESET
        if not enabled or in_reset or not self._registers[USER_CTRL] & FIFO_ON:
            return False
        self._fifo += b"".join(data[part] for bit, part in FIFO_PARTS if enabled & bit)
        if len(self._fifo) > FIFO_BYTES:
            self._registers[INT_STATUS_2] |= self._registers[INT_ENABLE_2] & OVERFLOW
            if self._registers[FIFO_MODE] & KEEP_OLDEST:
                del self._fifo[FIFO_BYTES:]
            else:
                del self._fifo[:-FIFO_BYTES]
        return True

    def _drain(self, size_bytes: int) -> bytes:
        taken = bytes(self._fifo[:size_bytes])
        del self._fifo[:size_bytes]
        return taken.ljust(size_bytes, b"\xff")
