"""Running numbers for epochs, by which a lane sees how many a receiver lost."""

from __future__ import annotations


class Counter:
    """Numbers epochs by their UTC, in periods, so that a gap shows what the receiver lost.

    A receiver's time can jump, and the jump must not look like a loss: from its own clock to the
    first fix, by a late leap second, by 1024 weeks. So UTC is held against boot time: where it runs
    ahead by more than half a second, stands still, goes back, or falls behind by more than ten
    seconds, the numbers go on by boot time and then follow the new UTC. (Late stamps, after the
    process was held up, make UTC fall behind for a while; that is no jump.)

    Args:
        rate_hz: epochs per second.
    """

    AHEAD_NS = 500_000_000
    BEHIND_NS = 10_000_000_000
    #: No receiver's own delay changes by so much.
    LATE_NS = 100_000_000
    #: So long after a beginning it is not known how late its stamps were: what the kernel kept
    #: while nobody read is taken first.
    UNSETTLED_NS = 1_000_000_000
    #: Boot time may be slewed against UTC; 1000 ppm covers what NTP does.
    SLEW = 0.001

    def __init__(self, rate_hz: float) -> None:
        self._period_ns = 1e9 / rate_hz
        self._base: tuple[int, int] | None = None  # UTC and the number of one epoch
        self._last: tuple[int, int, int] = (0, 0, 0)  # UTC, boot time, number
        self._lead_ns = 0.0  # UTC minus boot time, of the stamps that came least late
        self._begun_ns = 0  # boot time since when

    def number(self, utc_ns: int | None, boot_ns: int) -> int | None:
        """Return the epoch's number; None without UTC.

        Args:
            utc_ns: the receiver's UTC in ns since 1970; need not fall on a multiple of the period.
            boot_ns: CLOCK_BOOTTIME of the epoch, in ns.
        """
        if utc_ns is None:
            return None
        base = self._base
        if base is None:
            base = self._begin(utc_ns, round(utc_ns / self._period_ns), boot_ns)
        elif self._has_jumped(utc_ns, boot_ns):
            periods = max(1, round((boot_ns - self._last[1]) / self._period_ns))
            base = self._begin(utc_ns, self._last[2] + periods, boot_ns)
        number = base[1] + round((utc_ns - base[0]) / self._period_ns)
        self._last = (utc_ns, boot_ns, number)
        return number

    def late_ns(self, utc_ns: int | None, boot_ns: int) -> int | None:
        """Return by how much an epoch that was numbered is stamped late, in ns; 0 if it is not.

        None if that is not known, without UTC and for `UNSETTLED_NS` after a beginning or a jump.
        A process that was held up finds the bytes of seconds in the kernel's buffer. When they came
        is not known there, but how much time the receiver says is between them is.
        """
        if utc_ns is None:
            return None
        late_ns = round(self._lead_ns - (utc_ns - boot_ns))
        if late_ns > self.LATE_NS:
            return late_ns
        return 0 if boot_ns - self._begun_ns >= self.UNSETTLED_NS else None

    def _begin(self, utc_ns: int, number: int, boot_ns: int) -> tuple[int, int]:
        self._base = (utc_ns, number)
        self._lead_ns = utc_ns - boot_ns
        self._begun_ns = boot_ns
        return self._base

    def _has_jumped(self, utc_ns: int, boot_ns: int) -> bool:
        lead_ns = utc_ns - boot_ns
        slewed_ns = max(0, boot_ns - self._last[1]) * self.SLEW
        ahead_ns = lead_ns - self._lead_ns
        if utc_ns <= self._last[0] or not -self.BEHIND_NS < ahead_ns < self.AHEAD_NS:
            return True
        self._lead_ns = max(lead_ns, self._lead_ns - slewed_ns)
        return False


class Rhythm:
    """Tells whether epochs come at less than their rate: several in a row, so no loss does it.

    Args:
        rate_hz: epochs per second, as set.
    """

    SLOW_EPOCHS, SLOW_PERIODS = 5, 1.5

    def __init__(self, rate_hz: float) -> None:
        self._late_ns = self.SLOW_PERIODS * 1e9 / rate_hz
        self._last_ns: int | None = None
        self._slow = 0

    def hear(self, boot_ns: int) -> None:
        """Take the next epoch's first byte."""
        is_late = self._last_ns is not None and boot_ns - self._last_ns > self._late_ns
        self._slow = self._slow + 1 if is_late else 0
        self._last_ns = boot_ns

    @property
    def is_slow(self) -> bool:
        """Whether `SLOW_EPOCHS` in a row came late."""
        return self._slow >= self.SLOW_EPOCHS
