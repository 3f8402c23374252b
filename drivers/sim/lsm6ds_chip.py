"""Register-level models of ST's LSM6DSO (tagged FIFO) and LSM6DS3 (pattern FIFO) families.

Sample clock, both FIFOs in bypass, first-rows and continuous mode, either sensor alone, time stamps
in the FIFO, its watermark and the interrupt that this gives, overrun, reset, brown-out.

What they do not simulate: the low-pass filters and their delay, bias and cross-axis errors,
self-test, temperature (constant 25 degrees), interrupts but the watermark's, accelerometer and
gyroscope at different rates, decimation, the thermometer in the FIFO, compression, what is behind
the sensor hub (its registers are there), the embedded functions, INTERNAL_FREQ_FINE, a resolution
of the time stamps but the fine one, and the time that start-up and transfers take.

Source: ST data sheets DS12814 (LSM6DSOX) and DocID026899 (LSM6DS3), application notes AN5272 and
AN4650. Choices where they are open: the gyroscope's word comes before the accelerometer's, and a
tagged time stamp before both.
"""

from __future__ import annotations

import math
import struct
from typing import ClassVar

from drivers.sim.imu_chip import REGISTERS, G, ImuChip

WHO_AM_I, CTRL1_XL, CTRL2_G, CTRL3_C, OUT_TEMP_L, OUTZ_H_A = 0x0F, 0x10, 0x11, 0x12, 0x20, 0x2D
OUTX_L_G, OUTX_L_A = 0x22, 0x28
FIFO_STATUS1, FIFO_STATUS2, FIFO_STATUS3, FIFO_STATUS4 = 0x3A, 0x3B, 0x3C, 0x3D
BANK, INT1_CTRL, TIMESTAMP2 = 0x01, 0x0D, 0x42
OTHER_BANK = 0xC0  # embedded functions, sensor hub
RESET, AUTO_INCREMENT, BOOT = 0x01, 0x04, 0x80
FIRST_ROWS, CONTINUOUS = 1, 6  # modes
WATERMARK_PIN = 0x08  # of INT1_CTRL
CLEAR_TIME = 0xAA
TIME_STEP_NS = 25_000
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
        first_watermark: of two registers that say how many words are enough.
    """

    identity_register = WHO_AM_I
    word_bytes: ClassVar[int]
    words: int
    first_watermark: ClassVar[int]
    read_only = (
        *range(OUT_TEMP_L, OUTZ_H_A + 1),
        *(FIFO_STATUS1, FIFO_STATUS2, FIFO_STATUS3, FIFO_STATUS4),
    )

    def _defaults(self) -> None:
        self._registers[CTRL3_C] = AUTO_INCREMENT
        self._other_bank = bytearray(REGISTERS)
        self._fifo = bytearray()
        self._is_overrun = False
        self._time_begun_ns = self._clock()

    def _give(self, register: int) -> int:
        if self._is_other_bank(register):
            return self._other_bank[register]
        return super()._give(register)

    def _take(self, register: int, value: int) -> None:
        if self._is_other_bank(register):
            self._other_bank[register] = value
        else:
            super()._take(register, value)

    def _is_other_bank(self, register: int) -> bool:
        return bool(self._registers[BANK] & OTHER_BANK) and register != BANK

    def _store(self, register: int, value: int) -> None:
        if register == CTRL3_C and value & RESET:
            self._power_up()
        elif register == CTRL3_C:
            self._registers[CTRL3_C] &= ~BOOT  # done at once
        elif register in (CTRL1_XL, CTRL2_G):
            self._retime()
        elif register == TIMESTAMP2 and value == CLEAR_TIME:
            self._time_begun_ns = self._clock()
        elif not self._mode():
            self._fifo.clear()
            self._is_overrun = False

    def _sensor_hz(self, control: int) -> float:
        code = self._registers[control] >> 4
        return RATES_HZ[code] if code < len(RATES_HZ) else 0.0

    def _rate_hz(self) -> float:
        return max(self._sensor_hz(CTRL1_XL), self._sensor_hz(CTRL2_G))

    def _scales(self) -> tuple[float, float]:
        gyro = self._registers[CTRL2_G]
        range_dps = 125 if gyro & 2 else RANGES_DPS[gyro >> 2 & 3]
        range_g = RANGES_G[self._registers[CTRL1_XL] >> 2 & 3]
        return 32768 / range_g / G, math.degrees(1000 / (MDPS_PER_DPS * range_dps))

    def _mode(self) -> int:
        raise NotImplementedError

    def _row(self, force: bytes, turn: bytes, time: int) -> bytes:
        """Return what goes into the FIFO for one sample; nothing if it is not told to.

        Args:
            force: counts of the accelerometer; none if it is off.
            turn: counts of the gyroscope; none if it is off.
            time: in steps of 25 us of the chip's own clock.
        """
        raise NotImplementedError

    def _sampled(self, counts: tuple[int, ...]) -> bool:
        force = COUNTS.pack(*counts[:3]) if self._sensor_hz(CTRL1_XL) else b""
        turn = COUNTS.pack(*counts[3:]) if self._sensor_hz(CTRL2_G) else b""
        self._registers[OUTX_L_A : OUTX_L_A + len(force)] = force
        self._registers[OUTX_L_G : OUTX_L_G + len(turn)] = turn
        row = self._row(force, turn, self._time())
        if not row or self._mode() not in (FIRST_ROWS, CONTINUOUS):
            return False
        was_enough = self._is_enough()
        self._fifo += row
        room_bytes = self.words * self.word_bytes
        if len(self._fifo) > room_bytes:
            self._is_overrun = True
            if self._mode() == CONTINUOUS:
                del self._fifo[:-room_bytes]
            else:
                del self._fifo[room_bytes:]
        if self._registers[INT1_CTRL] & WATERMARK_PIN and self._is_enough() and not was_enough:
            self.interrupts += 1
        return True

    def _time(self) -> int:
        elapsed_ns = self._next_ns - self._time_begun_ns
        return int(elapsed_ns * (1 + self._rate_error) / TIME_STEP_NS)

    def _waiting(self) -> int:
        return len(self._fifo) // self.word_bytes

    def _watermark(self) -> int:
        at = self.first_watermark
        return int.from_bytes(self._registers[at : at + 2], "little") & self.words - 1

    def _is_enough(self) -> bool:
        return 0 < self._watermark() <= self._waiting()

    def _drain(self, size_bytes: int) -> bytes:
        taken = bytes(self._fifo[:size_bytes])
        del self._fifo[:size_bytes]
        return taken.ljust(size_bytes, b"\x00")


class Lsm6dsoChip(_Lsm6dsChip):
    """One chip with a tagged FIFO: 512 words of a tag and six bytes."""

    usual_identity = 0x6C
    fifo_port = 0x78
    word_bytes, words = 7, 512
    first_watermark = 0x07

    def _defaults(self) -> None:
        super()._defaults()
        self._slot = 0

    def _mode(self) -> int:
        return self._registers[0x0A] & 7

    def _row(self, force: bytes, turn: bytes, time: int) -> bytes:
        self._slot = (self._slot + 1) % 4
        has_time = self._registers[0x0A] >> 6 and self._registers[0x19] & 0x20
        row = b""
        for tag, is_on, data in (
            (4, has_time, struct.pack("<I2x", time & 0xFFFF_FFFF)),
            (1, self._registers[0x09] >> 4, turn),
            (2, self._registers[0x09] & 15, force),
        ):
            upper = tag << 3 | self._slot << 1
            row += bytes((upper | upper.bit_count() % 2,)) + data if is_on and data else b""
        return row

    def _load(self, register: int) -> int:
        waiting = min(self._waiting(), 0x3FF)
        if register == FIFO_STATUS1:
            return waiting & 0xFF
        if register == FIFO_STATUS2:
            is_full = waiting == self.words
            latched, self._is_overrun = self._is_overrun, False
            flags = latched << 3 | is_full << 5 | (is_full and latched) << 6
            return waiting >> 8 | flags | self._is_enough() << 7
        return self._registers[register]


class Lsm6ds3Chip(_Lsm6dsChip):
    """One chip with a pattern FIFO: words of two bytes, gyroscope and accelerometer in turn."""

    usual_identity = 0x69
    fifo_port = 0x3E
    word_bytes = 2
    words = 4096
    first_watermark = 0x06

    def _mode(self) -> int:
        return self._registers[0x0A] & 7 if self._registers[0x0A] >> 3 & 15 else 0

    def _defaults(self) -> None:
        super()._defaults()
        self.words = 4096 if self._identity == self.usual_identity else 2048  # LSM6DS3TR-C
        self._taken_words = 0
        self._row_words = 6

    def _store(self, register: int, value: int) -> None:
        super()._store(register, value)
        if not self._fifo:
            self._taken_words = 0

    def _row(self, force: bytes, turn: bytes, time: int) -> bytes:
        parts = self._registers[0x08]
        has_time = self._registers[0x07] & 0x80 and self._registers[0x09] >> 3 & 7
        low, middle, high = (time & 0xFF_FFFF).to_bytes(3, "little")
        row = (turn if parts >> 3 & 7 else b"") + (force if parts & 7 else b"")
        if row and has_time:
            row += bytes((middle, high, 0, low, 0, 0))
        self._row_words = len(row) // 2 or self._row_words
        return row

    def _load(self, register: int) -> int:
        is_full = self._waiting() >= self.words
        waiting = min(self._waiting(), 0xFFF)
        pattern = self._taken_words % self._row_words
        flags = self._is_enough() << 7 | (self._is_overrun and is_full) << 6 | (not waiting) << 4
        return {
            FIFO_STATUS1: waiting & 0xFF,
            FIFO_STATUS2: waiting >> 8 | flags,
            FIFO_STATUS3: pattern,
            FIFO_STATUS4: 0,
        }.get(register, self._registers[register])

    def _drain(self, size_bytes: int) -> bytes:
        self._taken_words += size_bytes // 2
        return super()._drain(size_bytes)
