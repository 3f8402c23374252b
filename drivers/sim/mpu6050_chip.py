"""A register-level model of the MPU-6050 and MPU-6500: FIFO, overflow, sleep, reset, brown-out.

What it does not simulate: the low-pass filters and their delay, bias and cross-axis errors,
self-test, temperature (constant 25 degrees), interrupts but that of a new sample, the auxiliary bus
and the magnetometer, standby of single axes, cycle mode, the DMP, and the time that start-up and
transfers take.

Source: InvenSense MPU-6000/MPU-6050 Register Map and Descriptions, revision 4.2. Two choices where
it is open: the overflow flag shows in INT_STATUS only if INT_ENABLE has it, and at an overflow the
oldest *bytes* go, so that the FIFO no longer begins with a whole row. Not open and easily read
over: FIFO_RESET does nothing while FIFO_EN is set in the same register.
"""

from __future__ import annotations

import math
import struct
from typing import Final

from drivers.sim.imu_chip import G, ImuChip

SMPLRT_DIV, CONFIG, GYRO_CONFIG, ACCEL_CONFIG, FIFO_EN = 0x19, 0x1A, 0x1B, 0x1C, 0x23
INT_ENABLE, INT_STATUS, ACCEL_XOUT_H, GYRO_ZOUT_L = 0x38, 0x3A, 0x3B, 0x48
USER_CTRL, PWR_MGMT_1, FIFO_COUNTH, FIFO_COUNTL, FIFO_R_W, WHO_AM_I = (
    0x6A, 0x6B, 0x72, 0x73, 0x74, 0x75,
)  # fmt: skip
FILTERED = range(1, 7)  # values of CONFIG's low bits with the low-pass filter on
RESET, SLEEP = 0x80, 0x40
FIFO_ON, FIFO_RESET = 0x40, 0x04
OVERFLOW, DATA_READY = 0x10, 0x01
MPU_6050 = 0x68
#: Identity: FIFO in bytes, counts of the thermometer at 25 degrees.
CHIPS: Final = {
    MPU_6050: (1024, round((25.0 - 36.53) * 340)),
    0x70: (512, round((25.0 - 21.0) * 333.87)),
    0x71: (512, round((25.0 - 21.0) * 333.87)),
    0x73: (512, round((25.0 - 21.0) * 333.87)),
}
#: FIFO_EN bits and the data registers that they put into the FIFO, in the FIFO's order.
FIFO_PARTS: Final = (
    (0x08, slice(0, 6)), (0x80, slice(6, 8)),
    (0x40, slice(8, 10)), (0x20, slice(10, 12)), (0x10, slice(12, 14)),
)  # fmt: skip
COUNTS: Final = struct.Struct(">7h")


class Mpu6050Chip(ImuChip):
    """One chip; its identity decides which of the family it is."""

    identity_register = WHO_AM_I
    usual_identity = 0x68
    fifo_port = FIFO_R_W
    read_only = (
        *(INT_STATUS, FIFO_COUNTH, FIFO_COUNTL),
        *range(ACCEL_XOUT_H, GYRO_ZOUT_L + 1),
    )

    def _defaults(self) -> None:
        self._registers[PWR_MGMT_1] = SLEEP if self._identity == MPU_6050 else 0x01
        self._fifo = bytearray()
        self._fifo_bytes, self._temperature = CHIPS.get(self._identity, CHIPS[MPU_6050])

    def _load(self, register: int) -> int:
        if register in (FIFO_COUNTH, FIFO_COUNTL):
            return len(self._fifo).to_bytes(2, "big")[register - FIFO_COUNTH]
        value = self._registers[register]
        if register == INT_STATUS:
            self._registers[INT_STATUS] = 0
        return value

    def _store(self, register: int, value: int) -> None:
        if register == PWR_MGMT_1 and value & RESET:
            self._power_up()
        elif register == USER_CTRL and value & FIFO_RESET:
            if not value & FIFO_ON:
                self._fifo.clear()
            self._registers[USER_CTRL] &= ~FIFO_RESET
        elif register in (PWR_MGMT_1, SMPLRT_DIV, CONFIG):
            self._retime()

    def _rate_hz(self) -> float:
        if self._registers[PWR_MGMT_1] & SLEEP:
            return 0.0
        own_hz = 1000 if self._registers[CONFIG] & 7 in FILTERED else 8000
        return own_hz / (1 + self._registers[SMPLRT_DIV])

    def _scales(self) -> tuple[float, float]:
        force = 16384 / (1 << (self._registers[ACCEL_CONFIG] >> 3 & 3)) / G
        turn = math.degrees(131 / (1 << (self._registers[GYRO_CONFIG] >> 3 & 3)))
        return force, turn

    def _sampled(self, counts: tuple[int, ...]) -> bool:
        data = COUNTS.pack(*counts[:3], self._temperature, *counts[3:])
        self._registers[ACCEL_XOUT_H : GYRO_ZOUT_L + 1] = data
        if self._registers[INT_ENABLE] & DATA_READY:
            self._registers[INT_STATUS] |= DATA_READY
            self.interrupts += 1
        enabled = self._registers[FIFO_EN]
        if not (enabled and self._registers[USER_CTRL] & FIFO_ON):
            return False
        for bit, part in FIFO_PARTS:
            if enabled & bit:
                self._fifo += data[part]
        if len(self._fifo) > self._fifo_bytes:
            del self._fifo[: -self._fifo_bytes]
            self._registers[INT_STATUS] |= self._registers[INT_ENABLE] & OVERFLOW
        return True

    def _drain(self, size_bytes: int) -> bytes:
        taken = bytes(self._fifo[:size_bytes])
        del self._fifo[:size_bytes]
        return taken.ljust(size_bytes, taken[-1:] or b"\xff")  # an empty FIFO repeats itself
