"""A USB camera (UVC 1.0, MJPEG over a bulk endpoint): the kernel makes it a real ``/dev/videoN``.

It takes its pictures by its own clock as long as it has power, shows their number in them, and
writes down what became of each. What it does not simulate: isochronous streaming (most cameras on
the market), uncompressed pictures, still pictures, exposure, and the clock that UVC can send along.
Source: USB Device Class Definition for Video Devices 1.0a, and its MJPEG payload.
"""

from __future__ import annotations

import itertools
import random
import struct
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hil.usb.device import (
    CLASS,
    HIGH_SPEED,
    KIND_BITS,
    Setup,
    UsbDevice,
    bulk,
    interface,
    whole,
)
from hil.usb.uvc_layout import Format, control_function, stream_function

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SET_CURRENT, GET_LENGTH, GET_INFORMATION = 0x01, 0x85, 0x86
GET_CURRENT, GET_LEAST, GET_MOST, GET_STEP, GET_USUAL = 0x81, 0x82, 0x83, 0x84, 0x87
PROBE, COMMIT = 1, 2
CLEAR_FEATURE_OF_ENDPOINT = (0x02, 0x01)
STREAM = 1  # interface and endpoint
PACKET_BYTES, PAYLOAD_BYTES, HEAD_BYTES = 512, 16_384, 2
FRAME_ID, END, BROKEN, HEAD_END = 0x01, 0x02, 0x40, 0x80
_PROBE = struct.Struct("<HBBIHHHHHII")
#: The one control that it has: entity, selector, and least, most, step, usual.
BRIGHTNESS = (2, 2)
BRIGHTNESS_VALUES = {GET_LEAST: 0, GET_MOST: 255, GET_STEP: 1, GET_USUAL: 128}
SETTABLE = 3
SENT, DAMAGED, LOST, DROPPED = "sent", "damaged", "lost", "dropped"


@dataclass(frozen=True)
class Frame:
    """What became of one picture.

    Args:
        number: as the picture shows it, from 0.
        fate: `SENT`; `DAMAGED`: sent with the mark that it is broken; `LOST`: its begin and end
            came over, nothing between; `DROPPED`: the host did not fetch the one before in time.
    """

    number: int
    fate: str


class Uvc(UsbDevice):
    """The camera.

    Args:
        draw: gives the JPEG file of a picture, by width, height and number.
        sizes: in pixels, width and height.
        rates_hz: frames per second at each of them, the usual one first.
        serial_number: by which udev tells it from another one.

    Attributes:
        frames: what became of every picture since a host streams.
    """

    vendor_id, product_id = 0x1209, 0x5543
    speed = HIGH_SPEED
    device_class = (239, 2, 1)

    def __init__(
        self,
        draw: Callable[[int, int, int], bytes],
        sizes: Sequence[tuple[int, int]] = ((320, 240), (640, 480)),
        rates_hz: Sequence[int] = (10, 15, 30),
        serial_number: str = "bench-camera",
    ) -> None:
        super().__init__()
        self.strings = ("bench", "UVC camera", serial_number)
        self.frames: list[Frame] = []
        self._draw = draw
        self._format = Format(tuple(sizes), tuple(rates_hz))
        self._wish = self._state = (1, self._format.intervals[0])  # size from 1, 100 ns
        self._brightness = BRIGHTNESS_VALUES[GET_USUAL]
        self._queue: deque[bytes] = deque()
        self._number = itertools.count()
        self._frame_id = 0
        self._thread: threading.Thread | None = None
        self._turn = 0  # of streaming: a thread of an older one ends
        self._stalled_until_s = 0.0
        self._spoil = {DAMAGED: 0.0, LOST: 0.0}
        self._dice = random.Random(0)

    def configuration(self) -> bytes:
        """Return the configuration descriptor: control and streaming."""
        group = bytes((8, 11, 0, 2, 14, 3, 0, 2))  # both interfaces are one function
        control = interface(0, 0, (14, 1, 0), 2) + control_function()
        stream = interface(STREAM, 1, (14, 2, 0)) + stream_function(self._format, 0x80 | STREAM)
        return whole(2, group + control + stream + bulk(0x80 | STREAM, PACKET_BYTES), power=250)

    def control(self, setup: Setup) -> bytes | None:
        """Answer any control request; a host that stops streaming clears the endpoint."""
        if (setup.kind, setup.request) == CLEAR_FEATURE_OF_ENDPOINT:
            self._stop()
        return super().control(setup)

    def requested(self, setup: Setup) -> bytes | None:
        """Answer a request of the class."""
        if setup.kind & KIND_BITS != CLASS:
            return None
        face, entity, selector = setup.index & 0xFF, setup.index >> 8, setup.value >> 8
        if face == STREAM and selector in (PROBE, COMMIT):
            return self._negotiated(setup, selector)
        return self._brightened(setup) if (entity, selector) == BRIGHTNESS else None

    def wanted(self, endpoint: int) -> None:
        """Give the host what waits for it."""
        self._flush()

    def unplugged(self) -> None:
        """Stop taking pictures."""
        self._stop()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def stall(self, seconds: float) -> None:
        """Give no picture for so long, and say nothing of it."""
        with self.lock:
            self._stalled_until_s = time.monotonic() + seconds

    def spoil(self, fate: str, share: float) -> None:
        """Let a share of the pictures be `DAMAGED` or `LOST` at random, 0 to 1."""
        with self.lock:
            self._spoil[fate] = share

    def count(self, fate: str) -> int:
        """Return how many pictures had a fate."""
        with self.lock:
            return sum(one.fate == fate for one in self.frames)

    def _negotiated(self, setup: Setup, selector: int) -> bytes | None:
        if setup.request == SET_CURRENT:
            _, _, size, interval_100ns = struct.unpack_from("<HBBI", setup.data)
            self._wish = self._format.nearest(size, interval_100ns)
            if selector == COMMIT:
                self._state = self._wish
                self._begin()
            return b""
        if setup.request == GET_LENGTH:
            return struct.pack("<H", _PROBE.size)
        if setup.request == GET_INFORMATION:
            return bytes((SETTABLE,))
        size, interval_100ns = self._wish
        most_bytes = self._format.most_bytes(size)
        return _PROBE.pack(1, 1, size, interval_100ns, 0, 0, 0, 0, 0, most_bytes, PAYLOAD_BYTES)

    def _brightened(self, setup: Setup) -> bytes:
        if setup.request == SET_CURRENT:
            self._brightness = int.from_bytes(setup.data[:2], "little")
            return b""
        if setup.request in (GET_LENGTH, GET_INFORMATION):
            return struct.pack("<H", 2) if setup.request == GET_LENGTH else bytes((SETTABLE,))
        values = {**BRIGHTNESS_VALUES, GET_CURRENT: self._brightness}
        return struct.pack("<H", values.get(setup.request, 0))

    def _begin(self) -> None:
        self._stop()
        self._thread = threading.Thread(target=self._film, args=(self._turn,), daemon=True)
        self._thread.start()

    def _stop(self) -> None:
        with self.lock:
            self._turn += 1
            self._queue.clear()

    def _film(self, turn: int) -> None:
        size, interval_100ns = self._state
        due_s, pause = time.monotonic(), threading.Event()
        while True:
            due_s += interval_100ns / 1e7
            pause.wait(max(0.0, due_s - time.monotonic()))
            number = next(self._number)
            picture = self._draw(*self._format.sizes[size - 1], number)
            with self.lock:
                if turn != self._turn:
                    return
                if time.monotonic() >= self._stalled_until_s:
                    self.frames.append(Frame(number, self._put(picture)))
                    self._flush()

    def _put(self, picture: bytes) -> str:
        """Queue a picture for the host, and return its fate."""
        if self._queue:
            return DROPPED
        roll = self._dice.random()
        fate = DAMAGED if roll < self._spoil[DAMAGED] else SENT
        if self._spoil[DAMAGED] <= roll < self._spoil[DAMAGED] + self._spoil[LOST]:
            fate, picture = LOST, b""
        self._frame_id ^= FRAME_ID
        mark = HEAD_END | self._frame_id | (BROKEN if fate == DAMAGED else 0)
        step = PAYLOAD_BYTES - HEAD_BYTES
        for at in range(0, max(len(picture), 1), step):
            last = END if at + step >= len(picture) else 0
            self._queue.append(bytes((HEAD_BYTES, mark | last)) + picture[at : at + step])
        return fate

    def _flush(self) -> None:
        while self._queue and self.send(STREAM, self._queue[0]):
            self._queue.popleft()
