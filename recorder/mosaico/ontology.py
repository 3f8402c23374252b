"""Schemas of ontologies, derived from their classes: Mosaico's own and those of users.

An ontology is a frozen dataclass that names its tag. Its fields are the columns, in their order,
behind `timestamp_ns` (record time, UTC ns), which every topic begins with::

    @dataclass(frozen=True, kw_only=True, slots=True)
    class WheelSpeed:
        ontology_tag: ClassVar[str] = "WheelSpeed"
        front_left: float                                # double, required
        front_right: float | None = None                 # double, may be null
        ticks: Annotated[int, pa.uint32()]               # any other Arrow type
        samples: list[float] | None = None               # list of doubles
        header: Header | None = None                     # a dataclass is a struct

`int` is int64, `float` double, `bool` bool, `str` string, `bytes` binary. A class variable
`serialization_format` (``default`` if absent) names the server's storage format.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable
from functools import cache
from typing import Annotated, Any, cast, get_args, get_origin, get_type_hints

import pyarrow as pa

from recorder.mosaico import message

TIMESTAMP = pa.field("timestamp_ns", pa.int64(), nullable=False)
_PLAIN = {
    bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string(), bytes: pa.binary()
}  # fmt: skip


def schema_of(kind: type[Any]) -> pa.Schema:
    """The `pyarrow.Schema` of an ontology's class, `timestamp_ns` first.

    Raises:
        TypeError: the class is no frozen dataclass, names no tag, or a field's type is not one of
            those above.
    """
    return _schema_of(cast("Hashable", kind))


@cache
def _schema_of(kind: type[Any]) -> pa.Schema:
    if not isinstance(getattr(kind, "ontology_tag", None), str):
        raise TypeError(f"{kind.__name__} names no ontology_tag")
    return pa.schema([TIMESTAMP, *_struct(kind)])


def _struct(kind: type[Any]) -> pa.StructType:
    # Rows wait before they are encoded; one that could change meanwhile would be another row.
    if not (dataclasses.is_dataclass(kind) and kind.__dataclass_params__.frozen):  # type: ignore[attr-defined]  # a dataclass has it
        raise TypeError(f"{kind.__name__} is no frozen dataclass")
    hints = get_type_hints(kind, include_extras=True)
    return pa.struct(
        [_field(kind, each.name, hints[each.name]) for each in dataclasses.fields(kind)]
    )


def _field(kind: type[Any], name: str, hint: object) -> pa.Field:
    # `X | None` has another origin than `Optional[X]`; None among the arguments is common to both.
    nullable = type(None) in get_args(hint)
    if nullable:
        [hint] = [one for one in get_args(hint) if one is not type(None)]
    return pa.field(name, _type(f"{kind.__name__}.{name}", hint), nullable=nullable)


def _type(place: str, hint: Any) -> pa.DataType:  # noqa: ANN401 - an annotation may be anything
    if get_origin(hint) is Annotated:
        return hint.__metadata__[0]
    if get_origin(hint) is list:
        return pa.list_(_type(place, get_args(hint)[0]))
    if hint in _PLAIN:
        return _PLAIN[hint]
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _struct(hint)
    raise TypeError(f"{place}: {hint} is no type of a column")


TIME = _struct(message.Time)
HEADER = _struct(message.Header)
VECTOR3 = _struct(message.Vector3d)
QUATERNION = _struct(message.Quaternion)
STATUS = _struct(message.GPSStatus)
_KINDS = {kind.ontology_tag: kind for kind in message.ONTOLOGIES}
TAGS = tuple(_KINDS)


def schema(tag: str) -> pa.Schema:
    """The `pyarrow.Schema` of one of Mosaico's ontologies, `timestamp_ns` first.

    Raises:
        KeyError: the tag is not one of `TAGS`.
    """
    return schema_of(_KINDS[tag])


def format_of(kind: type[Any]) -> str:
    """The storage format of an ontology's class: ``default``, ``ragged`` or ``image``."""
    return str(getattr(kind, "serialization_format", "default"))


def serialization_format(tag: str) -> str:
    """The storage format of one of Mosaico's ontologies; an unknown tag has ``default``."""
    return format_of(_KINDS[tag]) if tag in _KINDS else "default"
