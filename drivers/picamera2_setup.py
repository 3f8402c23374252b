"""Sets a camera of picamera2 up as wished, and says what it has where it has not that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from drivers.base import WrongDeviceError
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
