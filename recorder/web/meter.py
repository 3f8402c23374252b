"""What a lane's life signs say only in a row: how fast samples come, and when the last one came."""

from __future__ import annotations

from collections import deque
from typing import Any

#: The rate is taken over so much time of the lane's own signs, one a second.
WINDOW_NS = 5_000_000_000


class Meter:
    """Rate and age of one lane, from life sign to life sign."""

    def __init__(self) -> None:
        self._signs: deque[tuple[int, int]] = deque()  # (boot_ns of the sign, samples so far)
        self._last_boot_ns: int | None = None

    def read(self, sign: dict[str, Any]) -> None:
        """Take in a life sign; one that was read before changes nothing."""
        at, samples = sign["boot_ns"], sign["samples"]
        if self._signs:
            last_at, last_samples = self._signs[-1]
            if at <= last_at:
                return
            if samples < last_samples:
                self._signs.clear()  # a new ring counts from zero
            elif samples > last_samples:
                # Only now: in a silence the lane's clock of slots goes on without any sample.
                self._last_boot_ns = sign["last_boot_ns"]
        self._signs.append((at, samples))
        while at - self._signs[0][0] > WINDOW_NS:
            self._signs.popleft()

    @property
    def rate_hz(self) -> float | None:
        """Samples per second over the last signs; None before there are two."""
        if not self._signs or self._signs[0] == self._signs[-1]:
            return None
        (first_at, first), (last_at, last) = self._signs[0], self._signs[-1]
        return (last - first) * 1e9 / (last_at - first_at)

    def last_boot_ns(self, stored_boot_ns: int | None) -> int | None:
        """Return when the last sample came, CLOCK_BOOTTIME.

        Args:
            stored_boot_ns: time of the lane's last stored sample, from the session's ledger, or
                None; it answers until this meter saw samples come.
        """
        known = [one for one in (self._last_boot_ns, stored_boot_ns) if one is not None]
        return max(known, default=None)
