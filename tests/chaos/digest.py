"""The digest of a topic's values, from the docstring of `recorder.upload.content` alone."""

from __future__ import annotations

import hashlib
import math
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

NUMBERS = {
    "int8": "<b", "uint8": "<B", "int16": "<h", "uint16": "<H", "int32": "<i", "uint32": "<I",
    "int64": "<q", "uint64": "<Q", "float": "<f", "double": "<d", "bool": "<?",
}  # fmt: skip


def digest(files: Iterable[Path]) -> str:
    """Return the digest of a topic whose rows are in Parquet files, in order."""
    gathered: dict[str, bytearray] = {}
    for file in files:
        table = pq.read_table(file)
        for field in table.schema:
            for path in _paths(field, field.name):
                gathered.setdefault(path, bytearray())
        for row in table.to_pylist():
            for field in table.schema:
                _gather(gathered, field, field.name, row[field.name])
    whole = hashlib.sha256()
    for path in sorted(gathered):
        whole.update(path.encode() + b"\0" + hashlib.sha256(gathered[path]).digest())
    return f"sha256:{whole.hexdigest()}"


def _inner(field: pa.Field, path: str) -> list[tuple[pa.Field, str]]:
    if pa.types.is_struct(field.type):
        return [(one, f"{path}.{one.name}") for one in field.type]
    return [(field.type.value_field, f"{path}[]")] if pa.types.is_list(field.type) else []


def _paths(field: pa.Field, path: str) -> Iterator[str]:
    """Yield every path for which bytes are gathered, also if there are none."""
    if field.nullable:
        yield f"{path}?"
    if pa.types.is_list(field.type) or pa.types.is_string(field.type):
        yield f"{path}#"
    if not pa.types.is_nested(field.type):
        yield path
    for one, below in _inner(field, path):
        yield from _paths(one, below)


def _gather(gathered: dict[str, bytearray], field: pa.Field, path: str, value: Any) -> None:
    if field.nullable:
        gathered[f"{path}?"].append(value is not None)
    if value is None:
        return
    if isinstance(value, (list, str)):
        size = len(value.encode()) if isinstance(value, str) else len(value)
        gathered[f"{path}#"] += struct.pack("<i", size)
    if pa.types.is_nested(field.type):
        for one, below in _inner(field, path):
            values = value if isinstance(value, list) else [value[one.name]]
            for each in values:
                _gather(gathered, one, below, each)
    else:
        gathered[path] += _plain(field.type, value)


def _plain(kind: pa.DataType, value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bytes):
        return struct.pack("<I", zlib.crc32(value))
    is_nan = isinstance(value, float) and math.isnan(value)
    return struct.pack(NUMBERS[str(kind)], math.nan if is_nan else value)
