"""What every register-level model of an IMU shares: registers, sample clock, log, faults.

The chip samples the motion that it is given on a clock of its own, computed whenever somebody asks
(no thread), writes every row that it made into its own log, and answers on an I2C bus model. Its
noise is one count up or down on each axis, the same in every run: no living sensor gives the same
value twice for long, and the drivers know that.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, ClassVar

from drivers.base import boot_ns
from drivers.sim.motion import Sense

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

REGISTERS = 0x80
G = 9.80665
MOST = 32767
#: So many are taken at once, at most: an answer does not wait for more to be worked out.
TICK_SAMPLES = 3
LOG_HEAD = "index,boot_ns,ax,ay,az,wx,wy,wz\n"


class ImuChip:
    """One chip; a subclass says what its registers do.

    Args:
        motion: gives specific force (m/s^2) and angular velocity (rad/s) in sensor axes at an
            instant of CLOCK_BOOTTIME in ns.
        log: where every row that was made is noted, those overwritten in the FIFO later too:
            ``index,boot_ns,ax,ay,az,wx,wy,wz`` in raw counts; flushed by `tick`.
        rate_error: how much faster than nominal its oscillator runs, as a fraction.
        clock: CLOCK_BOOTTIME in ns.
        identity: what its identity register answers; None: what the model's usual chip has.

    Attributes:
        interrupts: how often its interrupt line rose so far, whether or not a wire is on it.
        identity_register, usual_identity: who it says it is.
        fifo_port: register that gives the FIFO's bytes; -1 without a FIFO.
        read_only: registers that cannot be written.
    """

    identity_register: ClassVar[int]
    usual_identity: ClassVar[int]
    fifo_port: ClassVar[int] = -1
    read_only: ClassVar[tuple[int, ...]] = ()
    FAULTS = ("brown_out", "wrong_id", "frozen", "unpowered")

    def __init__(
        self,
        motion: Callable[[int], Sense],
        log: Path,
        rate_error: float = 0.004,
        clock: Callable[[], int] = boot_ns,
        identity: int | None = None,
    ) -> None:
        self._motion = motion
        self._rate_error = rate_error
        self._clock = clock
        self._log = log.open("w", encoding="ascii")
        self._log.write(LOG_HEAD)
        self.interrupts = 0
        self._index = 0
        self._identity = self.usual_identity if identity is None else identity
        self._pointer = 0
        self._browned_out = False
        self._is_frozen = False
        self._constant: tuple[float, int] | None = None
        self._power_up()

    def fault(self, name: str, *, value: int | None = None, seconds: float = 1.0) -> None:
        """Misbehave; may be called from any thread (it sets single values only).

        Args:
            name: ``brown_out``: the supply fails for a moment: all registers as at power-on;
                ``wrong_id``: the identity is `value` from now on; ``frozen``: from now on until a
                reset every sample is the same; ``unpowered``: for `seconds` every register reads
                `value`, 0xff unless told otherwise, and then the supply is back.
            value: 0 to 255.
            seconds: duration.
        """
        if name == "brown_out":
            self._browned_out = True
        elif name == "wrong_id":
            self._identity = 0x71 if value is None else value
        elif name == "frozen":
            self._is_frozen = True
        elif name == "unpowered":
            self._constant = time.monotonic() + seconds, 0xFF if value is None else value
        else:
            raise ValueError(f"an IMU has no fault {name!r}, allowed are {', '.join(self.FAULTS)}")

    def write(self, data: bytes) -> None:
        """Take a register's address and the values for it and the following ones."""
        self._advance()
        self._pointer = data[0] % REGISTERS
        for value in data[1:] if self._constant is None else b"":
            self._take(self._pointer, value)
            self._step()

    def read(self, size_bytes: int) -> bytes:
        """Give registers from the address written last; the FIFO's port gives its bytes."""
        self._advance()
        if self._constant is not None:
            return bytes((self._constant[1],)) * size_bytes
        if self._pointer == self.fifo_port:
            return self._drain(size_bytes)
        data = bytearray()
        for _ in range(size_bytes):
            data.append(self._give(self._pointer))
            self._step()
        return bytes(data)

    def tick(self) -> float:
        """Catch up with time and flush the log; return when a few more samples are due, in s."""
        self._advance()
        self._log.flush()
        return self._period_ns() / 1e9 * TICK_SAMPLES

    def close(self) -> None:
        """Write the log to its end."""
        self._log.close()

    # What a chip is.

    def _defaults(self) -> None:
        """Set registers and FIFO as after power-on, with `_registers` all zero."""
        raise NotImplementedError

    def _rate_hz(self) -> float:
        """Return the nominal rate as configured; 0 while the chip does not sample."""
        raise NotImplementedError

    def _scales(self) -> tuple[float, float]:
        """Return counts per m/s^2 and per rad/s as configured."""
        raise NotImplementedError

    def _store(self, register: int, value: int) -> None:
        """Do what writing a register does; `_registers` has the value already."""
        raise NotImplementedError

    def _load(self, register: int) -> int:
        """Return what reading a register gives."""
        return self._registers[register]

    def _sampled(self, counts: tuple[int, ...]) -> bool:
        """Put a sample (three axes of force, three of turn) where it belongs.

        Returns:
            Whether it is a row that somebody could have read: it goes into the log.
        """
        raise NotImplementedError

    def _drain(self, size_bytes: int) -> bytes:
        """Give bytes of the FIFO."""
        raise NotImplementedError

    # What every chip does.

    def _power_up(self) -> None:
        self._registers = bytearray(REGISTERS)
        self._is_frozen = False
        self._next_ns = math.inf
        self._held: tuple[int, ...] = ()
        self._defaults()

    def _retime(self) -> None:
        """Begin to sample at the configured rate, or stop."""
        self._next_ns = self._clock() + self._period_ns()

    def _step(self) -> None:
        if self._pointer != self.fifo_port:
            self._pointer = (self._pointer + 1) % REGISTERS

    def _give(self, register: int) -> int:
        return self._identity if register == self.identity_register else self._load(register)

    def _take(self, register: int, value: int) -> None:
        if register != self.identity_register and register not in self.read_only:
            self._registers[register] = value
            self._store(register, value)

    def _period_ns(self) -> float:
        rate_hz = self._rate_hz()
        return 1e9 / (rate_hz * (1 + self._rate_error)) if rate_hz else math.inf

    def _advance(self) -> None:
        """Take all samples that were due until now."""
        now_ns = self._clock()
        while self._next_ns <= now_ns:
            self._sample(round(self._next_ns))
            self._next_ns += self._period_ns()
        if self._constant is not None and time.monotonic() >= self._constant[0]:
            self._constant = None
            self._browned_out = True
        if self._browned_out:
            self._browned_out = False
            self._power_up()

    def _sample(self, at_ns: int) -> None:
        counts = self._counts(at_ns)
        if self._sampled(counts):
            self._log.write(f"{self._index},{at_ns},{','.join(map(str, counts))}\n")
            self._index += 1

    def _counts(self, at_ns: int) -> tuple[int, ...]:
        if self._is_frozen and self._held:
            return self._held
        force, turn = self._scales()
        noise = at_ns // 1000 * 2_654_435_761 >> 16
        sense = self._motion(at_ns)
        self._held = tuple(
            max(-MOST - 1, min(MOST, round(value * scale) + (noise >> 2 * axis) % 3 - 1))
            for axis, (value, scale) in enumerate(
                zip(sense, (force,) * 3 + (turn,) * 3, strict=True)
            )
        )
        return self._held
