"""The descriptors of the USB camera. Source: USB Device Class Definition for Video Devices 1.0a."""

from __future__ import annotations

import struct
from dataclasses import dataclass

CLASS_INTERFACE = 0x24
HEADER, INPUT, OUTPUT, PROCESSING = 1, 2, 3, 5
STREAM_HEADER, MJPEG, MJPEG_FRAME, COLOUR = 1, 6, 7, 13
CAMERA, USB_STREAM = 0x0201, 0x0101
CLOCK_HZ = 48_000_000
PER_SECOND = 10_000_000  # units of 100 ns
BYTES_PER_PIXEL = 2  # more than any MJPEG picture has


@dataclass(frozen=True)
class Format:
    """What pictures a camera gives, all of them MJPEG.

    Args:
        sizes: in pixels, width and height.
        rates_hz: at each of them, the usual one first.
    """

    sizes: tuple[tuple[int, int], ...]
    rates_hz: tuple[int, ...]

    @property
    def intervals(self) -> tuple[int, ...]:
        """From one picture to the next, in units of 100 ns."""
        return tuple(PER_SECOND // rate_hz for rate_hz in self.rates_hz)

    def nearest(self, size: int, interval_100ns: int) -> tuple[int, int]:
        """Return the size (from 1) and interval that come nearest to what was wished."""
        wished = interval_100ns or self.intervals[0]
        nearest = min(self.intervals, key=lambda one: abs(one - wished))
        return min(max(size, 1), len(self.sizes)), nearest

    def most_bytes(self, size: int) -> int:
        """Return how long a picture of a size (from 1) can be."""
        width, height = self.sizes[size - 1]
        return width * height * BYTES_PER_PIXEL


def control_function() -> bytes:
    """Return what there is between lens and wire: a camera, its brightness, the stream."""
    camera = struct.pack("<BBHBBHHHB", INPUT, 1, CAMERA, 0, 0, 0, 0, 0, 2) + b"\0\0"
    brightness = struct.pack("<BBBHBHB", PROCESSING, 2, 1, 0, 2, 1, 0)
    stream = struct.pack("<BBHBBB", OUTPUT, 3, USB_STREAM, 0, 2, 0)
    parts = _part(camera) + _part(brightness) + _part(stream)
    head_bytes = 13
    head = struct.pack("<BHHIBB", HEADER, 0x0100, head_bytes + len(parts), CLOCK_HZ, 1, 1)
    return _part(head) + parts


def stream_function(form: Format, endpoint: int) -> bytes:
    """Return what comes over an endpoint."""
    frames = b"".join(_frame(form, size) for size in range(1, len(form.sizes) + 1))
    kind = _part(struct.pack("<BBBBBBBBB", MJPEG, 1, len(form.sizes), 1, 1, 0, 0, 0, 0))
    body = kind + frames + _part(bytes((COLOUR, 1, 1, 4)))
    head_bytes = 14
    head = struct.pack(
        "<BBHBBBBBBBB", STREAM_HEADER, 1, head_bytes + len(body), endpoint, 0, 3, 0, 0, 0, 1, 0
    )
    return _part(head) + body


def _frame(form: Format, size: int) -> bytes:
    width, height = form.sizes[size - 1]
    most_bytes = form.most_bytes(size)
    bits = (most_bytes * 8 * min(form.rates_hz), most_bytes * 8 * max(form.rates_hz))
    what = struct.pack("<BBBHHIII", MJPEG_FRAME, size, 0, width, height, *bits, most_bytes)
    # The shortest first, or the kernel takes that for the usual one.
    intervals = sorted(form.intervals)
    usual = form.intervals[0]
    return _part(what + struct.pack(f"<IB{len(intervals)}I", usual, len(intervals), *intervals))


def _part(body: bytes) -> bytes:
    return bytes((len(body) + 2, CLASS_INTERFACE)) + body
