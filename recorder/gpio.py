"""An input line: a pin of a GPIO chip, by the kernel's character device, or a file.

Source: linux/gpio.h, the second version of the user interface (Linux 5.10 and newer): a line is
asked for with `GPIO_V2_GET_LINE_IOCTL` on the chip, which gives a descriptor of its own; on that
`GPIO_V2_LINE_GET_VALUES_IOCTL` tells the level, and reading gives edges as they came. So a press
that is shorter than the time between two looks is seen all the same. Of a file (``file:/path``)
only the level is seen: the number that it holds, 0 or another. One ``*`` in its path stands for
what changes from boot to boot, such as the number of a hwmon. Nothing here waits: the commit's own
loop looks at the lines.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
import struct
from pathlib import Path
from typing import Protocol

from recorder.errors import RecorderError

_SPEC = re.compile(r"(/dev/[A-Za-z0-9/_-]+):([0-9]{1,4})")
_FILE = "file:"

#: _IOWR(0xB4, 0x07, struct gpio_v2_line_request) and _IOWR(0xB4, 0x0E, struct gpio_v2_line_values).
_GET_LINE, _GET_VALUES = 0xC250B407, 0xC010B40E
#: offsets[64], consumer[32], config (flags, num_attrs, padding[5], attrs[10] of 24 bytes),
#: num_lines, event_buffer_size, padding[5], fd.
_REQUEST = struct.Struct("=64I32sQI20x240xII20xi")
_VALUES = struct.Struct("=QQ")
#: timestamp_ns, id, offset, seqno, line_seqno, padding[6].
_EVENT = struct.Struct("=QIIII24x")
_ACTIVE_LOW, _INPUT, _EDGE_RISING = 1 << 1, 1 << 2, 1 << 4
_CONSUMER = b"recorder"
_EVENTS = 16
#: No number is longer, and a device may have no end.
_NUMBER_BYTES = 64


class Line(Protocol):
    """An input that is active or not."""

    def read(self) -> bool:
        """Tell whether it is active, or was since the last call.

        Raises:
            OSError: it cannot be read.
        """

    def close(self) -> None:
        """Let go of it; may be called twice."""


class GpioLine:
    """A pin of a GPIO chip.

    Args:
        chip: the chip's device.
        offset: the pin's number on it.
        active_low: whether it means it when it is 0.

    Raises:
        OSError: there is no such chip or pin, or somebody else has it.
    """

    def __init__(self, chip: Path, offset: int, *, active_low: bool) -> None:
        flags = _INPUT | _EDGE_RISING | (_ACTIVE_LOW if active_low else 0)
        raw = bytearray(_request(offset, flags))
        descriptor = os.open(chip, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.ioctl(descriptor, _GET_LINE, raw)
        finally:
            os.close(descriptor)
        self._file = _REQUEST.unpack(raw)[-1]
        os.set_blocking(self._file, False)

    def read(self) -> bool:
        """Tell whether it is active, or became so since the last call."""
        try:
            edges = len(os.read(self._file, _EVENTS * _EVENT.size)) // _EVENT.size
        except BlockingIOError:
            edges = 0
        raw = bytearray(_VALUES.pack(0, 1))
        fcntl.ioctl(self._file, _GET_VALUES, raw)
        return edges > 0 or bool(_VALUES.unpack(raw)[0] & 1)

    def close(self) -> None:
        """Give the pin back; may be called twice."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


class FileLine:
    """A file that holds a number, such as those of the kernel's drivers in ``/sys``.

    Args:
        path: the file, a regular one (all of ``/sys`` are) or a character device; it is opened at
            each look.
        active_low: whether it means it when it is 0.
    """

    def __init__(self, path: Path, *, active_low: bool) -> None:
        self._path = path
        self._active_low = active_low

    def read(self) -> bool:
        """Tell whether it is active now.

        Raises:
            OSError: it cannot be read without waiting for somebody, such as a pipe; or it is empty,
                as a file is while somebody writes it anew.
        """
        number = read_number(self._path).strip()
        if not number:
            raise OSError(errno.ENODATA, "holds no number", str(self._path))
        return (number != b"0") != self._active_low

    def close(self) -> None:
        """Nothing is open."""


def read_number(path: Path) -> bytes:
    """Return what a file with a number holds.

    Args:
        path: a regular file or a character device; a ``*`` in it stands for one name.

    Raises:
        OSError: it cannot be read without waiting for somebody, such as a pipe.
    """
    if "*" in str(path):
        path = next(Path(path.anchor).glob(str(path.relative_to(path.anchor))), path)
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        mode = os.fstat(descriptor).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISCHR(mode)):
            told = "must be a regular file or a character device"
            raise OSError(errno.EINVAL, told, str(path))
        return os.read(descriptor, _NUMBER_BYTES)
    finally:
        os.close(descriptor)


def check_line(spec: str) -> None:
    """Check how a line is named; nothing is opened.

    Raises:
        RecorderError: it is neither ``/dev/gpiochip0:17`` nor ``file:/path``.
    """
    is_file = spec.startswith(f"{_FILE}/")
    if not is_file and not _SPEC.fullmatch(spec):
        raise RecorderError(f"{spec!r}: must be such as '/dev/gpiochip0:17' or 'file:/path'")


def open_line(spec: str, *, active_low: bool = False) -> Line:
    """Open a line.

    Args:
        spec: ``/dev/gpiochip0:17`` or ``file:/path``.
        active_low: whether it means it when it is 0.

    Raises:
        RecorderError: it is named neither way.
        OSError: it is not there, or somebody else has it.
    """
    check_line(spec)
    pin = _SPEC.fullmatch(spec)
    if pin is None:
        return FileLine(Path(spec.removeprefix(_FILE)), active_low=active_low)
    return GpioLine(Path(pin[1]), int(pin[2]), active_low=active_low)


def _request(offset: int, flags: int) -> bytes:
    offsets = [offset, *[0] * 63]
    return _REQUEST.pack(*offsets, _CONSUMER, flags, 0, 1, _EVENTS, -1)
