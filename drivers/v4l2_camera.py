"""A camera on USB (or any V4L2 node that gives MJPEG), pictures as it delivers them.

Source: Linux kernel, Media subsystem userspace API, part I (Video for Linux API), v4l2_buffer:
`sequence` counts the frames of the driver, lost ones included; the timestamp's clock is named in
its flags. Not run on this project's bench yet.
"""

from __future__ import annotations

import contextlib
import errno
import time
from typing import TYPE_CHECKING, Any

from linuxpy.video.device import BufferFlag, PixelFormat, V4L2Error, VideoCapture
from linuxpy.video.device import Device as VideoDevice

from drivers import camera
from drivers.base import (
    BadSampleError,
    Device,
    DeviceAbsentError,
    DeviceLostError,
    Driver,
    Sample,
    WrongDeviceError,
    boot_ns,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

BUFFERS = 4
TIMESTAMP_CLOCK = 0xE000  # V4L2_BUF_FLAG_TIMESTAMP_MASK


class V4l2Camera(Driver):
    """JPEG pictures; `frame` is the driver's own sequence number, from 0 at `open`.

    Args:
        device: the node, ``/dev/video0`` or a link to it.
        rate_hz: frames per second to ask for.
        width: in pixels.
        height: in pixels.
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
    ) -> None:
        self.device = device
        self.rate_hz = rate_hz
        self._size = (width, height)
        self._video: Any = None
        self._capture: Any = None

    def open(self) -> Device:
        """Open the node, ask for MJPEG of the wanted size and rate, and start the stream."""
        self._video = VideoDevice(self.device)
        try:
            self._video.open()
            self._capture = VideoCapture(self._video, size=BUFFERS)
            self._configure()
            self._capture.open()
        except OSError as error:
            if error.errno in (errno.ENOTTY, errno.EINVAL):
                raise WrongDeviceError(f"{self.device}: no camera of V4L2 ({error})") from error
            raise DeviceAbsentError(f"{self.device}: {error}") from error
        except V4L2Error as error:
            raise WrongDeviceError(f"{self.device}: {error}") from error
        info = self._video.info
        return Device(
            model=str(info.card),
            firmware=str(info.version),
            interface={"node": self.device, "driver": str(info.driver), "bus": str(info.bus_info)},
        )

    def read(self, timeout_s: float) -> Sample | None:
        """Wait for the next frame."""
        try:
            frame = self._capture.buffer.frame_reader.read(timeout_s)
        except OSError as error:
            raise DeviceLostError(f"{self.device}: {error}") from error
        if frame is None:
            return None
        if frame.buff.flags & BufferFlag.ERROR:
            raise BadSampleError(f"frame {frame.buff.sequence}: marked as damaged by its driver", 0)
        stamp = frame.buff.timestamp
        stamp_ns = stamp.secs * 1_000_000_000 + stamp.usecs * 1_000
        exposed_ns = to_boot_ns(stamp_ns, frame.buff.flags)
        return camera.sample(frame.buff.sequence, exposed_ns, *self._size, frame.data)

    def finish(self) -> Sequence[Sample]:
        """Take the frames that wait in the driver's buffers, then stop the stream."""
        samples: list[Sample] = []
        for _ in range(BUFFERS):
            with contextlib.suppress(BadSampleError):  # its number is missing: the lane counts it
                sample = self.read(0)
                if sample is None:
                    break
                samples.append(sample)
        self._capture.stream_off()
        return samples

    def close(self) -> None:
        """Release the node."""
        video, self._video, self._capture = self._video, None, None
        if video is not None:
            with contextlib.suppress(OSError):  # it was pulled
                video.close()

    def _configure(self) -> None:
        width, height = self._size
        self._capture.set_format(width, height, "MJPG")
        got = self._capture.get_format()
        if (got.width, got.height, got.pixel_format) != (width, height, PixelFormat.MJPEG):
            offered = ", ".join(sorted({_text(kind) for kind in self._video.info.frame_types}))
            raise WrongDeviceError(
                f"{self.device}: gives {got.width}x{got.height} {got.pixel_format.name}, not"
                f" {width}x{height} MJPEG; it offers {offered}"
            )
        self._capture.set_fps(self.rate_hz)


def to_boot_ns(stamp_ns: int, flags: int) -> int:
    """Convert a buffer's time to CLOCK_BOOTTIME.

    Args:
        stamp_ns: the driver's timestamp.
        flags: the buffer's flags. If they do not name CLOCK_MONOTONIC, now is the best that is
            known: late by the time the frame waited.
    """
    if flags & TIMESTAMP_CLOCK != BufferFlag.TIMESTAMP_MONOTONIC:
        return boot_ns()
    # The clocks differ by the time spent suspended; read in this order the result is never early.
    monotonic_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    return stamp_ns + boot_ns() - monotonic_ns


def _text(kind: Any) -> str:  # noqa: ANN401 - the library has no types
    return f"{kind.width}x{kind.height} {kind.pixel_format.name}"
