"""A register-level model of the MPU-6050: sample clock, FIFO, overflow, sleep, reset, brown-out.

The chip samples the motion that it is given on a clock of its own, computed whenever somebody asks
(no thread), writes every FIFO row it produced into its own log, and answers on an I2C bus model.

What it does not simulate: the low-pass filters and their delay, noise and bias beyond the motion's
own, self-test, temperature (constant 25 degrees), interrupts (the pin), the auxiliary bus, cycle
mode, the DMP, and the time that start-up and transfers take.

Source: InvenSense MPU-6000/MPU-6050 Register Map and Descriptions, revision 4.2. Two choices where
it is open: the overflow flag shows in INT_STATUS only if INT_ENABLE has it, and at an overflow the
oldest *bytes* go, so that the FIFO no longer begins with a whole row.
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Final

from drivers.base import boot_ns

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from drivers.sim.motion import Sense

SMPLRT_DIV, CONFIG, GYRO_CONFIG, ACCEL_CONFIG, FIFO_EN = 0x19, 0x1A, 0x1B, 0x1C, 0x23
INT_ENABLE, INT_STATUS, ACCEL_XOUT_H, GYRO_ZOUT_L = 0x38, 0x3A, 0x3B, 0x48
USER_CTRL, PWR_MGMT_1, FIFO_COUNTH, FIFO_COUNTL, FIFO_R_W, WHO_AM_I = (
    0x6A, 0x6B, 0x72, 0x73, 0x74, 0x75,
)  # fmt: skip
REGISTERS = 0x80
READ_ONLY = (INT_STATUS, *range(ACCEL_XOUT_H, GYRO_ZOUT_L + 1), FIFO_COUNTH, FIFO_COUNTL, WHO_AM_I)
FILTERED = range(1, 7)  # values of CONFIG's low bits with the low-pass filter on
RESET, SLEEP = 0x80, 0x40
FIFO_ON, FIFO_RESET = 0x40, 0x04
OVERFLOW, DATA_READY = 0x10, 0x01
FIFO_BYTES = 1024
TEMPERATURE_RAW = round((25.0 - 36.53) * 340)
#: FIFO_EN bits and the data registers that they put into the FIFO, in the FIFO's order.
FIFO_PARTS: Final = (
    (0x08, slice(0, 6)), (0x80, slice(6, 8)),
    (0x40, slice(8, 10)), (0x20, slice(10, 12)), (0x10, slice(12, 14)),
)  # fmt: skip
COUNTS: Final = struct.Struct(">7h")
G = 9.80665


class Mpu6050Chip:
    """One chip.

    Args:
        motion: gives specific force (m/s^2) and angular velocity (rad/s) in sensor axes at an
            instant of CLOCK_BOOTTIME in ns.
        log: where every row that was written into the FIFO is noted, those overwritten later
            too: ``index,boot_ns,ax,ay,az,wx,wy,wz`` in raw counts; flushed by `tick`.
        rate_error: how much faster than nominal its oscillator runs, as a fraction.
        clock: CLOCK_BOOTTIME in ns.
    """

    def __init__(
        self,
        motion: Callable[[int], Sense],
        log: Path,
        rate_error: float = 0.004,
        clock: Callable[[], int] = boot_ns,
    ) -> None:
        self._motion = motion
        self._rate_error = rate_error
        self._clock = clock
        self._log = log.open("w", encoding="ascii")
        self._log.write("index,boot_ns,ax,ay,az,wx,wy,wz\n")
        self._index = 0
        self._identity = 0x68
        self._pointer = 0
        self._browned_out = False
        self._power_up()

    def fault(self, name: str, *, value: int = 0x71) -> None:
        """Misbehave; may be called from any thread (it sets single values only).

        Args:
            name: ``brown_out``: the supply fails for a moment: all registers as at power-on,
                asleep; ``wrong_id``: WHO_AM_I answers `value` from now on.
            value: an identity, 0 to 255.
        """
        if name == "brown_out":
            self._browned_out = True
        elif name == "wrong_id":
            self._identity = value
        else:
            raise ValueError(f"an MPU-6050 has no fault {name!r}, only brown_out and wrong_id")

    def write(self, data: bytes) -> None:
        """Take a register's address and the values for it and the following ones."""
        self._advance()
        self._pointer = data[0] % REGISTERS
        for value in data[1:]:
            self._store(self._pointer, value)
            self._step()

    def read(self, size_bytes: int) -> bytes:
        """Give registers from the address written last; FIFO_R_W gives the FIFO's bytes."""
        self._advance()
        if self._pointer == FIFO_R_W:
            taken = bytes(self._fifo[:size_bytes])
            del self._fifo[:size_bytes]
            return taken.ljust(size_bytes, taken[-1:] or b"\xff")  # an empty FIFO repeats itself
        data = bytearray()
        for _ in range(size_bytes):
            data.append(self._load(self._pointer))
            self._step()
        return bytes(data)

    def tick(self) -> None:
        """Catch up with time and flush the log."""
        self._advance()
        self._log.flush()

    def close(self) -> None:
        """Write the log to its end."""
        self._log.close()

    def _power_up(self) -> None:
        self._registers = bytearray(REGISTERS)
        self._registers[PWR_MGMT_1] = SLEEP
        self._fifo = bytearray()
        self._next_ns = math.inf

    def _step(self) -> None:
        if self._pointer != FIFO_R_W:
            self._pointer = (self._pointer + 1) % REGISTERS

    def _load(self, register: int) -> int:
        if register == WHO_AM_I:
            return self._identity
        if register in (FIFO_COUNTH, FIFO_COUNTL):
            return len(self._fifo).to_bytes(2, "big")[register - FIFO_COUNTH]
        value = self._registers[register]
        if register == INT_STATUS:
            self._registers[INT_STATUS] = 0
        return value

    def _store(self, register: int, value: int) -> None:
        if register == PWR_MGMT_1 and value & RESET:
            self._power_up()
        elif register not in READ_ONLY:
            self._registers[register] = value
            self._react(register, value)

    def _react(self, register: int, value: int) -> None:
        if register == USER_CTRL and value & FIFO_RESET:
            self._fifo.clear()
            self._registers[USER_CTRL] &= ~FIFO_RESET
        elif register in (PWR_MGMT_1, SMPLRT_DIV, CONFIG):
            awake = not self._registers[PWR_MGMT_1] & SLEEP
            self._next_ns = self._clock() + self._period_ns() if awake else math.inf

    def _period_ns(self) -> float:
        rate_hz = (1000 if self._registers[CONFIG] & 7 in FILTERED else 8000) / (
            1 + self._registers[SMPLRT_DIV]
        )
        return 1e9 / (rate_hz * (1 + self._rate_error))

    def _advance(self) -> None:
        """Take all samples that were due until now."""
        now_ns = self._clock()
        while self._next_ns <= now_ns:
            self._sample(round(self._next_ns))
            self._next_ns += self._period_ns()
        if self._browned_out:
            self._browned_out = False
            self._power_up()

    def _sample(self, at_ns: int) -> None:
        counts = self._counts(self._motion(at_ns))
        self._registers[ACCEL_XOUT_H : GYRO_ZOUT_L + 1] = data = COUNTS.pack(*counts)
        self._registers[INT_STATUS] |= self._registers[INT_ENABLE] & DATA_READY
        enabled = self._registers[FIFO_EN]
        if not (enabled and self._registers[USER_CTRL] & FIFO_ON):
            return
        for bit, part in FIFO_PARTS:
            if enabled & bit:
                self._fifo += data[part]
        if len(self._fifo) > FIFO_BYTES:
            del self._fifo[:-FIFO_BYTES]
            self._registers[INT_STATUS] |= self._registers[INT_ENABLE] & OVERFLOW
        ax, ay, az, _, wx, wy, wz = counts
        self._log.write(f"{self._index},{at_ns},{ax},{ay},{az},{wx},{wy},{wz}\n")
        self._index += 1

    def _counts(self, sense: Sense) -> tuple[int, ...]:
        force = 16384 / (1 << (self._registers[ACCEL_CONFIG] >> 3 & 3)) / G
        turn = math.degrees(131 / (1 << (self._registers[GYRO_CONFIG] >> 3 & 3)))
        return (
            *(_clamped(value * force) for value in sense[:3]),
            TEMPERATURE_RAW,
            *(_clamped(value * turn) for value in sense[3:]),
        )


def _clamped(counts: float) -> int:
    return max(-32768, min(32767, round(counts)))
