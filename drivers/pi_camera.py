"""A CSI or USB camera through libcamera and picamera2, as JPEG pictures.

Source: picamera2 manual, sections on requests and metadata; libcamera's control list:
SensorTimestamp is the start of the exposure of the first row, in ns of CLOCK_BOOTTIME.

Not run on this project's bench yet. One request at a time is encoded in the reading thread, so
there is no queue: a frame that came while the last one was encoded shows as a gap in the numbers.
"""

from __future__ import annotations

import importlib
import time
from typing import TYPE_CHECKING, Any

from drivers import camera
from drivers.base import Device, DeviceAbsentError, DeviceLostError, Driver, Sample

if TYPE_CHECKING:
    from collections.abc import Sequence

#: libcamera does not tell an application that its camera died: it is silent for ever.
STALLED_S = 3.0


class PiCamera(Driver):
    """JPEG pictures; `frame` is numbered on the sensor's grid of time, from 0 at `open`.

    A camera that stalled can only be recovered by a new process: its library blocks for ever in
    every further call. So after `DeviceLostError` for a stall, `close` leaves the camera alone and
    a second `open` is refused.

    Args:
        device: the camera's number in libcamera's list, as text.
        rate_hz: frames per second, fixed for the sensor.
        width: in pixels.
        height: in pixels.
        jpeg_quality: 1 to 100.
    """

    kind = "pi_camera"
    ontology = "CompressedImage"
    rate_tolerance = 0.02
    fields = camera.FIELDS
    blob = camera.BLOB

    def __init__(
        self,
        *,
        device: str = "0",
        rate_hz: float = 10,
        width: int = 640,
        height: int = 480,
        jpeg_quality: int = 80,
    ) -> None:
        if not device.isdecimal():
            raise ValueError(f"device is {device!r}, allowed is a camera's number: 0, 1, ...")
        self.device = device
        self.rate_hz = rate_hz
        self._size = (width, height)
        self._jpeg_quality = jpeg_quality
        self._camera: Any = None
        self._encoder: Any = None
        self._grid = camera.FrameGrid(1e9 / rate_hz)
        self._seen_s = 0.0
        self._stalled = False

    def open(self) -> Device:
        """Find the camera, configure it to the fixed rate and start it."""
        if self._stalled:
            raise DeviceAbsentError(f"camera {self.device}: stalled; only a new process can use it")
        picamera2 = _library("picamera2")
        found = picamera2.Picamera2.global_camera_info()
        if int(self.device) >= len(found):
            names = ", ".join(f"{info['Num']}: {info['Model']}" for info in found) or "none"
            raise DeviceAbsentError(f"camera {self.device}: not there; libcamera finds {names}")
        try:
            self._start(picamera2.Picamera2(int(self.device)))
        except (RuntimeError, OSError) as error:  # what libcamera's binding raises
            raise DeviceAbsentError(f"camera {self.device}: {error}") from error
        self._encoder = _library("picamera2.encoders").JpegEncoder(q=self._jpeg_quality)
        self._grid = camera.FrameGrid(1e9 / self.rate_hz)
        self._seen_s = time.monotonic()
        info = found[int(self.device)]
        return Device(model=str(info["Model"]), interface={"libcamera": str(info["Id"])})

    def read(self, timeout_s: float) -> Sample | None:
        """Wait for the next frame and encode it."""
        try:
            request = self._camera.capture_request(wait=timeout_s)
        except TimeoutError as error:
            if time.monotonic() - self._seen_s < STALLED_S:
                return None
            self._stalled = True
            raise DeviceLostError(f"camera {self.device}: no frame for {STALLED_S} s") from error
        self._seen_s = time.monotonic()
        try:
            picture = self._encoder.encode_func(request, "main")
            exposed_ns = int(request.get_metadata()["SensorTimestamp"])
        finally:
            request.release()
        return camera.sample(self._grid.number(exposed_ns), exposed_ns, *self._size, picture)

    def finish(self) -> Sequence[Sample]:
        """Stop the camera; what it exposed since the last `read` is not recorded."""
        self._camera.stop()
        return ()

    def close(self) -> None:
        """Release the camera, unless it stalled."""
        opened, self._camera = self._camera, None
        if opened is not None and not self._stalled:
            opened.close()

    def _start(self, opened: Any) -> None:  # noqa: ANN401 - the library has no types
        self._camera = opened
        frame_us = round(1e6 / self.rate_hz)
        configuration = opened.create_video_configuration(
            main={"size": self._size, "format": "RGB888"},
            controls={"FrameDurationLimits": (frame_us, frame_us)},
        )
        opened.configure(configuration)
        opened.start()


def _library(name: str) -> Any:  # noqa: ANN401 - the library has no types
    """Import a part of picamera2, which comes with the system and not from PyPI."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise DeviceAbsentError(
            f"pi_camera needs picamera2 ({error}): sudo apt install python3-picamera2, and a"
            " virtual environment made with --system-site-packages"
        ) from error
