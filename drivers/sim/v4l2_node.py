"""A video node as `drivers.v4l2` sees one, in front of the camera model's socket.

It answers ioctl calls with what the Linux kernel's ``uvcvideo`` answers: it takes a wish for size
and rate and gives what the camera has, keeps buffers in a queue, numbers frames from the start of
the stream, marks those that came damaged, and answers ENODEV once the camera is pulled. The camera
itself, with its losses, is `drivers.sim.frames` at the other end, in another process if it likes.

What it does not simulate: formats other than MJPEG, more than the one size and rate of the camera,
memory other than mmap, a second program at the same node, and stamps of an unknown clock.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from drivers import v4l2_layout as layout
from drivers.sim.frame_wire import END, START, FrameClient
from drivers.stamp_clock import suspended_ns

if TYPE_CHECKING:
    from collections.abc import Callable

CARD, DRIVER, BUS = b"Model camera", b"model", b"socket"
VERSION = 6 << 16 | 1 << 8
MJPEG = layout.fourcc("MJPG")
BUFFER_BYTES = 4 << 20
_WRAP = 1 << 32
#: Identity, kind, name, least, most, step, usual; identities of linux/v4l2-controls.h.
CONTROLS = (
    (0x0098_0900, layout.CTRL_INTEGER, b"Brightness", -64, 64, 1, 0),
    (0x0098_0914, layout.CTRL_BOOLEAN, b"Horizontal Flip", 0, 1, 1, 0),
    (0x0098_0915, layout.CTRL_BOOLEAN, b"Vertical Flip", 0, 1, 1, 0),
    (0x009A_0901, layout.CTRL_MENU, b"Exposure, Auto", 0, 3, 1, 3),
    (0x009A_0902, layout.CTRL_INTEGER, b"Exposure Time, Absolute", 10, 5000, 10, 150),
)
_AUTOMATIC, _EXPOSURE = 0x009A_0901, 0x009A_0902
_MANUAL = 1


class ModelNode:
    """The node; `drivers.v4l2.Node` says what its methods are.

    Args:
        path: of the camera model's socket.
    """

    def __init__(self, path: str) -> None:
        self._client = FrameClient(path)
        try:
            camera = self._client.describe()
        except OSError:
            self._client.close()
            raise
        self._size = camera.size
        self._rate_per_1000_s = camera.number
        self._memory: list[bytearray] = []
        self._queued: list[int] = []
        self._first: int | None = None  # number of the stream's first frame
        self._values = {each[0]: each[6] for each in CONTROLS}
        self._calls: dict[int, Callable[[Any], None]] = {
            layout.QUERYCAP: self._capability,
            layout.ENUM_FMT: self._format,
            layout.S_FMT: self._set_format,
            layout.ENUM_FRAMESIZES: self._frame_size,
            layout.ENUM_FRAMEINTERVALS: self._frame_interval,
            layout.S_PARM: self._set_parameters,
            layout.QUERYCTRL: self._query_control,
            layout.S_CTRL: self._set_control,
            layout.REQBUFS: self._request_buffers,
            layout.QUERYBUF: self._query_buffer,
            layout.QBUF: self._queue,
            layout.DQBUF: self._dequeue,
            layout.STREAMON: lambda _: self._client.order(START),
            layout.STREAMOFF: lambda _: self._client.order(END),
        }

    def ioctl(self, request: int, argument: object) -> None:
        """Answer a call."""
        try:
            self._calls[request](argument)
        except KeyError:
            raise OSError(errno.ENOTTY, "not known to the model") from None
        except (ConnectionError, TimeoutError) as error:
            raise OSError(errno.ENODEV, "the camera was pulled") from error

    def map(self, length: int, offset: int) -> memoryview:
        """Return a buffer's memory; its offset is its place in the list."""
        return memoryview(self._memory[offset])[:length]

    def wait(self, timeout_s: float) -> bool:
        """Wait for a frame, or for the camera to be pulled."""
        return self._client.wait(timeout_s)

    def close(self) -> None:
        """Hang up."""
        self._client.close()

    def value(self, name: bytes) -> int:
        """Return what a control was set to."""
        return next(self._values[each[0]] for each in CONTROLS if each[2] == name)

    def _capability(self, asked: layout.Capability) -> None:
        asked.driver, asked.card, asked.bus_info, asked.version = DRIVER, CARD, BUS, VERSION
        asked.device_caps = layout.CAP_VIDEO_CAPTURE | layout.CAP_STREAMING
        asked.capabilities = asked.device_caps | layout.CAP_DEVICE_CAPS

    def _format(self, asked: layout.FormatDescription) -> None:
        _only(asked.index == 0)
        asked.description, asked.pixelformat = b"Motion-JPEG", MJPEG

    def _set_format(self, asked: layout.Format) -> None:
        asked.fmt.pix.width, asked.fmt.pix.height = self._size
        asked.fmt.pix.pixelformat, asked.fmt.pix.sizeimage = MJPEG, BUFFER_BYTES

    def _frame_size(self, asked: layout.FrameSize) -> None:
        _only(asked.index == 0 and asked.pixel_format == MJPEG)
        asked.type = layout.FRAME_DISCRETE
        asked.values[0], asked.values[1] = self._size

    def _frame_interval(self, asked: layout.FrameInterval) -> None:
        _only(asked.index == 0 and (asked.width, asked.height) == self._size)
        asked.type = layout.FRAME_DISCRETE
        asked.values[0] = layout.Fraction(1000, self._rate_per_1000_s)

    def _set_parameters(self, asked: layout.StreamParameters) -> None:
        asked.parm.capture.capability = layout.CAP_TIMEPERFRAME
        asked.parm.capture.timeperframe = layout.Fraction(1000, self._rate_per_1000_s)

    def _query_control(self, asked: layout.QueryControl) -> None:
        behind = asked.id & ~layout.CTRL_FLAG_NEXT
        left = [each for each in CONTROLS if each[0] > behind]
        _only(bool(left))
        fields = ("id", "type", "name", "minimum", "maximum", "step", "default_value")
        for name, value in zip(fields, left[0], strict=True):
            setattr(asked, name, value)

    def _set_control(self, asked: layout.Control) -> None:
        _only(asked.id in self._values)
        if asked.id == _EXPOSURE and self._values[_AUTOMATIC] != _MANUAL:
            raise OSError(errno.EACCES, "the automatic has it")
        self._values[asked.id] = asked.value

    def _request_buffers(self, asked: layout.RequestBuffers) -> None:
        self._memory = [bytearray(BUFFER_BYTES) for _ in range(asked.count)]

    def _query_buffer(self, asked: layout.Buffer) -> None:
        _only(asked.index < len(self._memory))
        asked.length, asked.m.offset = BUFFER_BYTES, asked.index

    def _queue(self, asked: layout.Buffer) -> None:
        _only(asked.index < len(self._memory) and asked.index not in self._queued)
        self._queued.append(asked.index)

    def _dequeue(self, asked: layout.Buffer) -> None:
        if not self._queued or not self._client.wait(0):
            raise OSError(errno.EAGAIN, "nothing there")
        frame = self._client.receive()
        if frame is None:
            raise OSError(errno.EINVAL, "the stream is off")
        self._first = frame.number if self._first is None else self._first
        asked.index = self._queued.pop(0)
        asked.sequence = (frame.number - self._first) % _WRAP
        asked.bytesused = len(frame.picture)
        self._memory[asked.index][: asked.bytesused] = frame.picture
        asked.flags = layout.BUF_FLAG_TIMESTAMP_MONOTONIC
        if bytes(frame.picture[-2:]) != b"\xff\xd9":  # a packet of it was lost on the wire
            asked.flags |= layout.BUF_FLAG_ERROR
        stamp_us = (frame.boot_ns - suspended_ns()) // 1000
        asked.timestamp.tv_sec, asked.timestamp.tv_usec = divmod(stamp_us, 1_000_000)


def _only(is_so: bool) -> None:
    if not is_so:
        raise OSError(errno.EINVAL, "there is no such thing")
