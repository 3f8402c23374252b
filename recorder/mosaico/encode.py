"""Rows to record batches, checked against what the ontology requires."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def batch(rows: Sequence[dict[str, Any]], schema: pa.Schema) -> pa.RecordBatch:
    """A record batch of the rows.

    Raises:
        ValueError: a value does not fit its column, or is null where none may be.
    """
    try:
        built = pa.RecordBatch.from_pylist(rows, schema)
    except (TypeError, OverflowError, pa.ArrowException) as error:
        raise ValueError(str(error)) from error
    for field, column in zip(schema, built.columns, strict=True):
        _check_nulls(field, column, 0)
    return built


def good_rows(rows: Sequence[dict[str, Any]], schema: pa.Schema) -> list[dict[str, Any]]:
    """Those rows that can be encoded."""
    return [row for row in rows if _fits(row, schema)]


def pieces(whole: pa.RecordBatch, most_bytes: int) -> Iterator[pa.RecordBatch]:
    """Cut a batch in halves until each piece is within the limit; a single row is not cut."""
    if whole.num_rows <= 1 or pa.ipc.get_record_batch_size(whole) <= most_bytes:
        yield whole
        return
    half = whole.num_rows // 2
    yield from pieces(whole.slice(0, half), most_bytes)
    yield from pieces(whole.slice(half), most_bytes)


def row_bytes(schema: pa.Schema) -> int:
    """Width of a row without its texts, lists and blobs: an estimate for buffering."""
    return sum(_width_bytes(field.type) for field in schema)


def _fits(row: dict[str, Any], schema: pa.Schema) -> bool:
    try:
        batch([row], schema)
    except ValueError:
        return False
    return True


def _check_nulls(field: pa.Field, column: pa.Array, nulls_above: int) -> None:
    if column.null_count > nulls_above and not field.nullable:
        raise ValueError(f"column {field.name!r} must not be null")
    if pa.types.is_struct(field.type):
        for inner, values in zip(field.type, column.flatten(), strict=True):
            _check_nulls(inner, values, column.null_count)


def _width_bytes(kind: pa.DataType) -> int:
    if pa.types.is_struct(kind):
        return sum(_width_bytes(field.type) for field in kind)
    return int(kind.bit_width) // 8 if pa.types.is_primitive(kind) else 8
