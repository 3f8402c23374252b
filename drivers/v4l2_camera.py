"""A camera on USB (or any V4L2 node that gives MJPEG), pictures as it delivers them.

Source: Linux kernel, Media subsystem userspace API, part I, v4l2_buffer: `sequence` counts the
frames of the driver, lost ones included; the timestamp's clock is named in its flags.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import time
from typing import TYPE_CHECKING

from drivers import camera
from drivers import v4l2_layout as layout
from drivers.base import BadSampleError, Device, DeviceLostError, Driver, Sample, boot_ns
from drivers.stamp_clock import suspended_ns
from drivers.v4l2 import Node, capability, open_node, setting_up
from drivers.v4l2_setup import control_name, controls, set_controls, set_format, set_rate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from drivers.v4l2 import Argument

#: Frames that may wait for the reader: 0.27 s at 30 frames a second.
BUFFERS = 8
_HALF_TURN_DEG = 180


class V4l2Camera(Driver):
    """JPEG pictures; `frame` is the driver's own sequence number, from 0 at `open`.

    What the driver numbered and did not give is `lost_sensor`: it had no free buffer, or the frame
    was damaged on the wire. The driver does not tell which.

    Args:
        device: the node, ``/dev/video0`` or a link to it.
        rate_hz: frames per second.
        width: in pixels.
        height: in pixels.
        rotation_deg: 0 to 270 in steps of 90, by the camera's own control ``rotate``, or for 180
            by its two flips; nothing is decoded for it.
        controls: values by name, as ``v4l2-ctl --list-ctrls`` shows them; set in this order.
    """

    kind = "v4l2_camera"
    ontology = "CompressedImage"
    rate_tolerance = 0.05
    fields = camera.FIELDS
    blob = camera.BLOB

    def __init__(
        self,
        *,
        device: str = "/dev/video0",
        rate_hz: float = 10,
        width: int = 640,
        height: int = 480,
        rotation_deg: int = 0,
        controls: dict[str, int] | None = None,
    ) -> None:
        camera.check_size(width, height)
        if rotation_deg not in range(0, 360, 90):
            raise ValueError(f"rotation_deg is {rotation_deg}, allowed are 0, 90, 180 and 270")
        self.device = device
        self.rate_hz = rate_hz
        self._size = (width, height)
        self._rotation_deg = rotation_deg
        self._controls = dict(controls or {})
        self._node: Node | None = None
        self._views: list[memoryview] = []
        self._counter = camera.FrameCounter()
        self._next = 0  # the next frame's number
        self._lost = camera.Lost()
        self._seen_s = 0.0

    def open(self) -> Device:
        """Open the node, set size, rate and controls, and start the stream."""
        node = self._node = open_node(self.device)
        found = capability(node, self.device)
        set_format(node, self.device, *self._size)
        set_rate(node, self.device, self.rate_hz, *self._size)
        set_controls(node, self.device, {**self._controls, **self._turned(node)})
        with setting_up(self.device):
            self._start(node)
        self._counter, self._next, self._lost = camera.FrameCounter(), 0, camera.Lost()
        self._seen_s = time.monotonic()
        release = f"{found.version >> 16}.{found.version >> 8 & 255}.{found.version & 255}"
        return Device(
            model=found.card.decode(errors="replace"),
            firmware=release,
            interface={
                "node": self.device,
                "driver": found.driver.decode(errors="replace"),
                "bus": found.bus_info.decode(errors="replace"),
            },
        )

    def read(self, timeout_s: float) -> Sample | None:
        """Wait for the next frame."""
        buffer = self._dequeued(timeout_s)
        if buffer is None:
            most_s = camera.stalled_s(self.rate_hz)
            if time.monotonic() - self._seen_s > most_s:
                raise DeviceLostError(f"{self.device}: no frame for {most_s:g} s")
            return None
        self._seen_s = time.monotonic()
        # A copy, so that the driver has its buffer back before anything else is done.
        picture = bytes(self._views[buffer.index][: buffer.bytesused])
        self._queue(buffer.index)
        number = self._counter.number(buffer.sequence)
        self._lost.sensor += number - self._next
        self._next = number + 1
        if buffer.flags & layout.BUF_FLAG_ERROR:
            raise BadSampleError(f"frame {number}: marked as damaged by its driver")
        shot = camera.Shot(number, exposed_boot_ns(buffer), self._size)
        return camera.sample(shot, picture, self._lost)

    def measured(self) -> Mapping[str, object]:
        """Frames that the driver numbered and did not give since it was opened."""
        return {"lost_sensor": self._lost.sensor}

    def finish(self) -> Sequence[Sample]:
        """Take the frames that wait in the driver's buffers, then stop the stream."""
        samples: list[Sample] = []
        for _ in range(BUFFERS):
            with contextlib.suppress(BadSampleError):  # its number is missing in the recording
                sample = self.read(0)
                if sample is None:
                    break
                samples.append(sample)
        self._call(layout.STREAMOFF, ctypes.c_int(layout.VIDEO_CAPTURE))
        return samples

    def close(self) -> None:
        """Release the buffers and the node."""
        node, self._node, self._views = self._node, None, []
        if node is not None:
            node.close()

    def _turned(self, node: Node) -> dict[str, int]:
        """Return the controls that turn the picture."""
        if not self._rotation_deg:
            return {}
        with setting_up(self.device):
            has = {control_name(one) for one in controls(node)}
        flips = ("horizontal_flip", "vertical_flip")
        if self._rotation_deg == _HALF_TURN_DEG and "rotate" not in has and has.issuperset(flips):
            return dict.fromkeys(flips, 1)
        return {"rotate": self._rotation_deg}

    def _start(self, node: Node) -> None:
        asked = layout.RequestBuffers(
            count=BUFFERS, type=layout.VIDEO_CAPTURE, memory=layout.MEMORY_MMAP
        )
        node.ioctl(layout.REQBUFS, asked)
        for index in range(asked.count):
            buffer = _buffer(index)
            node.ioctl(layout.QUERYBUF, buffer)
            self._views.append(node.map(buffer.length, buffer.m.offset))
            node.ioctl(layout.QBUF, _buffer(index))
        node.ioctl(layout.STREAMON, ctypes.c_int(layout.VIDEO_CAPTURE))

    def _dequeued(self, timeout_s: float) -> layout.Buffer | None:
        buffer = _buffer(0)
        try:
            if not self._opened().wait(timeout_s):
                return None
            self._opened().ioctl(layout.DQBUF, buffer)
        except OSError as error:
            if error.errno == errno.EAGAIN:  # woken, and nothing there
                return None
            raise DeviceLostError(f"{self.device}: {error}") from error
        return buffer

    def _queue(self, index: int) -> None:
        self._call(layout.QBUF, _buffer(index))

    def _call(self, request: int, argument: Argument) -> None:
        try:
            self._opened().ioctl(request, argument)
        except OSError as error:
            raise DeviceLostError(f"{self.device}: {error}") from error

    def _opened(self) -> Node:
        if self._node is None:
            raise DeviceLostError(f"{self.device}: is not open")
        return self._node


def _buffer(index: int) -> layout.Buffer:
    return layout.Buffer(index=index, type=layout.VIDEO_CAPTURE, memory=layout.MEMORY_MMAP)


def exposed_boot_ns(buffer: layout.Buffer) -> int:
    """Return the boot time of a frame.

    If its driver does not name CLOCK_MONOTONIC, now is the best that is known: late by the time
    the frame waited.
    """
    if buffer.flags & layout.BUF_FLAG_TIMESTAMP_MASK != layout.BUF_FLAG_TIMESTAMP_MONOTONIC:
        return boot_ns()
    stamp = buffer.timestamp
    return int(stamp.tv_sec) * 1_000_000_000 + int(stamp.tv_usec) * 1_000 + suspended_ns()
