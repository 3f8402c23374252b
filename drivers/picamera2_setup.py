"""Sets a camera of picamera2 up as wished, or says what it has; reads what it says of a frame."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from drivers.base import WrongDeviceError
from drivers.camera import UNKNOWN, Shot
from drivers.picamera2_library import MAIN

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Buffers of the sensor; picamera2's own choice for video.
BUFFERS = 6
_DURATION = "FrameDurationLimits"


def configure(
    opened: Any,  # noqa: ANN401 - the library has no types
    name: str,
    size: tuple[int, int],
    turn: object,
    form: str,
) -> None:
    """Ask for size, turn and format; libcamera gives what comes nearest.

    Raises:
        WrongDeviceError: the camera has not that.
    """
    wish = opened.create_video_configuration(
        main={"size": size, "format": form}, transform=turn, buffer_count=BUFFERS, queue=False
    )
    opened.configure(wish)
    got = opened.stream_configuration(MAIN)
    if got["format"] != form:
        raise WrongDeviceError(
            f"{name}: gives {got['format']}, {form} is needed (try v4l2_camera for one on USB)"
        )
    if tuple(got["size"]) != size:
        whole = opened.camera_properties.get("PixelArraySize")
        raise WrongDeviceError(
            f"{name}: width and height are {size[0]}x{size[1]}, the nearest that the camera has is"
            f" {got['size'][0]}x{got['size'][1]}"
            + (f"; its sensor has {whole[0]}x{whole[1]}" if whole else "")
        )


def set_controls(
    opened: Any,  # noqa: ANN401 - the library has no types
    name: str,
    rate_hz: float,
    wished: Mapping[str, float | bool],
) -> None:
    """Fix the rate and set controls; both hold from the start of the camera on.

    Raises:
        WrongDeviceError: the camera has no such control, or not this value of it.
    """
    known = opened.camera_controls
    for key, value in wished.items():
        if key not in known:
            has = ", ".join(sorted(known))
            raise WrongDeviceError(f"{name}: no control {key!r}; the camera has {has}")
        least, most, _ = known[key]
        if not (isinstance(least, (int, float)) and isinstance(most, (int, float))):
            raise WrongDeviceError(f"{name}: control {key} takes no single number")
        if not least <= value <= most:
            raise WrongDeviceError(
                f"{name}: control {key} is {value}, allowed are {least} to {most}"
            )
    opened.set_controls({**wished, **_rate(known, name, rate_hz)})


def _rate(known: Mapping[str, Any], name: str, rate_hz: float) -> dict[str, tuple[int, int]]:
    if _DURATION not in known:
        return {}  # a USB camera: its rate is what it gives
    frame_us = round(1e6 / rate_hz)
    least_us, most_us, _ = known[_DURATION]
    if not least_us <= frame_us <= most_us:
        raise WrongDeviceError(
            f"{name}: rate_hz is {rate_hz:g}, allowed at this size are"
            f" {1e6 / most_us:.3g} to {1e6 / least_us:.3g}"
        )
    return {_DURATION: (frame_us, frame_us)}


def shot(facts: Mapping[str, Any], number: int, boot_ns: int, size: tuple[int, int]) -> Shot:
    """Return what a request's metadata say of its frame."""
    return Shot(
        number=number,
        boot_ns=boot_ns,
        size=size,
        exposure_us=int(facts.get("ExposureTime", UNKNOWN)),
        gain=float(facts.get("AnalogueGain", math.nan)),
        lens_position=float(facts.get("LensPosition", math.nan)),
        frame_duration_us=int(facts.get("FrameDuration", UNKNOWN)),
    )
