"""A serial port that yields whole sentences, each with the time of its first byte.

pyserial stops here: everything it raises leaves as a `DriverError`.

Source: the format on the wire is one start bit, eight data bits, no parity, one stop bit, so ten
bits a byte (NMEA 0183, section 5.2.1; the default of every receiver in the field).
"""

from __future__ import annotations

import contextlib
import errno
import re
import select
import termios
from typing import TYPE_CHECKING

import serial

from drivers.base import DeviceAbsentError, DeviceLostError, boot_ns

if TYPE_CHECKING:
    from collections.abc import Iterator

BITS_PER_BYTE = 10
#: More than the kernel's line buffer ever holds (4 KiB), so one read empties it.
READ_BYTES = 8192
#: NMEA 0183 allows 82 bytes; receivers with many channels send more, none sends three times that.
MOST_LINE_BYTES = 256
#: A command is shorter than 300 bytes, which 4800 baud carry in 0.6 s.
WRITE_S = 2.0

_MARK = re.compile(rb"[$\r\n]")
_ALLOWED = "allowed is an existing tty such as /dev/ttyUSB0 or /dev/serial0"
_ABSENT = {
    errno.ENOENT: f"no such device; {_ALLOWED}",
    errno.EACCES: "permission denied; the recorder must be in the device's group (dialout)",
    errno.EAGAIN: "another process holds it (gpsd, ModemManager); it must be ours alone",
    errno.EBUSY: "another process holds it (gpsd, ModemManager); it must be ours alone",
    errno.ENODEV: "the node is there but no device is behind it",
    errno.ENXIO: "the node is there but no device is behind it",
    errno.EIO: "the node is there but no device is behind it",
}


class Port:
    """An open serial port, ours alone.

    Works on a USB adapter, on the board's own UART and on a pseudo-terminal (which has no modem
    lines and ignores the speed). What the kernel still held from before is thrown away.

    Args:
        path: the device node or a link to it.
        baud: bits per second.

    Attributes:
        baud: bits per second.
        read_ns: CLOCK_BOOTTIME of the last `read_some`, in ns: when the last byte had arrived.

    Raises:
        DeviceAbsentError: it cannot be opened; the message names the path and what is allowed.
    """

    def __init__(self, path: str, baud: int) -> None:
        self.path = path
        self.baud = baud
        try:
            # timeout=0: `read` gives what is there; the waiting is done by poll. What waited before
            # the opening is thrown away by it.
            self._serial = serial.Serial(
                path, baud, timeout=0, write_timeout=WRITE_S, exclusive=True
            )
        except (OSError, termios.error) as error:  # SerialException is an OSError
            why = _ABSENT.get(getattr(error, "errno", None) or 0, f"{error}; {_ALLOWED}")
            raise DeviceAbsentError(f"{path}: {why}") from error
        except ValueError as error:
            raise DeviceAbsentError(f"{path}: {baud} baud: {error}") from error
        self._poll = select.poll()
        self._poll.register(self._serial.fileno(), select.POLLIN)
        self.read_ns = boot_ns()

    def read_some(self, timeout_s: float) -> tuple[bytes, int]:
        """Wait for bytes and take all that are there.

        Args:
            timeout_s: how long to wait at most; 0 or less: do not wait.

        Returns:
            The bytes, and CLOCK_BOOTTIME in ns when the first of them had arrived: the time of
            reading, back-dated by the time that the others needed on the line, but never to before
            the previous read, which had left the line empty. No bytes: empty, and the time now.

        Raises:
            DeviceLostError: the device is gone.
        """
        with self._lost_on_error():
            ready = self._poll.poll(max(0.0, timeout_s) * 1000)
            data: bytes = self._serial.read(READ_BYTES) if ready else b""
        now_ns = boot_ns()
        byte_ns = 1e9 * BITS_PER_BYTE / self.baud
        first_ns = max(self.read_ns, now_ns - int(max(0, len(data) - 1) * byte_ns))
        self.read_ns = now_ns
        return data, first_ns

    def write(self, data: bytes) -> None:
        """Send bytes; returns when the last of them has left.

        Raises:
            DeviceLostError: the device is gone, or takes no bytes within `WRITE_S`.
        """
        with self._lost_on_error():
            self._serial.write(data)
            self._serial.flush()

    def set_baud(self, baud: int) -> None:
        """Change the speed; what came at the old one and was not read is thrown away.

        Raises:
            DeviceAbsentError: the port cannot have this speed.
            DeviceLostError: the device is gone.
        """
        try:
            with self._lost_on_error():
                self._serial.baudrate = baud
                self._serial.reset_input_buffer()
        except ValueError as error:
            raise DeviceAbsentError(f"{self.path}: {baud} baud: {error}") from error
        self.baud = baud
        self.read_ns = boot_ns()

    def close(self) -> None:
        """Release the port; may be called twice; never raises."""
        with contextlib.suppress(OSError, termios.error):
            self._serial.close()

    @contextlib.contextmanager
    def _lost_on_error(self) -> Iterator[None]:
        try:
            yield
        except (OSError, termios.error, TypeError) as error:
            # TypeError: pyserial's way to say that the port was closed under a read.
            raise DeviceLostError(f"{self.path}: the device is gone: {error}") from error


class Lines:
    r"""Cuts a stream of bytes into sentences: from a ``$`` to the next CR, LF or ``$``.

    Keeps the unfinished sentence for the next call. Binary between sentences is passed over; a
    ``$`` inside it begins a sentence that its checksum refuses later.

    Attributes:
        dropped: runs of bytes so far that were no sentence: without ``$``, or longer than
            `MOST_LINE_BYTES`.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self._partial = bytearray()
        self._partial_ns = 0
        self._passing = False  # the run under way is counted as dropped already

    @property
    def is_partial(self) -> bool:
        """Whether a sentence has begun and not ended."""
        return self._partial.startswith(b"$")

    def feed(
        self, data: bytes, boot_ns: int, end_boot_ns: int | None = None
    ) -> list[tuple[bytes, int]]:
        """Take the next bytes of the stream.

        Args:
            data: any number of bytes, cut anywhere.
            boot_ns: CLOCK_BOOTTIME of the first of them, in ns.
            end_boot_ns: of the last of them; None: as the first.

        Returns:
            The sentences that ended, without line ends, each with the boot time of its ``$``.
        """
        span_ns = 0 if end_boot_ns is None else end_boot_ns - boot_ns
        lines = []
        begin = 0
        for mark in _MARK.finditer(data):
            self._grow(data[begin : mark.start()])
            lines += self._end()
            begin = mark.end()
            if mark.group() == b"$":
                self._partial += b"$"
                self._partial_ns = boot_ns + span_ns * mark.start() // len(data)
        self._grow(data[begin:])
        return lines

    def _grow(self, data: bytes) -> None:
        if self._passing:
            return
        self._partial += data
        if len(self._partial) > MOST_LINE_BYTES:
            self._partial.clear()
            self._passing = True
            self.dropped += 1

    def _end(self) -> list[tuple[bytes, int]]:
        line = bytes(self._partial)
        self._partial.clear()
        self._passing = False
        if line.startswith(b"$"):
            return [(line, self._partial_ns)]
        if line:
            self.dropped += 1
        return []
