"""The receiver model's end of a pseudo-terminal: bytes at one speed, read at another, are garbage.

A pseudo-terminal carries bytes at any speed. The speed that its listener set is known all the same,
and where it differs from the sender's by more than 3 %, both sides get noise, as on a UART.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import select
import struct
import termios
import tty
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

#: `struct termios2` of Linux (asm-generic/termbits.h), which has the speed as a number.
TCGETS2 = 0x802C542A
_TERMIOS2_BYTES = 44
_SPEED = struct.Struct("<I")
_SPEED_AT = 40
#: A UART samples the tenth bit half a bit late at 5 %; both sides' errors together stay below.
MOST_MISMATCH = 0.03
READ_BYTES = 4096


class Terminal:
    """A pseudo-terminal under a symbolic link.

    Args:
        link: where it appears; an existing link is replaced.
    """

    def __init__(self, link: Path) -> None:
        self._link = link
        self._master: int | None = None
        self._noise = random.Random(0)  # the same noise every time

    @property
    def is_plugged(self) -> bool:
        """Whether the terminal is there."""
        return self._master is not None

    def plug_in(self) -> None:
        """Make the terminal and its link.

        Raises:
            OSError: no pseudo-terminal, or the link cannot be written.
        """
        master, slave = os.openpty()
        tty.setraw(slave)  # no byte is changed, and none comes back as an echo
        os.set_blocking(master, False)
        self._poll = select.poll()
        self._poll.register(master, 0)  # POLLHUP comes unasked
        fresh = self._link.with_name(f".{self._link.name}.new")
        with contextlib.suppress(FileNotFoundError):
            fresh.unlink()
        fresh.symlink_to(os.ttyname(slave))
        fresh.replace(self._link)
        os.close(slave)  # from now on the master hangs up until a listener comes
        self._master = master

    def unplug(self) -> None:
        """Take the terminal and its link away."""
        with contextlib.suppress(FileNotFoundError):
            self._link.unlink()
        if self._master is not None:
            os.close(self._master)
        self._master = None

    def has_listener(self) -> bool:
        """Whether the terminal is open; what an earlier listener left unread is thrown away."""
        if self._master is None:
            return False
        is_open = not any(event & select.POLLHUP for _, event in self._poll.poll(0))
        if not is_open:
            termios.tcflush(self._master, termios.TCIOFLUSH)
        return is_open

    def write(self, data: bytes, baud: int) -> bool:
        """Give bytes to whoever listens; tell whether somebody does, at the right speed."""
        if self._master is None or not self.has_listener():
            return False
        speed_baud = self._speed_baud(self._master)
        is_right = abs(speed_baud - baud) <= MOST_MISMATCH * baud
        if not is_right:
            data = self._noise.randbytes(max(1, len(data) * min(speed_baud, baud) // baud))
        # BlockingIOError: the listener has not read for so long that the kernel's buffer is full.
        with contextlib.suppress(BlockingIOError):
            os.write(self._master, data)
        return is_right

    def read(self, baud: int) -> bytes:
        """Return what the listener sent, noise at the wrong speed; empty if nothing."""
        if self._master is None:
            return b""
        try:
            data = os.read(self._master, READ_BYTES)
        except OSError:  # nothing there, or nobody
            return b""
        if abs(self._speed_baud(self._master) - baud) > MOST_MISMATCH * baud:
            return self._noise.randbytes(len(data))
        return data

    @staticmethod
    def _speed_baud(master: int) -> int:
        raw = bytearray(_TERMIOS2_BYTES)
        fcntl.ioctl(master, TCGETS2, raw)
        speed: int = _SPEED.unpack_from(raw, _SPEED_AT)[0]
        return speed
