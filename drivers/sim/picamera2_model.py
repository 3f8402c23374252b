"""The part of picamera2 that `drivers.pi_camera` uses, in front of the camera model's socket.

Threads, callbacks, encoders, outputs, times and the library's traps are as in picamera2 0.3: one
thread calls `pre_callback` and then the encoders for every frame; an encoder's times are in us
after its first frame; a camera that dies is only silent, and then `stop` waits for a frame that
never comes; the end of the process closes what is open. Camera 0 is a CSI camera whose pictures go
through an encoder, and whose buffers have the ISP's numbers; camera 1 is the same socket as a USB
camera that compresses itself and fills its buffers up: they have the kernel's numbers, a damaged
one goes no further than the kernel, and those behind it come out of order.
Listed is what was there when it was asked first in this process, until it is reset.

What it does not simulate: encoding (the model's JPEG goes through as it is; an access unit of
"H.264" is a start code, a type and that JPEG), an ISP (exposure and gain are constants), several
streams, autofocus, dmabufs, and the time that an encoder takes. A picture that is cut short gives
its encoder nothing to put out: so the encoder loses it.
"""

from __future__ import annotations

import atexit
import functools
import itertools
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from drivers.sim.frame_wire import END, START, Frame, FrameClient
from drivers.sim.usb_buffers import UsbBuffers
from drivers.stamp_clock import suspended_ns

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PADDED_BYTES = 614_400
EXPOSURE_US, GAIN, LENS_POSITION = 8_000, 1.5, 2.25
_POLL_S = 0.1
_KEY, _OTHER = b"\0\0\0\1\x65", b"\0\0\0\1\x41"  # NAL units of an IDR and of another picture


def _is_whole(frame: Frame) -> bool:
    return bytes(frame.picture[-2:]) == b"\xff\xd9"


class Request:
    """A completed request of one frame.

    Args:
        frame: as the camera gave it.
        sequence: number of its buffer.
        period_us: time from frame to frame.
    """

    def __init__(self, frame: Frame, sequence: int, period_us: int) -> None:
        plane = SimpleNamespace(bytes_used=len(frame.picture))
        metadata = SimpleNamespace(planes=[plane], sequence=sequence)
        self.stream_map = {"main": "main stream"}
        self.request = SimpleNamespace(buffers={"main stream": SimpleNamespace(metadata=metadata)})
        self.frame = frame
        # The stamp is the V4L2 buffer's: CLOCK_MONOTONIC, whatever the documentation says.
        self._facts = {
            "SensorTimestamp": frame.boot_ns - suspended_ns(),
            "ExposureTime": EXPOSURE_US,
            "AnalogueGain": GAIN,
            "LensPosition": LENS_POSITION,
            "FrameDuration": period_us,
        }

    def get_metadata(self) -> dict[str, Any]:
        """Return what the camera says of the frame."""
        return self._facts

    def make_buffer(self, _: str) -> bytes:
        """Return a copy of the buffer, as long as the largest picture."""
        return bytes(self.frame.picture).ljust(PADDED_BYTES, b"\xaa")


class Output:
    """Where encoded frames go; subclasses take them."""

    def outputframe(
        self, frame: bytes, keyframe: bool, timestamp: int, packet: object, audio: bool
    ) -> None:
        """Take an encoded frame."""


class JpegEncoder:
    """Puts each whole picture out, with its time after the first one's."""

    def __init__(self, **_: object) -> None:
        self.output = Output()
        self.firsttimestamp: int | None = None

    def encode(self, _: str, request: Request) -> None:
        """Encode a frame."""
        stamp_us = int(request.get_metadata()["SensorTimestamp"] / 1000)
        self.firsttimestamp = stamp_us if self.firsttimestamp is None else self.firsttimestamp
        if _is_whole(request.frame):
            self.put_out(bytes(request.frame.picture), stamp_us - self.firsttimestamp)

    def put_out(self, picture: bytes, after_first_us: int) -> None:
        """Hand an encoded frame on."""
        self.output.outputframe(picture, True, after_first_us, None, False)


class H264Encoder(JpegEncoder):
    """Each so-manieth picture is a key frame."""

    def __init__(self, iperiod: int, **_: object) -> None:
        super().__init__()
        self._iperiod = iperiod
        self._left = 0

    def force_key_frame(self) -> None:
        """Make the next frame a key frame."""
        self._left = 0

    def put_out(self, picture: bytes, after_first_us: int) -> None:
        """Hand an access unit on."""
        is_key = self._left == 0
        self._left = (self._left or self._iperiod) - 1
        unit = (_KEY if is_key else _OTHER) + picture
        self.output.outputframe(unit, is_key, after_first_us, None, False)


class Picamera2:
    """A camera; the names are picamera2's own.

    Args:
        number: 0 the CSI camera, 1 the one on USB.
        path: of the camera model's socket.
    """

    def __init__(self, number: int, path: str) -> None:
        self._client = FrameClient(path)
        described = self._client.describe()
        self._size = described.size
        self._period_us = round(1e9 / described.number)
        self._is_raw = number == 0
        self._form = "YUV420" if self._is_raw else "MJPEG"
        self.camera_properties: dict[str, Any] = {"Model": "model", "PixelArraySize": self._size}
        self.camera_controls: dict[str, tuple[Any, Any, Any]] = {}
        if self._is_raw:
            self.camera_properties["ColorFilterArrangement"] = 0
            slowest_us = 10_000_000
            self.camera_controls = {
                "FrameDurationLimits": (self._period_us, slowest_us, self._period_us),
                "ExposureTime": (10, slowest_us, EXPOSURE_US),
                "AnalogueGain": (1.0, 16.0, GAIN),
                "ScalerCrop": ((0, 0, 64, 64), (0, 0, *self._size), (0, 0, *self._size)),
            }
        self.pre_callback: Callable[[Request], None] | None = None
        self.controls: dict[str, Any] = {}
        self.transform: object = None
        self._buffers: UsbBuffers[Request] = UsbBuffers(1)
        self._encoder: JpegEncoder | None = None
        self._gave = threading.Event()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="model of picamera2", daemon=True)
        atexit.register(self.close)

    def create_video_configuration(
        self, main: Mapping[str, Any], transform: object, **others: object
    ) -> dict[str, Any]:
        """Return a wish."""
        return {"main": dict(main), "transform": transform, **others}

    def configure(self, wish: Mapping[str, Any]) -> None:
        """Take a wish, and give what the camera has."""
        self.transform = wish["transform"]
        self._buffers = UsbBuffers(wish["buffer_count"])

    def stream_configuration(self, _: str) -> dict[str, Any]:
        """Return what the camera gives."""
        return {"size": self._size, "format": self._form}

    def set_controls(self, controls: Mapping[str, Any]) -> None:
        """Keep controls."""
        self.controls.update(controls)

    def start_encoder(self, encoder: JpegEncoder, output: Output, name: str) -> None:
        """Let every frame go through an encoder from now on."""
        assert name == "main"
        encoder.output = output
        self._encoder = encoder

    def start(self) -> None:
        """Start the camera and its thread."""
        self._client.order(START)
        self._thread.start()

    def stop_encoder(self) -> None:
        """Let no more frames go through the encoder."""

    def stop(self) -> None:
        """Stop the camera; like picamera2's it waits for the thread that only a frame wakes."""
        if self._thread.is_alive() and not self._ending.is_set():
            self._gave.clear()
            while self._thread.is_alive() and not self._gave.wait(_POLL_S):
                pass
            self._ending.set()
            self._client.order(END)
            self._thread.join()

    def close(self) -> None:
        """Stop and release the camera."""
        atexit.unregister(self.close)
        if self._thread.is_alive():
            self.stop()
        self._client.close()

    def _run(self) -> None:
        try:
            first = None
            for passed in itertools.count():
                frame = self._client.receive() if self._wait() else None
                if frame is None:
                    return
                first = frame.number if first is None else first
                sequence = passed if self._is_raw else frame.number - first
                request = Request(frame, sequence, self._period_us)
                if self._is_raw:
                    self._process(request)
                else:
                    for one in self._buffers.fill(request if _is_whole(frame) else None):
                        self._process(one)
        except OSError:  # the model is gone: from here on there is only silence
            return
        finally:
            self._client.close()

    def _wait(self) -> bool:
        while not self._client.wait(_POLL_S):
            pass
        return True

    def _process(self, request: Request) -> None:
        if self.pre_callback is not None:
            self.pre_callback(request)
        if self._encoder is not None:
            self._encoder.encode("main", request)
        self._gave.set()


class CameraManager:
    """What libcamera knows of the cameras at a socket: both, or none."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._listed: list[dict[str, object]] | None = None

    def reset(self) -> None:
        """Look what is there."""
        self._listed = [
            {"Num": 0, "Model": "model", "Id": "/base/soc/i2c0mux/i2c@1/model@10"},
            {"Num": 1, "Model": "model on USB", "Id": "/base/soc/usb/model-1:1.0"},
        ]
        if not Path(self._path).exists():
            self._listed = []

    def listed(self) -> list[dict[str, object]]:
        """Return what was there."""
        if self._listed is None:
            self.reset()
        return self._listed or []


@functools.cache
def parts(path: str) -> dict[str, Any]:
    """Return the library's parts by their names, for the cameras at a socket."""

    class Cameras:
        """The class `Picamera2` of the library."""

        _cm = CameraManager(path)

        def __new__(cls, number: int) -> Any:  # noqa: ANN401 - stands in for the library's class
            return Picamera2(number, path)

        @staticmethod
        def global_camera_info() -> list[dict[str, object]]:
            return Cameras._cm.listed()

    return {
        "Picamera2": Cameras,
        "Transform": lambda **turn: turn,
        "JpegEncoder": JpegEncoder,
        "MJPEGEncoder": JpegEncoder,
        "H264Encoder": H264Encoder,
        "Output": Output,
    }
