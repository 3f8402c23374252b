"""What every camera's driver gives: one row about a frame, and behind it the picture as it came.

`Lost` tells apart where frames were lost before they reached the lane, which knows only that their
numbers are missing; the ring's own losses are counted by the lane.
"""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import dataclass

from drivers.base import BadSampleError, Field, Sample

#: A whole number that is not known.
UNKNOWN = 0xFFFF_FFFF
#: The columns of a row. `frame` is the device's own running number, `crc32` of the picture's bytes,
#: `key` is 1 for a picture that needs no other to be shown (every JPEG), `lost_*` are counts since
#: the device was opened.
FIELDS = (
    Field("frame", "<u8", "1"),
    Field("crc32", "<u4", "1"),
    Field("width", "<u2", "px"),
    Field("height", "<u2", "px"),
    Field("key", "<u1", "1", least=0, most=1),
    Field("exposure", "<u4", "us", null=UNKNOWN),
    Field("gain", "<f4", "1", least=0),
    Field("lens_position", "<f4", "1/m", least=0),
    Field("frame_duration", "<u4", "us", null=UNKNOWN),
    Field("lost_sensor", "<u4", "1"),
    Field("lost_late", "<u4", "1"),
    Field("lost_encoder", "<u4", "1"),
)
ROW = struct.Struct("<QIHHBIffIIII")
BLOB = "jpeg"
#: Widths and heights; a row has 16 bits for each.
SIZES_PX = range(16, 65_536)
JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"
#: A camera gives no frame for so long, and for so many periods: it is dead, whatever its library
#: says or does not say.
STALLED_S, STALLED_PERIODS = 3.0, 3
_WRAP = 1 << 32


@dataclass
class Lost:
    """Frames lost before they became samples, since the device was opened.

    Args:
        sensor: never came out of the sensor, or out of its driver.
        late: came, and were not taken in time.
        encoder: went into the encoder and did not come out.
    """

    sensor: int = 0
    late: int = 0
    encoder: int = 0


@dataclass(frozen=True)
class Shot:
    """What a device says of one frame.

    Args:
        number: running number of the frame, by the device.
        boot_ns: when its first row was exposed.
        size: width and height in pixels.
        is_key: whether it can be shown without the frames before it.
        exposure_us: exposure time in us, or `UNKNOWN`.
        gain: analogue gain as a factor; NaN: not known.
        lens_position: distance of focus in 1/m; NaN: not known.
        frame_duration_us: time from frame to frame in us, or `UNKNOWN`.
    """

    number: int
    boot_ns: int
    size: tuple[int, int]
    is_key: bool = True
    exposure_us: int = UNKNOWN
    gain: float = math.nan
    lens_position: float = math.nan
    frame_duration_us: int = UNKNOWN


def stalled_s(rate_hz: float) -> float:
    """Return after how many seconds without a frame a camera of this rate is dead."""
    return max(STALLED_S, STALLED_PERIODS / rate_hz)


def sample(shot: Shot, picture: memoryview | bytes, lost: Lost, kind: str = BLOB) -> Sample:
    """Make a sample of a picture, without copying it.

    Args:
        shot: what the device says of it.
        picture: its bytes; zeros behind a JPEG's end are left out.
        lost: counts so far.
        kind: ``jpeg``, or ``h264`` in byte-stream form.

    Raises:
        BadSampleError: it is not whole.
    """
    whole = _whole_jpeg(picture) if kind == BLOB else _unit(picture)
    if whole is None:
        found = f"{len(picture)} bytes that are no whole {kind.upper()}"
        raise BadSampleError(f"frame {shot.number}: {found}")
    row = ROW.pack(
        shot.number,
        zlib.crc32(whole),
        *shot.size,
        shot.is_key,
        shot.exposure_us,
        shot.gain,
        shot.lens_position,
        shot.frame_duration_us,
        lost.sensor,
        lost.late,
        lost.encoder,
    )
    return Sample(boot_ns=shot.boot_ns, rows=1, payload=(row, whole), counter=shot.number)


def _whole_jpeg(picture: memoryview | bytes) -> memoryview | bytes | None:
    if bytes(picture[:2]) != JPEG_START:
        return None
    if bytes(picture[-2:]) == JPEG_END:
        return picture
    # Some cameras fill their buffers up with zeros and call them used.
    kept = len(bytes(picture).rstrip(b"\0"))
    return picture[:kept] if bytes(picture[:kept][-2:]) == JPEG_END else None


def _unit(picture: memoryview | bytes) -> memoryview | bytes | None:
    """Return an access unit if it begins with a start code (ITU-T H.264, annex B)."""
    return picture if bytes(picture[:4]).startswith((b"\0\0\1", b"\0\0\0\1")) else None


def check_size(width: int, height: int) -> None:
    """Refuse pictures that no camera has.

    Raises:
        ValueError: the text begins with the option.
    """
    for name, pixels in (("width", width), ("height", height)):
        if pixels not in SIZES_PX:
            raise ValueError(
                f"{name} is {pixels}, allowed are {SIZES_PX.start} to {SIZES_PX.stop - 1}"
            )


class FrameCounter:
    """Numbers frames by their driver's own count, which has 32 bits; the first may be any.

    What the driver counted and did not give is missing between two numbers.
    """

    def __init__(self) -> None:
        self._number = -1
        self._ahead = 0  # of the driver's own

    def number(self, sequence: int) -> int:
        """Return the number of the frame to which the driver's count had come."""
        missing = (sequence + self._ahead - self._number - 1) % _WRAP
        if missing > _WRAP // 2:
            # It went back: the stream was begun anew below us. What that cost shows by time only.
            self._ahead, missing = self._number + 1 - sequence, 0
        self._number += missing + 1
        return self._number


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

    def number(self, stamp_ns: int) -> int:
        """Return the number of the frame exposed at this time; the first is 0."""
        if self._last_ns is not None:
            self._number += max(1, round((stamp_ns - self._last_ns) / self._period_ns))
        self._last_ns = stamp_ns
        return self._number
