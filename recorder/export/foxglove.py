"""Schemas that Foxglove knows by their names, and rows of a lane as messages of them, in JSON.

Source: Foxglove's published JSON schemas (github.com/foxglove/foxglove-sdk, schemas/jsonschema):
`CompressedImage`, `CompressedVideo`, `LocationFix` and `Log`. Bytes are base64 there. What has no
such schema goes out under one made from its columns; null and NaN are left out, as a message's
field has one type.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Mapping

    Row = Mapping[str, Any]
    Message = dict[str, Any]

IMAGE, VIDEO, FIX, LOG = (
    f"foxglove.{one}" for one in ("CompressedImage", "CompressedVideo", "LocationFix", "Log")
)
#: What a viewer decodes picture by picture; anything else is a stream.
PICTURES = ("jpeg", "png", "webp", "avif")
_S_NS = 1_000_000_000
_TEXT, _NUMBER, _WHOLE = {"type": "string"}, {"type": "number"}, {"type": "integer"}
_BYTES = {"type": "string", "contentEncoding": "base64"}
_TIME = {
    "type": "object",
    "title": "time",
    "properties": {
        "sec": {"type": "integer", "minimum": 0},
        "nsec": {"type": "integer", "minimum": 0, "maximum": _S_NS - 1},
    },
}
_COVARIANCE = {"type": "array", "items": _NUMBER, "minItems": 9, "maxItems": 9}
#: The covariance is not known.
_UNKNOWN = 0
_INFO = 2
_STAMPED = {"timestamp": _TIME, "frame_id": _TEXT}
_FIELDS = {
    IMAGE: {**_STAMPED, "data": _BYTES, "format": _TEXT},
    VIDEO: {**_STAMPED, "data": _BYTES, "format": _TEXT},
    FIX: {
        **_STAMPED,
        "latitude": _NUMBER,
        "longitude": _NUMBER,
        "altitude": _NUMBER,
        "position_covariance": _COVARIANCE,
        "position_covariance_type": _WHOLE,
    },
    LOG: {
        "timestamp": _TIME,
        "level": _WHOLE,
        "message": _TEXT,
        "name": _TEXT,
        "file": _TEXT,
        "line": _WHOLE,
    },
}


def known_schema(name: str) -> dict[str, Any]:
    """Return the JSON schema of one of Foxglove's own."""
    return {"title": name, "type": "object", "properties": _FIELDS[name]}


def schema_of(name: str, columns: pa.Schema) -> dict[str, Any]:
    """Return a JSON schema for rows of some columns.

    Args:
        name: its title.
        columns: of the rows.
    """
    inner = {one.name: _typed(one.type) for one in columns if one.name != "timestamp_ns"}
    properties = {"timestamp": _TIME, **inner}
    return {"title": name, "type": "object", "properties": properties}


def _typed(kind: pa.DataType) -> dict[str, Any]:
    if pa.types.is_struct(kind):
        return {"type": "object", "properties": {one.name: _typed(one.type) for one in kind}}
    if pa.types.is_list(kind):
        return {"type": "array", "items": _typed(kind.value_type)}
    plain = (
        (pa.types.is_boolean, {"type": "boolean"}),
        (pa.types.is_string, _TEXT),
        (pa.types.is_binary, _BYTES),
        (pa.types.is_integer, _WHOLE),
    )
    return next((told for is_so, told in plain if is_so(kind)), _NUMBER)


def time_of(utc_ns: int) -> dict[str, int]:
    """Return a time as Foxglove has it."""
    sec, nsec = divmod(utc_ns, _S_NS)
    return {"sec": sec, "nsec": nsec}


def message_of(row: Row) -> Message:
    """Return a row with what is known of it, and its time in front."""
    inner = {key: value for key, value in row.items() if key != "timestamp_ns"}
    return {"timestamp": time_of(row["timestamp_ns"]), **_known(inner)}


def _known(row: Row) -> Message:
    found: Message = {}
    for key, value in row.items():
        if isinstance(value, dict):
            if inner := _known(value):
                found[key] = inner
        elif isinstance(value, bytes):
            found[key] = base64.b64encode(value).decode()
        elif value is not None and value == value:  # noqa: PLR0124 - not NaN
            found[key] = value
    return found


def picture_of(row: Row, frame: str) -> Message:
    """Return a row with a picture as `CompressedImage`, or `CompressedVideo`."""
    return {
        "timestamp": time_of(row["timestamp_ns"]),
        "frame_id": frame,
        "data": base64.b64encode(row["data"]).decode(),
        "format": row["format"],
    }


def fix_of(row: Row, frame: str) -> Message | None:
    """Return a GPS row as `LocationFix`, or None if it has no fix."""
    found = _known(row["position"])
    if "x" not in found or "y" not in found:
        return None
    return {
        "timestamp": time_of(row["timestamp_ns"]),
        "frame_id": frame,
        "latitude": found["x"],
        "longitude": found["y"],
        "altitude": found.get("z", 0.0),
        "position_covariance": [0.0] * 9,
        "position_covariance_type": _UNKNOWN,
    }


def mark_of(mark: Row) -> Message:
    """Return a mark as `Log`."""
    return {
        "timestamp": time_of(mark["utc_ns"]),
        "level": _INFO,
        "message": mark.get("label") or "mark",
        "name": mark.get("cause", "operator"),
        "file": mark.get("session", ""),
        "line": 0,
    }
