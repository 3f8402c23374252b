"""Schemas of Mosaico's ontologies, as SDK 0.6 and 0.7 write them.

A reader uses its typed class only if names, order, types and nullability are exactly these; field
descriptions do not matter. Source: printed from mosaicolabs 0.7.0; a test compares each with the
installed SDK. Every topic begins with `timestamp_ns` (record time, UTC ns).

GPS positions are latitude, longitude (degrees, WGS 84) and altitude (m) in x, y, z; velocities
north, east, up in m/s. IMU values are m/s² and rad/s, temperatures kelvin, pressures pascal.
"""

from __future__ import annotations

import pyarrow as pa

TIMESTAMP = pa.field("timestamp_ns", pa.int64(), nullable=False)


def _required(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, nullable=False)


TIME = pa.struct([_required("seconds", pa.int32()), _required("nanoseconds", pa.uint32())])
HEADER = pa.struct(
    [("timestamp", TIME), ("frame_id", pa.string()), ("sample_counter", pa.uint64())]
)
_COVARIANCE = [
    ("header", HEADER),
    ("covariance", pa.list_(pa.float64())),
    ("covariance_type", pa.int16()),
]
_XYZ = [("x", pa.float64()), ("y", pa.float64()), ("z", pa.float64())]
VECTOR3 = pa.struct([*_COVARIANCE, *_XYZ])
QUATERNION = pa.struct([*_COVARIANCE, *_XYZ, ("w", pa.float64())])
_STATUS = [
    _required("status", pa.int8()),
    _required("service", pa.uint16()),
    pa.field("satellites", pa.int8()),
    pa.field("hdop", pa.float64()),
    pa.field("vdop", pa.float64()),
]
STATUS = pa.struct(_STATUS)

_HEADER = pa.field("header", HEADER)
_IMAGE = [_HEADER, _required("data", pa.binary()), _required("format", pa.string())]
_SCALAR = [
    pa.field("variance", pa.float64()),
    pa.field("variance_type", pa.int16()),
    _HEADER,
    _required("value", pa.float64()),
]

_COLUMNS: dict[str, list[pa.Field]] = {
    "GPS": [
        _HEADER,
        _required("position", VECTOR3),
        pa.field("velocity", VECTOR3),
        pa.field("status", STATUS),
    ],
    "GPSStatus": _STATUS,
    "IMU": [
        _HEADER,
        _required("acceleration", VECTOR3),
        _required("angular_velocity", VECTOR3),
        pa.field("orientation", QUATERNION),
    ],
    "CompressedImage": _IMAGE,
    "Image": [
        *_IMAGE,
        _required("width", pa.int32()),
        _required("height", pa.int32()),
        _required("stride", pa.int32()),
        _required("encoding", pa.string()),
        pa.field("is_bigendian", pa.bool_()),
    ],
    "Magnetometer": [_HEADER, _required("magnetic_field", VECTOR3)],
    "Temperature": _SCALAR,
    "Pressure": _SCALAR,
    "NMEASentence": [_HEADER, _required("sentence", pa.string())],
    "String": [_required("data", pa.string())],
    "Boolean": [_required("data", pa.bool_())],
    "Integer64": [_required("data", pa.int64())],
    "Floating64": [_required("data", pa.float64())],
    "BatteryState": [
        _HEADER,
        _required("voltage", pa.float32()),
        *(
            pa.field(name, pa.float32())
            for name in ("temperature", "current", "charge", "capacity", "design_capacity")
        ),
        _required("percentage", pa.float32()),
        *(
            _required(f"power_supply_{name}", pa.uint8())
            for name in ("status", "health", "technology")
        ),
        _required("present", pa.bool_()),
        _required("location", pa.string()),
        _required("serial_number", pa.string()),
        pa.field("cell_voltage", pa.list_(pa.float32())),
        pa.field("cell_temperature", pa.list_(pa.float32())),
    ],
}
_SCHEMAS = {tag: pa.schema([TIMESTAMP, *columns]) for tag, columns in _COLUMNS.items()}
TAGS = tuple(_SCHEMAS)


def schema(tag: str) -> pa.Schema:
    """The `pyarrow.Schema` of an ontology, `timestamp_ns` first.

    Raises:
        KeyError: the tag is not one of `TAGS`.
    """
    return _SCHEMAS[tag]


def serialization_format(tag: str) -> str:
    """The storage format that belongs to a tag: ``image`` for pictures, else ``default``."""
    return "image" if tag in ("CompressedImage", "Image") else "default"
