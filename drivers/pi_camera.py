"""A CSI or USB camera through libcamera and picamera2, as JPEG pictures or as H.264.

Source: picamera2's manual and its code (requests, encoders, `process_requests`); libcamera's
control list, and its pipeline handlers (what `FrameMetadata.sequence` counts in each).

What picamera2 leaves to its user, and what is done here:

- An encoder sees every frame, `capture_request` only the newest: pictures come from an encoder, and
  each frame is noted before it goes in. A loss is the sensor's, the encoder's or the reader's.
- A camera that compresses itself (USB) is not encoded again; its buffer is as long as its largest
  picture and is cut to the bytes used.
- Its frames have the numbers that the kernel gave them, and damaged ones are kept by the kernel;
  behind one of these they come out of order (`drivers.frame_order`). Their times say when they came
  over the bus, too unsteadily to count by. Behind an ISP it is the other way round: the times are
  the sensor's, and a buffer's number counts what the ISP gave.
- When a camera dies, no call says so, and every further call into the library may block for ever,
  `stop` among them. After `camera.stalled_s` without a frame it is dead, and only a new process can
  use it; every call that may block has an end.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import time
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from drivers import camera
from drivers.base import (
    BadSampleError,
    Device,
    DeviceAbsentError,
    DeviceLostError,
    Driver,
    Sample,
    StuckDeviceError,
)
from drivers.bounded import call_within
from drivers.encoded_frames import EncodedFrames
from drivers.frame_order import FrameOrder
from drivers.picamera2_library import MAIN, RAISED, Library, library
from drivers.picamera2_setup import BUFFERS, configure, set_controls, shot
from drivers.stamp_clock import StampClock

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

OPEN_S, STOP_S = 10.0, 2.0
#: Bits per pixel of the hardware's MJPEG at quality 100: picamera2's table of bit rates for its
#: software qualities 35 to 80 is this times the quality.
BITS_PER_PIXEL = 1.0
H264_BITS_PER_PIXEL = 0.1
MOST_BPS = 100_000_000
#: Largest width and height of a Pi's hardware encoder (bcm2835-codec).
HARDWARE_PX = 1920
#: Longest time between two key frames.
MOST_KEY_S = 60.0
_HALF_TURN_DEG = 180


class _Compressed(NamedTuple):
    stamp_ns: int
    shot: camera.Shot
    picture: memoryview


class PiCamera(Driver):
    """Pictures; `frame` is numbered from `open` on.

    By the sensor's grid of time, and by the kernel's count where the camera compresses itself.

    Args:
        device: the camera's number in libcamera's list, as text; or ``unix:PATH`` of the camera
            model that listens there.
        rate_hz: frames per second, fixed for the sensor.
        width: in pixels, even.
        height: in pixels, even.
        encoding: ``jpeg``, or ``h264`` (in byte-stream form, headers before each key frame).
        jpeg_quality: 1 to 100.
        bitrate_bps: of H.264, in bit/s; 0: by size and rate.
        key_interval_s: time between two key frames of H.264, in s.
        rotation_deg: 0 or 180, by the sensor.
        controls: libcamera's controls by name, such as ``{ ExposureTime = 5000 }`` (us).
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
        encoding: Literal["jpeg", "h264"] = "jpeg",
        jpeg_quality: int = 80,
        bitrate_bps: int = 0,
        key_interval_s: float = 1.0,
        rotation_deg: int = 0,
        controls: dict[str, float | bool] | None = None,
    ) -> None:
        self._refuse(device, width, height, jpeg_quality, rotation_deg)
        if not 0 <= bitrate_bps <= MOST_BPS:
            raise ValueError(f"bitrate_bps is {bitrate_bps}, allowed are 0 to {MOST_BPS:,}")
        if not 0 < key_interval_s <= MOST_KEY_S:
            raise ValueError(
                f"key_interval_s is {key_interval_s:g}, allowed are 0 to {MOST_KEY_S:g}"
            )
        self.device = device
        self.rate_hz = rate_hz
        self.blob = encoding
        self._size = (width, height)
        self._jpeg_quality = jpeg_quality
        self._bitrate_bps = bitrate_bps or round(H264_BITS_PER_PIXEL * width * height * rate_hz)
        self._key_frames = max(1, round(key_interval_s * rate_hz))
        self._rotation_deg = rotation_deg
        self._controls = dict(controls or {})
        self._camera: Any = None
        self._frames = EncodedFrames()
        self._grid = camera.FrameGrid(1e9 / rate_hz)
        self._order: FrameOrder[_Compressed] = FrameOrder(BUFFERS)
        self._clock = StampClock()
        self._newest_ns = 0  # by the sensor's own clock
        self._lost = camera.Lost()
        self._seen_s = 0.0
        self._is_stuck = False

    @staticmethod
    def _refuse(device: str, width: int, height: int, quality: int, rotation_deg: int) -> None:
        if not (device.isdecimal() or device.startswith("unix:")):
            raise ValueError(f"device is {device!r}, allowed is a camera's number: 0, 1, ...")
        camera.check_size(width, height)
        if width % 2 or height % 2:
            key, value = ("width", width) if width % 2 else ("height", height)
            raise ValueError(f"{key} is {value}, allowed are even numbers")
        if not 1 <= quality <= 100:  # noqa: PLR2004 - in percent
            raise ValueError(f"jpeg_quality is {quality}, allowed are 1 to 100")
        if rotation_deg not in (0, _HALF_TURN_DEG):
            raise ValueError(f"rotation_deg is {rotation_deg}, allowed are 0 and 180")

    def open(self) -> Device:
        """Find the camera, configure it to the fixed rate and start it."""
        if self._is_stuck:
            raise StuckDeviceError(f"{self._name}: is dead; only a new process can use it")
        parts = library(self.device)  # reading it may take long, and says nothing of the camera
        try:
            return call_within(OPEN_S, functools.partial(self._open, parts))
        except TimeoutError as error:
            raise self._dead(f"does not open within {OPEN_S:g} s") from error
        except RAISED as error:
            raise DeviceAbsentError(f"{self._name}: {error}") from error

    def read(self, timeout_s: float) -> Sample | None:
        """Wait for the next frame."""
        if self._camera is None:
            raise DeviceLostError(f"{self._name}: is not open")
        taken = self._frames.take(timeout_s)
        if taken is None:
            most_s = camera.stalled_s(self.rate_hz)
            if time.monotonic() - self._seen_s >= most_s:
                raise self._dead(f"no frame for {most_s:g} s")
            return None
        self._seen_s = time.monotonic()
        self._lost = taken.lost
        return camera.sample(*taken, self.blob)

    def measured(self) -> Mapping[str, object]:
        """Where frames were lost since it was opened, and of which clock the sensor's times are."""
        lost = {f"lost_{place}": count for place, count in vars(self._lost).items()}
        return {**lost, "stamp_clock": self._clock.name}

    def finish(self) -> Sequence[Sample]:
        """Stop the camera and return the frames that were on their way."""
        try:
            call_within(STOP_S, self._stop)
        except TimeoutError as error:
            raise self._dead(f"does not stop within {STOP_S:g} s") from error
        except RAISED as error:
            raise DeviceLostError(f"{self._name}: {error}") from error
        for number, one in self._order.rest():
            self._come(number, one)
        samples: list[Sample] = []
        while (taken := self._frames.take(0)) is not None:
            with contextlib.suppress(BadSampleError):  # its number is missing in the recording
                samples.append(camera.sample(*taken, self.blob))
        return samples

    def close(self) -> None:
        """Release the camera; one that is dead is left alone."""
        opened, self._camera = self._camera, None
        if opened is not None and not self._is_stuck:
            try:
                call_within(STOP_S, opened.close)
            except TimeoutError:
                self._is_stuck = True
            except RAISED:  # it is closed as far as it will be
                return

    @property
    def node(self) -> str | None:
        """The model's socket; libcamera's cameras have no node that could be named."""
        path = self.device.removeprefix("unix:").partition("#")[0]
        return path if path.startswith("/") else None

    @property
    def _name(self) -> str:
        return f"camera {self.device}"

    def _dead(self, why: str) -> StuckDeviceError:
        self._is_stuck = True
        return StuckDeviceError(f"{self._name}: {why}")

    def _open(self, parts: Library) -> Device:
        parts.look_again()
        found = parts.Picamera2.global_camera_info()
        if parts.number >= len(found):
            names = ", ".join(f"{at}: {one['Model']}" for at, one in enumerate(found)) or "none"
            raise DeviceAbsentError(f"{self._name}: not there; libcamera finds {names}")
        opened = self._camera = parts.Picamera2(parts.number)
        is_raw = "ColorFilterArrangement" in opened.camera_properties
        is_turned = self._rotation_deg == _HALF_TURN_DEG
        turn = parts.Transform(hflip=is_turned, vflip=is_turned)
        configure(opened, self._name, self._size, turn, "YUV420" if is_raw else "MJPEG")
        set_controls(opened, self._name, self.rate_hz, self._controls)
        self._clock, self._newest_ns, self._lost = StampClock(), 0, camera.Lost()
        encoder = self._encoder(parts) if is_raw else None
        self._frames = EncodedFrames(getattr(encoder, "force_key_frame", None))
        self._grid, self._order = camera.FrameGrid(1e9 / self.rate_hz), FrameOrder(BUFFERS)
        opened.pre_callback = self._exposed if is_raw else self._compressed
        if encoder is not None:
            opened.start_encoder(encoder, parts.output(self._encoded(encoder)), name=MAIN)
        opened.start()
        self._seen_s = time.monotonic()
        info, name = found[parts.number], type(encoder).__name__ if encoder else "the camera's own"
        interface = {"libcamera": str(info["Id"]), "encoder": name}
        return Device(model=str(info["Model"]), interface=interface)

    def _encoder(self, parts: Library) -> Any:  # noqa: ANN401 - the library has no types
        if self.blob == "h264":
            return parts.H264Encoder(
                bitrate=self._bitrate_bps,
                repeat=True,
                iperiod=self._key_frames,
                framerate=max(1, round(self.rate_hz)),
            )
        if parts.has_hardware and max(self._size) <= HARDWARE_PX:
            width, height = self._size
            share = BITS_PER_PIXEL * self._jpeg_quality / 100
            return parts.MJPEGEncoder(bitrate=round(share * width * height * self.rate_hz))
        return parts.JpegEncoder(q=self._jpeg_quality)

    def _exposed(self, request: Any) -> None:  # noqa: ANN401 - the library has no types
        """Note a frame; called in picamera2's thread for every frame, before it is encoded."""
        facts = request.get_metadata()
        stamp_ns = int(facts["SensorTimestamp"])
        self._frames.expose(stamp_ns, self._shot(facts, self._grid.number(stamp_ns)))

    def _compressed(self, request: Any) -> None:  # noqa: ANN401 - the library has no types
        """Take a picture that the camera compressed itself; called as `_exposed` is."""
        self._seen_s = time.monotonic()
        buffer = request.request.buffers[request.stream_map[MAIN]].metadata
        picture = memoryview(request.make_buffer(MAIN))[: buffer.planes[0].bytes_used]
        facts = request.get_metadata()
        stamp_ns, known = int(facts["SensorTimestamp"]), self._shot(facts, buffer.sequence)
        for number, frame in self._order.put(
            buffer.sequence, _Compressed(stamp_ns, known, picture)
        ):
            self._come(number, frame)

    def _come(self, number: int, one: _Compressed) -> None:
        """Hand a compressed picture on when it is its turn."""
        self._frames.expose(one.stamp_ns, dataclasses.replace(one.shot, number=number))
        self._frames.encoded(int(one.stamp_ns / 1000), one.picture, is_key=True)

    def _shot(self, facts: Mapping[str, Any], number: int) -> camera.Shot:
        """Return what is known of a frame; one behind a later one says nothing of its clock."""
        stamp_ns, newest_ns = int(facts["SensorTimestamp"]), self._newest_ns
        self._newest_ns = max(stamp_ns, newest_ns)
        told = self._clock.known_boot_ns if stamp_ns < newest_ns else self._clock.to_boot_ns
        return shot(facts, number, told(stamp_ns), self._size)

    def _encoded(self, encoder: Any) -> Callable[[bytes, bool, int], None]:  # noqa: ANN401 - the library has no types
        """Return what is called in picamera2's encoder's thread for each encoded frame."""
        frames = self._frames
        is_jpeg = self.blob == camera.BLOB  # the hardware does not mark these as key frames

        def take(frame: bytes, is_key: bool, after_first_us: int) -> None:
            stamp_us = encoder.firsttimestamp + after_first_us
            frames.encoded(stamp_us, bytes(frame), is_key=is_key or is_jpeg)

        return take

    def _stop(self) -> None:
        self._camera.stop_encoder()
        self._camera.stop()
