"""Messages that a topic writer takes, and with them Mosaico's ontologies.

The classes are the schemas (`recorder.mosaico.ontology` derives these): names, order, types and
nullability are those of SDK 0.6 and 0.7, whose readers use their typed class only if all four are
exactly so. Source: printed from mosaicolabs 0.7.0; a test compares each with the installed SDK.
What is not given is null on the server.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import pyarrow as pa

Int8 = Annotated[int, pa.int8()]
Int16 = Annotated[int, pa.int16()]
Int32 = Annotated[int, pa.int32()]
UInt8 = Annotated[int, pa.uint8()]
UInt16 = Annotated[int, pa.uint16()]
UInt32 = Annotated[int, pa.uint32()]
UInt64 = Annotated[int, pa.uint64()]
Float32 = Annotated[float, pa.float32()]


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """What `push` takes: record time (UTC ns, rising within a topic) and one of the classes below.

    Two rows of one time come back in no certain order.
    """

    timestamp_ns: int
    data: Any


# --- parts


@dataclass(frozen=True, kw_only=True, slots=True)
class Time:
    """A measurement time, UTC: whole seconds and 0 to 999,999,999 ns."""

    seconds: Int32
    nanoseconds: UInt32

    @classmethod
    def from_ns(cls, utc_ns: int) -> Time:
        """The time that is `utc_ns` after 1970."""
        seconds, nanoseconds = divmod(utc_ns, 1_000_000_000)
        return cls(seconds=seconds, nanoseconds=nanoseconds)


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """When a value was measured, in which frame of reference, and its running number."""

    timestamp: Time | None = None
    frame_id: str | None = None
    sample_counter: UInt64 | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Vector3d:
    """Three components, in the unit of the field that holds them."""

    header: Header | None = None
    covariance: list[float] | None = None
    covariance_type: Int16 | None = None
    x: float | None = None
    y: float | None = None
    z: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Quaternion(Vector3d):
    """An orientation."""

    w: float | None = None


# --- ontologies


@dataclass(frozen=True, kw_only=True, slots=True)
class GPSStatus:
    """Quality of a fix: receiver's status and service, satellites in use, dilutions."""

    ontology_tag: ClassVar[str] = "GPSStatus"
    status: Int8
    service: UInt16
    satellites: Int8 | None = None
    hdop: float | None = None
    vdop: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class GPS:
    """A fix: latitude, longitude (degrees, WGS 84), altitude (m); velocity N, E, up (m/s)."""

    ontology_tag: ClassVar[str] = "GPS"
    header: Header | None = None
    position: Vector3d
    velocity: Vector3d | None = None
    status: GPSStatus | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class IMU:
    """Acceleration in m/s², angular velocity in rad/s, in sensor axes."""

    ontology_tag: ClassVar[str] = "IMU"
    header: Header | None = None
    acceleration: Vector3d
    angular_velocity: Vector3d
    orientation: Quaternion | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Magnetometer:
    """A magnetic field in microtesla, in sensor axes."""

    ontology_tag: ClassVar[str] = "Magnetometer"
    header: Header | None = None
    magnetic_field: Vector3d


@dataclass(frozen=True, kw_only=True, slots=True)
class Temperature:
    """A temperature in kelvin."""

    ontology_tag: ClassVar[str] = "Temperature"
    variance: float | None = None
    variance_type: Int16 | None = None
    header: Header | None = None
    value: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Pressure:
    """A pressure in pascal."""

    ontology_tag: ClassVar[str] = "Pressure"
    variance: float | None = None
    variance_type: Int16 | None = None
    header: Header | None = None
    value: float


@dataclass(frozen=True, kw_only=True, slots=True)
class CompressedImage:
    """An encoded picture; `format` is jpeg, png, tiff, h264, hevc or raw."""

    ontology_tag: ClassVar[str] = "CompressedImage"
    serialization_format: ClassVar[str] = "image"
    header: Header | None = None
    data: bytes
    format: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Image:
    """A picture by its pixels: `width` and `height` in pixels, `stride` in bytes per line."""

    ontology_tag: ClassVar[str] = "Image"
    serialization_format: ClassVar[str] = "image"
    header: Header | None = None
    data: bytes
    format: str
    width: Int32
    height: Int32
    stride: Int32
    encoding: str
    is_bigendian: bool | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class NMEASentence:
    """A receiver's line as it came."""

    ontology_tag: ClassVar[str] = "NMEASentence"
    header: Header | None = None
    sentence: str


@dataclass(frozen=True, kw_only=True, slots=True)
class String:
    """A text; the recorder's own topics are of these, each one JSON object."""

    ontology_tag: ClassVar[str] = "String"
    data: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Boolean:
    """A truth value."""

    ontology_tag: ClassVar[str] = "Boolean"
    data: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Integer64:
    """A whole number."""

    ontology_tag: ClassVar[str] = "Integer64"
    data: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Floating64:
    """A number."""

    ontology_tag: ClassVar[str] = "Floating64"
    data: float


@dataclass(frozen=True, kw_only=True, slots=True)
class BatteryState:
    """A battery: V, °C, A, charges in Ah, `percentage` in %; states as ROS numbers them."""

    ontology_tag: ClassVar[str] = "BatteryState"
    header: Header | None = None
    voltage: Float32
    temperature: Float32 | None = None
    current: Float32 | None = None
    charge: Float32 | None = None
    capacity: Float32 | None = None
    design_capacity: Float32 | None = None
    percentage: Float32
    power_supply_status: UInt8
    power_supply_health: UInt8
    power_supply_technology: UInt8
    present: bool
    location: str
    serial_number: str
    cell_voltage: list[Float32] | None = None
    cell_temperature: list[Float32] | None = None


ONTOLOGIES: tuple[type[Any], ...] = (
    GPS, GPSStatus, IMU, CompressedImage, Image, Magnetometer, Temperature, Pressure, NMEASentence,
    String, Boolean, Integer64, Floating64, BatteryState,
)  # fmt: skip
