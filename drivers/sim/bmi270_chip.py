"""A register-level model of the BMI270: its program, FIFO in header mode, skip frames, brown-out.

It measures only after a program of 8192 bytes was written whole and in order; any bytes will do,
since Bosch's own do not ship with the recorder.

What it does not simulate: what Bosch's program does besides, the low-pass filters and their delay,
bias and cross-axis errors, self-test, temperature (constant 25 degrees), interrupts, headerless
mode, sensor time and auxiliary sensor in the FIFO, accelerometer and gyroscope at different rates,
power saving, and the time that start-up and transfers take.

Source: Bosch BMI270 Data sheet, BST-BMI270-DS000. A choice where it is open: a skip frame stands
before the oldest frame that is left, and is gone when it was read.
"""

from __future__ import annotations

import math
import struct

from drivers.sim.imu_chip import G, ImuChip

CHIP_ID, OUTPUTS, TEMPERATURE_0, INTERNAL_STATUS, FIFO_LENGTH_0 = 0x00, 0x0C, 0x22, 0x21, 0x24
FIFO_DATA, ACC_CONF, ACC_RANGE, GYR_CONF, GYR_RANGE = 0x26, 0x40, 0x41, 0x42, 0x43
FIFO_CONFIG_0, FIFO_CONFIG_1, INIT_CTRL, INIT_ADDR_0 = 0x48, 0x49, 0x59, 0x5B
INIT_DATA, PWR_CONF, PWR_CTRL, CMD = 0x5E, 0x7C, 0x7D, 0x7E
RESET, FLUSH, SENSORS = 0xB6, 0xB0, 0x06
ROWS_ON, STOP_ON_FULL = 0xD0, 0x01
FIFO_BYTES, PROGRAM_BYTES, MOST_SKIPPED = 2048, 8192, 255
SKIP_BYTES = 2
ROW_HEAD, SKIP_HEAD, CHANGED_HEAD, EMPTY_HEAD = 0x8C, 0x40, 0x48, 0x80
FRAME = struct.Struct("<B6h")
TEMPERATURE_RAW = round((25.0 - 23.0) * 512)


class Bmi270Chip(ImuChip):
    """One chip."""

    identity_register = CHIP_ID
    usual_identity = 0x24
    fifo_port = FIFO_DATA
    read_only = (INTERNAL_STATUS, *range(OUTPUTS, FIFO_DATA + 1))

    def _defaults(self) -> None:
        self._registers[TEMPERATURE_0 : TEMPERATURE_0 + 2] = struct.pack("<h", TEMPERATURE_RAW)
        self._registers[ACC_CONF], self._registers[ACC_RANGE] = 0xA8, 0x02
        self._registers[GYR_CONF], self._registers[PWR_CONF] = 0xA9, 0x03
        self._registers[FIFO_CONFIG_0], self._registers[FIFO_CONFIG_1] = 0x02, 0x10
        self._program = bytearray()
        self._frames: list[bytes] = []
        self._skipped = 0

    def write(self, data: bytes) -> None:
        """Take a message; INIT_DATA is a port for the program."""
        if data[0] == INIT_DATA and len(data) > 1:
            self._advance()
            word = self._registers[INIT_ADDR_0] & 15 | self._registers[INIT_ADDR_0 + 1] << 4
            if word * 2 == len(self._program):
                self._program += data[1:]
            return
        super().write(data)

    def _load(self, register: int) -> int:
        if register in (FIFO_LENGTH_0, FIFO_LENGTH_0 + 1):
            size = sum(map(len, self._frames))
            return size.to_bytes(2, "little")[register - FIFO_LENGTH_0]
        return self._registers[register]

    def _store(self, register: int, value: int) -> None:
        if register == CMD and value == RESET:
            self._power_up()
        elif register == CMD and value == FLUSH:
            self._frames.clear()
            self._skipped = 0
        elif register == INIT_CTRL and value == 1:
            self._registers[INTERNAL_STATUS] = 1 if len(self._program) == PROGRAM_BYTES else 2
        elif register in (ACC_CONF, GYR_CONF, PWR_CTRL):
            self._retime()
        if register in (ACC_CONF, ACC_RANGE, GYR_CONF, GYR_RANGE):
            self._frames.append(bytes((CHANGED_HEAD, 0)))

    def _rate_hz(self) -> float:
        is_on = self._registers[PWR_CTRL] & SENSORS == SENSORS
        if self._registers[INTERNAL_STATUS] != 1 or not is_on:
            return 0.0
        codes = self._registers[ACC_CONF] & 15, self._registers[GYR_CONF] & 15
        return min(25 * 2.0 ** (code - 6) for code in codes)

    def _scales(self) -> tuple[float, float]:
        range_g = 2 << (self._registers[ACC_RANGE] & 3)
        range_dps = 2000 / (1 << (self._registers[GYR_RANGE] & 7))
        return 32768 / range_g / G, math.degrees(32768 / range_dps)

    def _sampled(self, counts: tuple[int, ...]) -> bool:
        self._registers[OUTPUTS : OUTPUTS + 12] = struct.pack("<6h", *counts)
        if self._registers[FIFO_CONFIG_1] & ROWS_ON != ROWS_ON:
            return False
        self._frames.append(FRAME.pack(ROW_HEAD, *counts[3:], *counts[:3]))
        while sum(map(len, self._frames)) > FIFO_BYTES:
            place = -1 if self._registers[FIFO_CONFIG_0] & STOP_ON_FULL else 0
            self._skipped += self._frames.pop(place)[0] == ROW_HEAD
        return True

    def _drain(self, size_bytes: int) -> bytes:
        """Give frames; one that is read in part stays whole."""
        out = b""
        if self._skipped and size_bytes >= SKIP_BYTES:
            out, self._skipped = bytes((SKIP_HEAD, min(self._skipped, MOST_SKIPPED))), 0
        while self._frames and len(out) + len(self._frames[0]) <= size_bytes:
            out += self._frames.pop(0)
        if self._frames:
            return (out + self._frames[0])[:size_bytes]
        return out.ljust(size_bytes, bytes((EMPTY_HEAD,)))
