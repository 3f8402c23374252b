"""What every camera's driver gives: one row about a frame, and behind it the picture as it came."""

from __future__ import annotations

import struct
import zlib

from drivers.base import BadSampleError, Field, Sample

#: The columns of a row; `frame` is the device's own running number, `crc32` of the picture's bytes.
FIELDS = (
    Field("frame", "<u8", "1"),
    Field("crc32", "<u4", "1"),
    Field("width", "<u2", "px"),
    Field("height", "<u2", "px"),
)
ROW = struct.Struct("<QIHH")
BLOB = "jpeg"
JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"


def sample(
    number: int, boot_ns: int, width: int, height: int, picture: bytes | bytearray | memoryview
) -> Sample:
    """Make a sample of a picture, without copying it.

    Args:
        number: running number of the frame, by the device.
        boot_ns: when it was exposed.
        width: in pixels.
        height: in pixels.
        picture: a whole JPEG file.

    Raises:
        BadSampleError: it is no JPEG or not whole. It costs no sample beyond what the gap in the
            numbers says.
    """
    if bytes(picture[:2]) != JPEG_START or bytes(picture[-2:]) != JPEG_END:
        raise BadSampleError(f"frame {number}: {len(picture)} bytes that are no whole JPEG", 0)
    row = ROW.pack(number, zlib.crc32(picture), width, height)
    return Sample(boot_ns=boot_ns, rows=1, payload=(row, picture), counter=number)


class FrameGrid:
    """Numbers frames of a camera that has no number of its own, by their times.

    A sensor exposes on a steady grid, so the frames missing between two are
    round(difference / period) - 1. Differences are taken from frame to frame: no drift adds up.

    Args:
        period_ns: time from frame to frame.
    """

    def __init__(self, period_ns: float) -> None:
        self._period_ns = period_ns
        self._number = 0
        self._last_ns: int | None = None

    def number(self, boot_ns: int) -> int:
        """Return the number of the frame exposed at this time; the first is 0."""
        if self._last_ns is not None:
            self._number += max(1, round((boot_ns - self._last_ns) / self._period_ns))
        self._last_ns = boot_ns
        return self._number
