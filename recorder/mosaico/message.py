"""Messages that a topic writer takes: plain values, fields in the ontology's order.

`ontology` holds the schemas; a class here names its tag. What is not given is null on the server.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, cast

if TYPE_CHECKING:
    from collections.abc import Hashable


@dataclass(frozen=True, kw_only=True)
class Time:
    """A measurement time, UTC: whole seconds and 0 to 999,999,999 ns."""

    seconds: int
    nanoseconds: int

    @classmethod
    def from_ns(cls, utc_ns: int) -> Time:
        """The time that is `utc_ns` after 1970."""
        seconds, nanoseconds = divmod(utc_ns, 1_000_000_000)
        return cls(seconds=seconds, nanoseconds=nanoseconds)


@dataclass(frozen=True, kw_only=True)
class Header:
    """When a value was measured, in which frame of reference, and its running number."""

    timestamp: Time | None = None
    frame_id: str | None = None
    sample_counter: int | None = None


@dataclass(frozen=True, kw_only=True)
class Vector3d:
    """Three components, in the unit of the field that holds them."""

    header: Header | None = None
    covariance: list[float] | None = None
    covariance_type: int | None = None
    x: float | None = None
    y: float | None = None
    z: float | None = None


@dataclass(frozen=True, kw_only=True)
class Quaternion(Vector3d):
    """An orientation."""

    w: float | None = None


@dataclass(frozen=True, kw_only=True)
class GPSStatus:
    """Quality of a fix: receiver's status and service, satellites in use, dilutions."""

    ontology_tag: ClassVar[str] = "GPSStatus"
    status: int
    service: int
    satellites: int | None = None
    hdop: float | None = None
    vdop: float | None = None


@dataclass(frozen=True, kw_only=True)
class GPS:
    """A fix: latitude, longitude (degrees) and altitude (m); velocity north, east, up (m/s)."""

    ontology_tag: ClassVar[str] = "GPS"
    header: Header | None = None
    position: Vector3d
    velocity: Vector3d | None = None
    status: GPSStatus | None = None


@dataclass(frozen=True, kw_only=True)
class IMU:
    """Acceleration in m/s², angular velocity in rad/s, in sensor axes."""

    ontology_tag: ClassVar[str] = "IMU"
    header: Header | None = None
    acceleration: Vector3d
    angular_velocity: Vector3d
    orientation: Quaternion | None = None


@dataclass(frozen=True, kw_only=True)
class CompressedImage:
    """An encoded picture; `format` is jpeg, png, tiff, h264, hevc or raw."""

    ontology_tag: ClassVar[str] = "CompressedImage"
    header: Header | None = None
    data: bytes
    format: str


@dataclass(frozen=True, kw_only=True)
class String:
    """A text."""

    ontology_tag: ClassVar[str] = "String"
    data: str


@dataclass(frozen=True, kw_only=True)
class Message:
    """What `push` takes: record time (UTC ns, rising within a topic) and one of the classes above.

    Two rows of one time come back in no certain order.
    """

    timestamp_ns: int
    data: Any


def row(message: Message) -> dict[str, Any]:
    """A message as nested dictionaries, in the form that Arrow builds rows from."""
    return {"timestamp_ns": message.timestamp_ns, **_plain(message.data)}


def _plain(value: object) -> dict[str, Any]:
    return {
        name: _plain(inner) if hasattr(inner, "__dataclass_fields__") else inner
        for name in _names(cast("Hashable", type(value)))
        for inner in (getattr(value, name),)
    }


@cache
def _names(kind: Hashable) -> tuple[str, ...]:
    return tuple(field.name for field in fields(cast("type[Any]", kind)))
