"""Brings a device's time stamps to CLOCK_BOOTTIME, and finds out of which clock they are.

libcamera documents CLOCK_BOOTTIME and hands on what the kernel's driver gave, mostly
CLOCK_MONOTONIC; the two differ by the time that the machine was suspended. A pipeline of GStreamer
counts from its own start.
"""

from __future__ import annotations

import time

from drivers.base import boot_ns

#: A stamp of the machine's own clock is not older than this when it arrives.
OLDEST_NS = 2_000_000_000
#: Nor younger than now by more than this: its clock is read in us by some drivers.
YOUNGEST_NS = 1_000_000
#: How long a least delay is believed: a device's clock drifts 3 ms in it at 100 ppm.
WINDOW_NS = 30_000_000_000


def suspended_ns() -> int:
    """Return by how much CLOCK_BOOTTIME is ahead of CLOCK_MONOTONIC, in ns."""
    before_ns = boot_ns()
    monotonic_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    return (before_ns + boot_ns()) // 2 - monotonic_ns


class StampClock:
    """The clock of one device, from `open` on.

    Attributes:
        name: ``boottime``, ``monotonic``, or ``device``: of no clock that the machine has; then a
            stamp is late by the least delay that a frame had on its way.
    """

    def __init__(self) -> None:
        self.name = ""
        self._ahead_ns = 0
        self._window_ends_ns = 0
        self._least_ns: list[int] = []  # of this window and the one before

    def to_boot_ns(self, stamp_ns: int) -> int:
        """Return the boot time of a stamp that has just arrived.

        The clock is judged anew at each stamp: of the machine's two the one by which it is the
        youngest and yet not of the future.
        """
        now_ns = boot_ns()
        for name, ahead_ns in (("monotonic", suspended_ns()), ("boottime", 0)):
            if -YOUNGEST_NS <= now_ns - stamp_ns - ahead_ns <= OLDEST_NS:
                self.name, self._ahead_ns = name, ahead_ns
                return self.known_boot_ns(stamp_ns)
        self.name, self._ahead_ns = "device", self._delay_ns(now_ns, now_ns - stamp_ns)
        return self.known_boot_ns(stamp_ns)

    def known_boot_ns(self, stamp_ns: int) -> int:
        """Return the boot time of a stamp that arrived before, by what is known by now."""
        return stamp_ns + self._ahead_ns

    def _delay_ns(self, now_ns: int, delay_ns: int) -> int:
        if now_ns >= self._window_ends_ns:
            self._window_ends_ns = now_ns + WINDOW_NS
            self._least_ns = [delay_ns, *self._least_ns[:1]]
        self._least_ns[0] = min(self._least_ns[0], delay_ns)
        return min(self._least_ns)
