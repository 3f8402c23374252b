"""IMUs with a FIFO: set-up that is read back, bursts of whole rows, times, overflows.

A family says in a few lines how its FIFO is asked, read, emptied and stopped; all else is here.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, ClassVar

from drivers.base import Device, DeviceLostError, Sample, boot_ns
from drivers.fifo_clock import FifoClock
from drivers.i2c import transfer_bits
from drivers.imu import AXES, Burst, Imu
from drivers.stillness import DEAD, Stillness

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: A burst is what comes in this time, or what fills half of the FIFO.
BURST_S = 0.05
#: No new sample for so many periods: something is wrong with the chip.
OVERDUE_PERIODS = 20
#: Samples are held back until their times are known, but no longer than this.
HELD_S = 1.0
#: The first ones, by which a gap is counted, until they are known twice as well, but no longer.
SHARP_S = 0.3
HEAT_NS = 1_000_000_000


class FifoImu(Imu):
    """An IMU that is read through its FIFO; options as of `drivers.imu.Imu`.

    Rows hold the chip's counts. Their times are back-dated from the moments at which the FIFO was
    seen to grow, see `FifoClock`: after some seconds the period is right to 1e-4, and the first
    row of every burst to a quarter of a period, also after an overflow, so that the rows that were
    lost can be counted by time. The filter's delay is not taken off.

    A chip that hung is reset. One that still runs as configured is taken over: without an overflow
    reading goes on in the FIFO as it is and nothing is marked (what the former process took and did
    not store shows by time); after one only the FIFO is reset and the first sample carries `gap`.

    Attributes:
        wire_row_bytes: what a row takes in the FIFO.
        is_overflow_exact: whether the chip says how many rows an overflow cost; its rows are
            numbered then.
        start_up_s: until what the sensors give is right, after the set-up.
        thermometer: register of the two bytes of temperature, where the FIFO has no room for it.
    """

    wire_row_bytes: ClassVar[int]
    thermometer: ClassVar[int]
    start_up_s: ClassVar[float]
    is_overflow_exact: ClassVar[bool] = False

    def prepare(self) -> None:
        """Make the set-up and what belongs to reading."""
        self._setup = self.setup()
        self._row_bytes = sum(int(one.type[2:]) for one in self.fields)
        half_rows = self.chip.fifo_bytes // self.wire_row_bytes // 2
        self._burst_rows = max(1, min(round(self.rate_hz * BURST_S), half_rows))
        self._clock = FifoClock(self.rate_hz, self.rate_tolerance)
        self._stillness = Stillness(self.fields, AXES)
        self._taken = 0  # rows since the clock's start: drained (those in `_held` too) or lost
        self._held: list[bytes] = []
        self._ready: deque[Sample] = deque()  # to be given before what is held
        self._gap = False
        self._hangs = False  # only a reset helps
        self._is_new = True  # nothing was handed over since the clock's start
        self._seen_ns = 0  # when the FIFO was last seen to grow
        self._heat, self._heat_ns = b"", 0

    def setup(self) -> dict[str, int]:
        """Return the registers of the set-up and their values, in the order of writing.

        All are read back. The last one lets rows into the FIFO.
        """
        raise NotImplementedError

    def reset(self) -> None:
        """Reset the chip and wait until it takes its set-up."""
        raise NotImplementedError

    def waiting_rows(self) -> int:
        """Return how many whole rows the FIFO holds, from one transfer; see `whole_rows`."""
        raise NotImplementedError

    def take(self, rows: int) -> Burst:
        """Read so many rows out of the FIFO, in one transfer."""
        raise NotImplementedError

    def has_overflown(self) -> bool:
        """Tell whether the FIFO has overflown since this was asked last."""
        raise NotImplementedError

    def is_aligned(self) -> bool:
        """Tell whether the FIFO begins with a whole row."""
        return True

    def empty_fifo(self) -> None:
        """Empty the FIFO; rows go on into it if the set-up lets them."""
        raise NotImplementedError

    def stop_fifo(self) -> None:
        """Let no more rows go into the FIFO; those that are in it stay."""
        raise NotImplementedError

    def sleep(self) -> None:
        """Let the chip rest."""
        raise NotImplementedError

    def whole_rows(self, fill_bytes: int) -> int:
        """Return the whole rows in so many bytes.

        Raises:
            DeviceLostError: the FIFO cannot hold so many: a chip without power answers 0xFF.
        """
        if fill_bytes > self.chip.fifo_bytes:
            raise DeviceLostError(
                f"{self}: {fill_bytes} bytes in a FIFO of {self.chip.fifo_bytes}: no power?"
            )
        return fill_bytes // self.wire_row_bytes

    def heat(self) -> bytes:
        """Return the two bytes of `thermometer`, read once a second."""
        now_ns = boot_ns()
        if not self._heat or now_ns - self._heat_ns >= HEAT_NS:
            self._heat, self._heat_ns = self.read_register(self.thermometer, 2), now_ns
        return self._heat

    @property
    def bits_per_s(self) -> float:
        """The rows, and for each burst how many there are and whether some were lost."""
        asking = transfer_bits(1, 2) + transfer_bits(1, 1)
        burst = transfer_bits(1, self._burst_rows * self.wire_row_bytes)
        return (asking + burst) * self.rate_hz / self._burst_rows

    def open(self) -> Device:
        """Identify the chip; configure and start it, or take it over if it runs as configured."""
        self.identify()
        self._gap = False
        self._ready.clear()
        self._clock = FifoClock(self.rate_hz, self.rate_tolerance)
        self._stillness.forget()
        if self._hangs or self._differences():
            self._configure()
        elif self.has_overflown() or not self.is_aligned():
            self._restart_fifo()  # overflown, or a burst was torn when the former process died
            self._gap = True
        else:
            before_ns = boot_ns()
            self._begin(self.waiting_rows(), before_ns, boot_ns())
        return self.device_facts()

    @property
    def held_since_ns(self) -> int | None:
        """Of the oldest row that was not given yet, in the FIFO or here: the earliest time."""
        if self._bus is None:
            return None
        return self._ready[0].boot_ns if self._ready else round(self._clock.first.least_ns)

    def read(self, timeout_s: float) -> Sample | None:
        """Wait for the next burst, about 50 ms long; shorter while the clock is being learnt."""
        deadline_ns = boot_ns() + round(timeout_s * 1e9)
        while not self._ready:
            awaited = self._taken + self._clock.reach(self._burst_rows) - 1
            awaited_ns = min(self._clock.aim_ns(awaited), deadline_ns)
            time.sleep(max(0.0, awaited_ns - boot_ns()) / 1e9)
            self._drain()
            if self._is_timed(self._held_rows() / self.rate_hz):
                self._hand_over()
            if not self._ready and boot_ns() >= deadline_ns:
                return None
        return self._ready.popleft()

    def _is_timed(self, held_s: float) -> bool:
        """Tell whether the time of the first row that is held is known, or was waited for."""
        if self._is_new and not self._clock.is_first_sharp and held_s < SHARP_S:
            return False
        return self._clock.is_first_known or held_s >= HELD_S

    def finish(self) -> Sequence[Sample]:
        """Stop filling the FIFO, return what is left in it, and put the chip to sleep."""
        self.stop_fifo()
        self._drain()
        self.sleep()
        self._hand_over()
        return list(self._ready)

    def measured(self) -> Mapping[str, object]:
        """The period, the jitter of the stamps, and which axes do not move any more."""
        return {**self._clock.measured(), "frozen": list(self._stillness.frozen)}

    def _configure(self) -> None:
        """Reset the chip, write the set-up and read it back."""
        self.reset()
        *early, (last, rows_on) = self._setup.items()
        for name, value in early:
            setattr(self, name, value)
        time.sleep(self.start_up_s)
        self._restart_fifo()
        before_ns = boot_ns()
        setattr(self, last, rows_on)
        self._begin(0, before_ns, boot_ns())
        different = self._differences()
        if different:
            raise DeviceLostError(f"{self}: does not keep its set-up: {different}")
        self._hangs = False

    def _differences(self) -> str:
        """Say which registers do not hold what was or would be written; empty if all do."""
        found = {name: getattr(self, name) for name in self._setup}
        return ", ".join(
            f"{name} is {found[name]:#04x}, not {value:#04x}"
            for name, value in self._setup.items()
            if found[name] != value
        )

    def _restart_fifo(self) -> None:
        """Empty the FIFO; sampling goes on meanwhile, and so does what is known of the period."""
        before_ns = boot_ns()
        self.empty_fifo()
        after_ns = boot_ns()
        self.has_overflown()  # until just now: asking clears it
        self._begin(0, before_ns, after_ns)

    def _begin(self, rows: int, before_ns: int, after_ns: int) -> None:
        self._held.clear()
        self._is_new = True
        self._taken = 0
        self._seen_ns = after_ns
        self._clock.start(rows, before_ns, after_ns)

    def _drain(self) -> None:
        before_ns = boot_ns()
        waiting = self.waiting_rows()
        after_ns = boot_ns()
        burst = self.take(waiting) if waiting else Burst(b"")
        # Asked after the burst: an overflow shifts what is being read, not what was read before.
        is_torn = burst.is_torn or not self._clock.can_be(self._taken + waiting, after_ns)
        if self.has_overflown() or is_torn:
            self._hand_over()
            self._restart_fifo()
            self._gap = True
            return
        if burst.lost:  # the FIFO's fill tells nothing about the times of what went lost
            self._hand_over()
            self._taken += burst.lost
            self._clock.hand_over(self._taken)
        else:
            self._clock.look(self._taken + waiting, before_ns, after_ns)
        if burst.rows:
            self._keep(burst.rows, after_ns)
        elif after_ns - self._seen_ns > OVERDUE_PERIODS * self._clock.period_ns:
            raise DeviceLostError(f"{self}: {self._silence()}")

    def _keep(self, rows: bytes, at_ns: int) -> None:
        self._stillness.look(rows, at_ns)
        if self._stillness.is_dead or self._stillness.is_frozen:
            self._hangs = True
            what = "only 0x00 or 0xff" if self._stillness.is_dead else "the same values for seconds"
            raise DeviceLostError(f"{self}: gives {what}: it has no supply, or it hangs")
        self._taken += len(rows) // self._row_bytes
        self._held.append(rows)
        self._seen_ns = at_ns

    def _silence(self) -> str:
        """Say why no sample comes: a chip that browned out acknowledges everything and sleeps."""
        found = self.who_am_i
        if found in DEAD:
            return f"answers {found:#04x} to everything: it has no supply, or the bus hangs"
        different = self._differences()
        if different:
            return f"has lost its supply for a moment and was reset ({different})"
        self._hangs = True
        return "has stopped sampling (its set-up is intact)"

    def _held_rows(self) -> int:
        return sum(map(len, self._held)) // self._row_bytes

    def _hand_over(self) -> None:
        """Make a sample of the rows that are held, if there are any."""
        rows = self._held_rows()
        if not rows:
            return
        sample = Sample(
            boot_ns=round(self._clock.first.middle_ns),
            rows=rows,
            payload=tuple(self._held),
            period_ns=round(self._clock.period_ns),
            counter=self._taken - rows if self.is_overflow_exact else None,
            gap=self._gap,
        )
        self._clock.hand_over(self._taken)
        self._held.clear()
        self._gap = self._is_new = False
        self._ready.append(sample)
