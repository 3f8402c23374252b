"""Register-level models of ST's LSM6DSO (tagged FIFO) and LSM6DS3 (pattern FIFO) families.

Sample clock, both FIFOs in bypass, first-rows and continuous mode, overrun, reset, brown-out.

What they do not simulate: the low-pass filters and their delay, bias and cross-axis errors,
self-test, temperature (constant 25 degrees), interrupts, accelerometer and gyroscope at different
rates, decimation, time stamps and the thermometer in the FIFO, compression, the sensor hub, the
embedded functions, INTERNAL_FREQ_FINE, and the time that start-up and transfers take.

Source: ST data sheets DS12814 (LSM6DSOX) and DocID026899 (LSM6DS3), application notes AN5272 and
AN4650. A choice where they are open: the gyroscope's word comes before the accelerometer's.
"""

from __future__ import annotations

import math
import struct
from typing import ClassVar

from drivers.sim.imu_chip import G, ImuChip

WHO_AM_I, CTRL1_XL, CTRL2_G, CTRL3_C, OUT_TEMP_L, OUTZ_H_A = 0x0F, 0x10, 0x11, 0x12, 0x20, 0x2D
FIFO_STATUS1, FIFO_STATUS2, FIFO_STATUS3, FIFO_STATUS4 = 0x3A, 0x3B, 0x3C, 0x3D
RESET, AUTO_INCREMENT = 0x01, 0x04
FIRST_ROWS, CONTINUOUS = 1, 6  # modes
#: Codes of the rate, from 1 on; of full scale in g, and in degrees per second.
RATES_HZ = (0, 12.5, 26, 52, 104, 208, 416, 833, 1666, 3333, 6666)
RANGES_G = (2, 16, 4, 8)
RANGES_DPS = (250, 500, 1000, 2000)
MDPS_PER_DPS = 0.035  # sensitivity per count and full scale
COUNTS = struct.Struct("<3h")


class _Lsm6dsChip(ImuChip):
    """What both families share.

    Attributes:
        word_bytes, words: the FIFO.
    """

    identity_register = WHO_AM_I
    word_bytes: ClassVar[int]
    words: int
    read_only = (
        *range(OUT_TEMP_L, OUTZ_H_A + 1),
        *(FIFO_STATUS1, FIFO_STATUS2, FIFO_STATUS3, FIFO_STATUS4),
    )

    def _defaults(self) -> None:
        self._registers[CTRL3_C] = AUTO_INCREMENT
        self._fifo = bytearray()
        self._is_overrun = False

    def _store(self, register: int, value: int) -> None:
        if register == CTRL3_C and value & RESET:
            self._power_up()
        elif register in (CTRL1_XL, CTRL2_G):
            self._retime()
        elif not self._mode():
            self._fifo.clear()
            self._is_overrun = False

    def _rate_hz(self) -> float:
        codes = (self._registers[CTRL1_XL] >> 4, self._registers[CTRL2_G] >> 4)
        return min(RATES_HZ[code] if code < len(RATES_HZ) else 0.0 for code in codes)

    def _scales(self) -> tuple[float, float]:
        gyro = self._registers[CTRL2_G]
        range_dps = 125 if gyro & 2 else RANGES_DPS[gyro >> 2 & 3]
        range_g = RANGES_G[self._registers[CTRL1_XL] >> 2 & 3]
        return 32768 / range_g / G, math.degrees(1000 / (MDPS_PER_DPS * range_dps))

    def _mode(self) -> int:
        raise NotImplementedError

    def _row(self, force: bytes, turn: bytes) -> bytes:
        """Return what goes into the FIFO for one sample; nothing if it is not told to."""
        raise NotImplementedError

    def _sampled(self, counts: tuple[int, ...]) -> bool:
        force, turn = COUNTS.pack(*counts[:3]), COUNTS.pack(*counts[3:])
        self._registers[OUT_TEMP_L : OUTZ_H_A + 1] = bytes(2) + turn + force
        row = self._row(force, turn)
        if not row or self._mode() not in (FIRST_ROWS, CONTINUOUS):
            return False
        self._fifo += row
        room_bytes = self.words * self.word_bytes
        if len(self._fifo) > room_bytes:
            self._is_overrun = True
            if self._mode() == CONTINUOUS:
                del self._fifo[:-room_bytes]
            else:
                del self._fifo[room_bytes:]
        return True

    def _waiting(self) -> int:
        return len(self._fifo) // self.word_bytes

    def _drain(self, size_bytes: int) -> bytes:
        taken = bytes(self._fifo[:size_bytes])
        del self._fifo[:size_bytes]
        return taken.ljust(size_bytes, b"\x00")


class Lsm6dsoChip(_Lsm6dsChip):
    """One chip with a tagged FIFO: 512 words of a tag and six bytes."""

    usual_identity = 0x6C
    fifo_port = 0x78
    word_bytes, words = 7, 512

    def _defaults(self) -> None:
        super()._defaults()
        self._slot = 0

    def _mode(self) -> int:
        return self._registers[0x0A] & 7

    def _row(self, force: bytes, turn: bytes) -> bytes:
        self._slot = (self._slot + 1) % 4
        row = b""
        for tag, is_on, data in (
            (1, self._registers[0x09] >> 4, turn),
            (2, self._registers[0x09] & 15, force),
        ):
            upper = tag << 3 | self._slot << 1
            row += bytes((upper | upper.bit_count() % 2,)) + data if is_on else b""
        return row

    def _load(self, register: int) -> int:
        waiting = min(self._waiting(), 0x3FF)
        if register == FIFO_STATUS1:
            return waiting & 0xFF
        if register == FIFO_STATUS2:
            is_full = waiting == self.words
            latched, self._is_overrun = self._is_overrun, False
            return waiting >> 8 | latched << 3 | is_full << 5 | (is_full and latched) << 6
        return self._registers[register]


class Lsm6ds3Chip(_Lsm6dsChip):
    """One chip with a pattern FIFO: words of two bytes, gyroscope and accelerometer in turn."""

    usual_identity = 0x69
    fifo_port = 0x3E
    word_bytes = 2
    words = 4096

    def _mode(self) -> int:
        return self._registers[0x0A] & 7 if self._registers[0x0A] >> 3 & 15 else 0

    def _defaults(self) -> None:
        super()._defaults()
        self.words = 4096 if self._identity == self.usual_identity else 2048  # LSM6DS3TR-C
        self._taken_words = 0

    def _store(self, register: int, value: int) -> None:
        super()._store(register, value)
        if not self._fifo:
            self._taken_words = 0

    def _row(self, force: bytes, turn: bytes) -> bytes:
        parts = self._registers[0x08]
        return (turn if parts >> 3 & 7 else b"") + (force if parts & 7 else b"")

    def _load(self, register: int) -> int:
        is_full = self._waiting() >= self.words
        waiting = min(self._waiting(), 0xFFF)
        pattern = self._taken_words % 6
        return {
            FIFO_STATUS1: waiting & 0xFF,
            FIFO_STATUS2: waiting >> 8 | (self._is_overrun and is_full) << 6 | (not waiting) << 4,
            FIFO_STATUS3: pattern,
            FIFO_STATUS4: 0,
        }.get(register, self._registers[register])

    def _drain(self, size_bytes: int) -> bytes:
        self._taken_words += size_bytes // 2
        return super()._drain(size_bytes)
