"""Messages to record batches, column by column, checked against what their ontology requires."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Number
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from recorder.mosaico.message import Message

#: What a row's objects take beside their values: measured 140 for a `Floating64`, 250 for an `IMU`.
OBJECT_BYTES = 200
_NONE = {type(None)}
#: Types whose values have any size, and what a value of them must be.
_SIZED = {pa.string(): str, pa.binary(): bytes}
#: From there on a number is rounded to infinity; of double nothing is.
_ENDS = {pa.float16(): 65_520.0, pa.float32(): 2.0**128 - 2.0**103}
#: Names of the types of truth values: Python's, and numpy's of either generation.
_BOOLEANS = ("bool", "bool_")


def batch(messages: Sequence[Message], schema: pa.Schema) -> pa.RecordBatch:
    """A record batch of the messages' data.

    Raises:
        ValueError: a value does not fit its column, or is null where none may be; the text names
            the column.
    """
    data = [one.data for one in messages]
    times = _column("timestamp_ns", schema.field(0), messages)
    columns = [_column(name, schema.field(name), data) for name in schema.names[1:]]
    return pa.RecordBatch.from_arrays([times, *columns], schema=schema)


def good_and_bad(
    messages: Sequence[Message], schema: pa.Schema
) -> tuple[list[Message], list[tuple[Message, str]]]:
    """Part messages that can be encoded from those that cannot, each of these with the reason."""
    try:
        batch(messages, schema)
    except ValueError as error:
        if len(messages) == 1:
            return [], [(messages[0], str(error))]
    else:
        return list(messages), []
    half = len(messages) // 2
    good, bad = good_and_bad(messages[:half], schema)
    more_good, more_bad = good_and_bad(messages[half:], schema)
    return good + more_good, bad + more_bad


def check(made: pa.RecordBatch) -> None:
    """Check a batch that somebody else made.

    Raises:
        ValueError: it holds a null where none may be; the text names the column.
    """
    for field, column in zip(made.schema, made.columns, strict=True):
        _check_nulls(field.name, field, column, 0)


def pieces(whole: pa.RecordBatch, most_bytes: int) -> Iterator[pa.RecordBatch]:
    """Cut a batch in halves until each piece is within the limit; a single row is not cut."""
    if whole.num_rows <= 1 or pa.ipc.get_record_batch_size(whole) <= most_bytes:
        yield whole
        return
    half = whole.num_rows // 2
    yield from pieces(whole.slice(0, half), most_bytes)
    yield from pieces(whole.slice(half), most_bytes)


class Sizes:
    """About what one ontology's rows take while they wait.

    Args:
        locator: of the topic, for messages.
        schema: of the topic.
    """

    def __init__(self, locator: str, schema: pa.Schema) -> None:
        self._locator = locator
        self.fixed_bytes = OBJECT_BYTES + sum(_width_bytes(field.type) for field in schema)
        self._sized = [(one.name, _SIZED[one.type]) for one in schema if one.type in _SIZED]
        self._optional = {one.name for one in schema if one.nullable}

    @property
    def are_fixed(self) -> bool:
        """Whether every row has `fixed_bytes`."""
        return not self._sized

    def of(self, data: object) -> int:
        """Bytes of one row; texts and lists deeper than its own columns are not measured.

        Raises:
            TypeError: a text or a blob is none; the text names the column.
        """
        size_bytes = self.fixed_bytes
        for name, kind in self._sized:
            value = getattr(data, name)
            if isinstance(value, kind):
                size_bytes += len(value)
            elif value is not None or name not in self._optional:
                # A buffer that is used again would change before it is encoded: bytes only.
                given = type(value).__name__
                raise TypeError(f"{self._locator}: {name} must be {kind.__name__}, not {given}")
        return size_bytes


class _UnfitError(ValueError):
    """A value does not fit its column; the text names the column."""


def _column(path: str, field: pa.Field, above: Sequence[Any]) -> pa.Array:
    """Make a column of one attribute of the objects `above`.

    They are anybody's, and so are their values: what they raise may be anything, and costs a row.
    """
    try:
        made = _array(path, field.type, list(map(attrgetter(field.name), above)))
    except (MemoryError, _UnfitError):
        raise
    except Exception as error:
        raise _UnfitError(f"{path}: {type(error).__name__}: {error}") from error
    if made.null_count and not field.nullable:
        raise _UnfitError(f"{path} must not be null")
    return made


def _array(path: str, kind: pa.DataType, values: list[Any]) -> pa.Array:
    if not pa.types.is_struct(kind):
        made = pa.array(values, kind)
        _check_exact(path, kind, values)
        return made
    kinds = set(map(type, values))
    if kinds <= _NONE:
        # Not pa.nulls: it puts nulls into the struct's required children, which Parquet refuses.
        return pa.array(values, kind)
    if kinds & _NONE:
        return _sparse(path, kind, values)
    children = [_column(f"{path}.{one.name}", one, values) for one in kind]
    return pa.StructArray.from_arrays(children, fields=list(kind))


def _check_exact(path: str, kind: pa.DataType, values: Iterable[Any]) -> None:
    """Refuse what Arrow would take for another value in silence."""
    if pa.types.is_list(kind):
        inner = (one for several in values if several is not None for one in several)
        _check_exact(f"{path}[]", kind.value_type, inner)
    elif pa.types.is_struct(kind):  # in a list, as mappings
        rows = [one for one in values if isinstance(one, Mapping)]
        for field in kind:
            _check_exact(f"{path}.{field.name}", field.type, (one.get(field.name) for one in rows))
    elif pa.types.is_floating(kind):
        _check_range(path, kind, _numbers(path, values))
    elif pa.types.is_integer(kind) or pa.types.is_temporal(kind):
        for one in _numbers(path, values):
            if type(one) is not int and isinstance(one, Number) and one % 1:  # type: ignore[operator]  # every real number has %, others did not become integers
                raise _UnfitError(f"{path}: {one!r} is no whole number")


def _numbers(path: str, values: Iterable[Any]) -> list[Any]:
    """Refuse truth values: Arrow makes 1 and 0 of them."""
    found = list(values)
    if any(kind.__name__ in _BOOLEANS for kind in set(map(type, found))):
        truth = next(one for one in found if type(one).__name__ in _BOOLEANS)
        raise _UnfitError(f"{path}: {truth!r} is no number")
    return found


def _check_range(path: str, kind: pa.DataType, values: list[Any]) -> None:
    """Refuse finite numbers that would become infinite."""
    end = _ENDS.get(kind)
    for one in values if end is not None else ():
        if one is not None and end <= abs(one) < math.inf:
            raise _UnfitError(f"{path}: {one!r} is beyond the range of {kind}")


def _sparse(path: str, kind: pa.DataType, values: list[Any]) -> pa.Array:
    """A struct that is null in some rows: the known ones are made and spread."""
    known = _array(path, kind, [one for one in values if one is not None])
    absent = pa.array([None], kind)
    places, count = [], 0
    for one in values:
        places.append(count if one is not None else len(known))
        count += one is not None
    return pa.concat_arrays([known, absent]).take(pa.array(places, pa.int64()))


def _check_nulls(path: str, field: pa.Field, column: pa.Array, nulls_above: int) -> None:
    if column.null_count > nulls_above and not field.nullable:
        raise ValueError(f"{path} must not be null")
    if pa.types.is_struct(field.type):
        for inner, values in zip(field.type, column.flatten(), strict=True):
            _check_nulls(f"{path}.{inner.name}", inner, values, column.null_count)


def _width_bytes(kind: pa.DataType) -> int:
    if pa.types.is_struct(kind):
        return sum(_width_bytes(field.type) for field in kind)
    return int(kind.bit_width) // 8 if pa.types.is_primitive(kind) else 8
