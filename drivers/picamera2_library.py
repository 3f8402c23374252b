"""The parts of picamera2 that a camera's driver needs: the system's, or those of the model."""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drivers.base import DeviceAbsentError
from drivers.sim import picamera2_model

if TYPE_CHECKING:
    from collections.abc import Callable

UNIX = "unix:"
#: picamera2's name of the stream that is encoded.
MAIN = "main"
HARDWARE_NODE = Path("/dev/video11")
#: What picamera2 and libcamera's binding raise; the last where a camera went in between.
RAISED = (RuntimeError, OSError, LookupError)


@dataclass(frozen=True)
class Library:
    """What is used of picamera2; the names are its own.

    Args:
        number: of the camera that was asked for.
        has_hardware: whether the machine has an encoder for JPEG and H.264 (a Pi 4 or older).
    """

    number: int
    has_hardware: bool
    Picamera2: Any
    Transform: Any
    JpegEncoder: Any
    MJPEGEncoder: Any
    H264Encoder: Any
    Output: Any

    def look_again(self) -> None:
        """Let libcamera list its cameras anew; none of them is open.

        It lists what was there when it was asked first, and what udev tells it since: nothing, in a
        sandbox without the network's sockets.
        """
        self.Picamera2._cm.reset()

    def output(self, take: Callable[[bytes, bool, int], None]) -> Any:  # noqa: ANN401 - the library has no types
        """Return an output for its encoders.

        Args:
            take: gets each frame, whether it is a key frame, and its time in us after the
                encoder's first frame.
        """

        def outputframe(
            _: object, frame: bytes, keyframe: bool = True, timestamp: int = 0, *__: object
        ) -> None:
            take(frame, keyframe, timestamp)

        return type("LaneOutput", (self.Output,), {"outputframe": outputframe})()


def library(device: str) -> Library:
    """Return the library for a device.

    Args:
        device: a camera's number; or ``unix:PATH``, or ``unix:PATH#1``, for the model's cameras.

    Raises:
        DeviceAbsentError: picamera2 is not installed.
    """
    if device.startswith(UNIX):
        path, _, number = device[len(UNIX) :].partition("#")
        return Library(int(number or 0), False, **picamera2_model.parts(path))
    # It would say its version at each attempt to find a camera.
    os.environ.setdefault("LIBCAMERA_LOG_LEVELS", "*:WARN")
    main, encoders, outputs = (
        _module(name) for name in ("picamera2", "picamera2.encoders", "picamera2.outputs")
    )
    return Library(
        int(device),
        # picamera2 takes every machine that is no Pi 5 for one that has the encoder's node.
        getattr(encoders, "_hw_encoder_available", False) and HARDWARE_NODE.exists(),
        main.Picamera2,
        _module("libcamera").Transform,
        encoders.JpegEncoder,
        encoders.MJPEGEncoder,
        encoders.H264Encoder,
        outputs.Output,
    )


def _module(name: str) -> Any:  # noqa: ANN401 - the library has no types
    """Import a part of picamera2, which comes with the system and not from PyPI."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise DeviceAbsentError(
            f"pi_camera needs picamera2 ({error}): sudo apt install python3-picamera2, and a"
            " virtual environment made with --system-site-packages"
        ) from error
