"""Sets a camera of V4L2 up as wished, and says what it has where it has not that.

A driver takes a wish for a size or a rate and gives what comes nearest: what it gave is compared,
and a difference is an error that lists what there is.
"""

from __future__ import annotations

import errno
import math
import re
from typing import TYPE_CHECKING, cast

from drivers import v4l2_layout as layout
from drivers.base import WrongDeviceError
from drivers.v4l2 import enumerated, setting_up

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from drivers.v4l2 import Node

MJPEG = layout.fourcc("MJPG")
#: A rate is kept in whole fractions of a second: 29.97 for 30 is no difference.
RATE_TOLERANCE = 0.005
_MOST_LISTED = 12


def set_format(node: Node, device: str, width: int, height: int) -> None:
    """Ask for MJPEG of a size.

    Raises:
        WrongDeviceError: the camera has no MJPEG, or not of this size.
    """
    wish = layout.Format(type=layout.VIDEO_CAPTURE)
    wish.fmt.pix.width, wish.fmt.pix.height = width, height
    wish.fmt.pix.pixelformat, wish.fmt.pix.field = MJPEG, layout.FIELD_ANY
    with setting_up(device):
        node.ioctl(layout.S_FMT, wish)
        got = wish.fmt.pix
        if got.pixelformat != MJPEG:
            raise WrongDeviceError(f"{device}: gives no MJPEG; it has {', '.join(_formats(node))}")
        if (got.width, got.height) != (width, height):
            raise WrongDeviceError(
                f"{device}: width and height are {width}x{height}, the camera has"
                f" {_listed(_sizes(node))} in MJPEG"
            )


def set_rate(node: Node, device: str, rate_hz: float, width: int, height: int) -> None:
    """Ask for a rate.

    Raises:
        WrongDeviceError: the camera does not have it at this size.
    """
    wish = layout.StreamParameters(type=layout.VIDEO_CAPTURE)
    interval = wish.parm.capture.timeperframe
    interval.numerator, interval.denominator = 1000, round(1000 * rate_hz)
    with setting_up(device):
        node.ioctl(layout.S_PARM, wish)
        if not wish.parm.capture.capability & layout.CAP_TIMEPERFRAME or not interval.numerator:
            raise WrongDeviceError(f"{device}: the camera's rate cannot be told, and is not known")
        got_hz = interval.denominator / interval.numerator
        if not math.isclose(got_hz, rate_hz, rel_tol=RATE_TOLERANCE):
            raise WrongDeviceError(
                f"{device}: rate_hz is {rate_hz:g}, the camera has"
                f" {_listed(_rates(node, width, height)) or f'{got_hz:g}'} at {width}x{height}"
            )


def set_controls(node: Node, device: str, wished: Mapping[str, int]) -> None:
    """Set controls by name, in the order given: an automatic goes off before its value is set.

    Raises:
        WrongDeviceError: the camera has no such control, or not this value of it.
    """
    with setting_up(device):
        known = {control_name(one): one for one in controls(node)}
        for name, value in wished.items():
            one = known.get(name)
            if one is None:
                raise WrongDeviceError(
                    f"{device}: no control {name!r}; the camera has {', '.join(known) or 'none'}"
                )
            step = max(one.step, 1)
            if not one.minimum <= value <= one.maximum or (value - one.minimum) % step:
                raise WrongDeviceError(
                    f"{device}: control {name} is {value}, allowed are {one.minimum} to"
                    f" {one.maximum} in steps of {step}"
                )
            _set(node, device, name, layout.Control(id=one.id, value=value))


def _set(node: Node, device: str, name: str, control: layout.Control) -> None:
    try:
        node.ioctl(layout.S_CTRL, control)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EBUSY, errno.EINVAL, errno.ERANGE):
            raise
        raise WrongDeviceError(
            f"{device}: control {name} is refused at present; an automatic that is on may hold it"
        ) from error


def control_name(control: layout.QueryControl) -> str:
    """Return a control's name as ``v4l2-ctl`` spells it: ``Exposure, Auto``: ``exposure_auto``."""
    return re.sub(r"[^a-z0-9]+", "_", control.name.decode(errors="replace").lower()).strip("_")


def controls(node: Node) -> Iterator[layout.QueryControl]:
    """Yield the controls of whole numbers, truth values and menus that can be set."""
    control_id = 0
    while True:
        one = layout.QueryControl(id=control_id | layout.CTRL_FLAG_NEXT)
        try:
            node.ioctl(layout.QUERYCTRL, one)
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOTTY):
                return
            raise
        control_id = one.id
        is_plain = one.type in (layout.CTRL_INTEGER, layout.CTRL_BOOLEAN, layout.CTRL_MENU)
        if is_plain and not one.flags & layout.CTRL_FLAG_DISABLED:
            yield one


def _formats(node: Node) -> Iterator[str]:
    asked = layout.FormatDescription(type=layout.VIDEO_CAPTURE)
    for one in enumerated(node, layout.ENUM_FMT, asked):
        yield cast("layout.FormatDescription", one).description.decode(errors="replace")


def _sizes(node: Node) -> Iterator[str]:
    for found in enumerated(node, layout.ENUM_FRAMESIZES, layout.FrameSize(pixel_format=MJPEG)):
        one = cast("layout.FrameSize", found)
        least_width, most_width, _, least_height, most_height, _ = one.values
        if one.type == layout.FRAME_DISCRETE:
            yield f"{one.values[0]}x{one.values[1]}"
        else:
            yield f"{least_width}x{least_height} to {most_width}x{most_height}"


def _rates(node: Node, width: int, height: int) -> Iterator[str]:
    asked = layout.FrameInterval(pixel_format=MJPEG, width=width, height=height)
    for found in enumerated(node, layout.ENUM_FRAMEINTERVALS, asked):
        one = cast("layout.FrameInterval", found)
        shown = [f"{each.denominator / max(each.numerator, 1):g}" for each in one.values]
        yield shown[0] if one.type == layout.FRAME_DISCRETE else f"{shown[1]} to {shown[0]}"


def _listed(found: Iterator[str]) -> str:
    names = list(dict.fromkeys(found))
    more = " and more" if len(names) > _MOST_LISTED else ""
    return ", ".join(names[:_MOST_LISTED]) + more
