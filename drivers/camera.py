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
