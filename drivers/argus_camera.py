"""A CSI camera of an NVIDIA Jetson, behind its image processor: GStreamer's ``nvarguscamerasrc``.

Source: NVIDIA Jetson Linux Developer Guide, Accelerated GStreamer (nvarguscamerasrc, nvvidconv,
nvjpegenc). Not run on a Jetson yet; with ``device = "test"`` the same pipeline runs anywhere with
GStreamer's own test picture and encoder.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from typing import TYPE_CHECKING

from drivers import camera
from drivers.base import (
    BadSampleError,
    Device,
    DeviceAbsentError,
    DeviceLostError,
    Driver,
    Sample,
    WrongDeviceError,
)
from drivers.gst_stream import END_S, GstStream
from drivers.stamp_clock import StampClock

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from drivers.matroska import Block

TEST = "test"
#: The first frame comes within this time, or the camera's service hangs.
OPEN_S = 10.0
#: Frames of so long are held back at first: a pipeline's first one is late, and from it alone its
#: delay is not known.
LEARN_S = 0.5
#: `flip-method` by the turn to the right.
FLIPS = {0: 0, 90: 3, 180: 2, 270: 1}
TEST_FLIPS = {0: "identity", 90: "90r", 180: "180", 270: "90l"}


class ArgusCamera(Driver):
    """JPEG pictures; `frame` is numbered on the pipeline's grid of time, from 0 at `open`.

    A frame that is missing in it is `lost_sensor`: the sensor did not give it, or the pipeline
    had no room because this reader was late; it cannot be told which. The pipeline's times count
    from its start: a stamp is late by the least delay that a frame has had on its way.

    Args:
        device: number of the sensor, as text (`sensor-id`); or ``test``.
        rate_hz: frames per second.
        width: in pixels.
        height: in pixels.
        jpeg_quality: 1 to 100.
        rotation_deg: 0 to 270 in steps of 90, to the right.
        controls: properties of ``nvarguscamerasrc`` by name, such as
            ``{ exposuretimerange = "100000 5000000", wbmode = 1 }``.
    """

    kind = "argus_camera"
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
        rotation_deg: int = 0,
        controls: dict[str, float | str] | None = None,
    ) -> None:
        if not (device.isdecimal() or device == TEST):
            raise ValueError(f"device is {device!r}, allowed is a sensor's number, or {TEST!r}")
        if not 1 <= jpeg_quality <= 100:  # noqa: PLR2004 - in percent
            raise ValueError(f"jpeg_quality is {jpeg_quality}, allowed are 1 to 100")
        camera.check_size(width, height)
        if rotation_deg not in FLIPS:
            raise ValueError(f"rotation_deg is {rotation_deg}, allowed are 0, 90, 180 and 270")
        self.device = device
        self.rate_hz = rate_hz
        self._size = (width, height)
        self._jpeg_quality = jpeg_quality
        self._rotation_deg = rotation_deg
        self._controls = dict(controls or {})
        self._stream: GstStream | None = None
        self._held: deque[Block] = deque()
        self._is_learning = True
        self._stamp_ns = 0  # of the last frame
        self._clock = StampClock()
        self._grid = camera.FrameGrid(1e9 / rate_hz)
        self._lost = camera.Lost()
        self._taken = 0
        self._seen_s = 0.0

    def open(self) -> Device:
        """Start the pipeline and wait for its first frame."""
        self._clock, self._lost, self._taken = StampClock(), camera.Lost(), 0
        self._held, self._is_learning = deque(), True
        self._grid = camera.FrameGrid(1e9 / self.rate_hz)
        self._stream = GstStream(self._elements())
        try:
            first = self._stream.take(OPEN_S)
        except DeviceLostError as error:
            words = self._stream.words
            if any(one in words for one in ("negotiat", "caps", "link", "property")):
                wish = f"{self._size[0]}x{self._size[1]} at {self.rate_hz:g}/s"
                raise WrongDeviceError(f"{self._name}: does not do {wish}: {words}") from error
            raise DeviceAbsentError(f"{self._name}: {words}") from error
        if first is None:
            raise DeviceAbsentError(
                f"{self._name}: no frame within {OPEN_S:g} s; does its service hang? (sudo"
                " systemctl restart nvargus-daemon)"
            )
        self._arrived(first)
        return Device(model=self._source(), interface={"sensor": self.device})

    def read(self, timeout_s: float) -> Sample | None:
        """Wait for the next frame."""
        if self._stream is None:
            raise DeviceLostError(f"{self._name}: is not open")
        if self._is_learning or not self._held:
            block = self._stream.take(timeout_s)
            if block is not None:
                self._arrived(block)
            elif time.monotonic() - self._seen_s > (most_s := camera.stalled_s(self.rate_hz)):
                raise DeviceLostError(f"{self._name}: no frame for {most_s:g} s")
        if self._is_learning or not self._held:
            return None
        return self._sample(self._held.popleft())

    def measured(self) -> Mapping[str, object]:
        """Frames missing in the pipeline's times since it was opened."""
        return {"lost_sensor": self._lost.sensor}

    def finish(self) -> Sequence[Sample]:
        """Let the pipeline pass on what it holds and end."""
        if self._stream is None:
            raise DeviceLostError(f"{self._name}: is not open")
        self._stream.ask_to_end()
        deadline_s = time.monotonic() + END_S
        with contextlib.suppress(DeviceLostError):  # the end that it was asked for
            while (left_s := deadline_s - time.monotonic()) > 0:
                if (block := self._stream.take(left_s)) is not None:
                    self._arrived(block)
        samples: list[Sample] = []
        while self._held:
            with contextlib.suppress(BadSampleError):  # its number is missing
                samples.append(self._sample(self._held.popleft()))
        return samples

    def close(self) -> None:
        """End the pipeline."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    @property
    def _name(self) -> str:
        return f"sensor {self.device}"

    def _arrived(self, block: Block) -> None:
        self._seen_s = time.monotonic()
        self._clock.to_boot_ns(block.stamp_ns)
        self._held.append(block)
        self._is_learning = self._is_learning and len(self._held) < LEARN_S * self.rate_hz

    def _sample(self, block: Block) -> Sample:
        number = self._grid.number(block.stamp_ns)
        self._lost.sensor = number - self._taken
        self._taken += 1
        # Never back, when a lesser delay is found out.
        self._stamp_ns = max(self._clock.known_boot_ns(block.stamp_ns), self._stamp_ns + 1)
        shot = camera.Shot(number, self._stamp_ns, self._size)
        return camera.sample(shot, block.data, self._lost)

    def _source(self) -> str:
        return "videotestsrc" if self.device == TEST else "nvarguscamerasrc"

    def _elements(self) -> list[str]:
        """Return the pipeline up to the encoder."""
        controls = [f"{name}={value}" for name, value in self._controls.items()]
        width, height = self._size
        if self._rotation_deg % 180:
            width, height = height, width  # the sensor lies on its side
        rate = f"{round(self.rate_hz * 1000)}/1000"
        form = f"width={width},height={height},framerate={rate}"
        quality = f"quality={self._jpeg_quality}"
        if self.device == TEST:
            turn = f"video-direction={TEST_FLIPS[self._rotation_deg]}"
            return [
                *("videotestsrc", "is-live=true", *controls, "!", f"video/x-raw,{form}"),
                *("!", "videoflip", turn, "!", "jpegenc", quality),
            ]
        return [
            *("nvarguscamerasrc", f"sensor-id={self.device}", *controls),
            *("!", f"video/x-raw(memory:NVMM),format=NV12,{form}"),
            *("!", "nvvidconv", f"flip-method={FLIPS[self._rotation_deg]}"),
            *("!", "nvjpegenc", quality),
        ]
