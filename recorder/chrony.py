"""The receiver's time for chrony: samples into the socket of its reference clock ``SOCK``.

chrony makes the socket; nobody is told whether anybody listens. What chrony disciplines with these
samples is no evidence of its own any more, see `recorder.spool.timekeeper`.

Source: chrony's ``refclock_sock.c``, ``struct sock_sample``: the system's time of the measurement
(``struct timeval``), true time minus system time in seconds (double), pulse, leap, padding and the
magic number 0x534f434b, four ints.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from typing import TYPE_CHECKING

from recorder.clock import wall_ns

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["ChronyFeed"]

_SAMPLE = struct.Struct("@lldiiii")
_MAGIC = 0x534F434B
#: A reference clock keeps what came in one of its polls; more often than this it learns nothing.
PERIOD_NS = 1_000_000_000


class ChronyFeed:
    """Sends the receiver's time, at most once a second.

    Args:
        path: the socket as it stands in chrony's configuration.
    """

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._next_ns = 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)

    def send(self, boot_ns: int, utc_ns: int) -> None:
        """Tell what time it was at a boot time, not long ago; never waits, and may not arrive."""
        if boot_ns < self._next_ns:
            return
        self._next_ns = boot_ns + PERIOD_NS
        system_ns = wall_ns(boot_ns)
        seconds, rest_ns = divmod(system_ns, 1_000_000_000)
        ahead_s = (utc_ns - system_ns) / 1e9
        sample = _SAMPLE.pack(seconds, rest_ns // 1000, ahead_s, 0, 0, 0, _MAGIC)
        # chrony may not run yet, or start again: the next sample is a second away.
        with contextlib.suppress(OSError):
            self._socket.sendto(sample, self._path)

    def close(self) -> None:
        """Close the socket; may be called twice."""
        self._socket.close()
