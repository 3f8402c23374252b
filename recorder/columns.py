"""Records to Arrow, for the uploader, the exporter and every other reader of a spool.

A lane's rows become the columns of its ontology (`recorder.mosaico.ontology`):

- ``timestamp_ns`` is the row's boot time as UTC, made strictly rising: a row that would not be
  later than the one before gets 1 ns more than that.
- A field whose name is a path of the ontology (``acceleration.x``) fills that place with
  ``raw * scale + offset``; a field that is neither scaled nor shifted keeps its integer. NaN and
  the field's ``null`` become null.
- ``header.timestamp`` is the field ``utc_ns`` where the lane has one (the device's own time), else
  null; ``header.sample_counter`` is the sequence number; ``header.frame_id`` is null, since the
  topic's name says it already.
- A blob is the column ``data`` (``format`` is the schema's word for it), a text's ``sentence``.
- A nullable struct of which nothing is known in a row (the velocity without a fix) is null. What is
  not known of a vector that is there (the position without a fix, the vertical speed) is NaN: the
  vendor's classes cannot hold a vector with a null in it.
- Every other field stays in the spool.

The arithmetic is Arrow's; `recorder.gathered` cuts the fields out of the rows.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from recorder.errors import RecorderError
from recorder.gathered import Gathered
from recorder.mosaico import ontology
from recorder.stamps import Stamps

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from recorder.clock import Mapping
    from recorder.gathered import Span
    from recorder.record import Header
    from recorder.schema import LaneSchema

#: Rows of a batch: 1 to 5 MB on the wire for every ontology without blobs.
BATCH_ROWS = 16_384
#: Size that the blobs of a batch may reach, unless one alone is larger.
BATCH_BYTES = 4 * 1024 * 1024

_VECTORS = (ontology.VECTOR3, ontology.QUATERNION)
_UTC_FIELD = "utc_ns"
_ROW_COLUMNS = ("timestamp_ns", "header")
_BLOB_COLUMNS = ("data", "format", "sentence")
_VECTOR = ("x", "y", "z", "w")


class UnmappableError(RecorderError):
    """Rows cannot become the ontology that their lane declares; the message names the column.

    Examples: an unknown tag; a required column that no field fills; a value outside the column's
    type. The uploader parks the part: sending it again cannot help.
    """


def batches(
    schema: LaneSchema,
    records: Iterable[tuple[Header | Span, memoryview]],
    mapping: Mapping,
    *,
    after_ns: int | None = None,
    batch_rows: int = BATCH_ROWS,
    batch_bytes: int = BATCH_BYTES,
) -> Iterator[pa.RecordBatch]:
    """Lay out data records of one lane as record batches.

    The same records, mapping and bounds give the same batches.

    Args:
        schema: the lane's declaration.
        records: header and payload of data records in order, all of this schema; a payload is used
            only until the next is asked for.
        mapping: boot time to UTC.
        after_ns: the first row's `timestamp_ns` is later than this, if given.
        batch_rows: rows of a batch at most; a record is cut only if it alone has more.
        batch_bytes: bytes of a batch's blobs at most; one larger blob makes a batch of its own.

    Raises:
        UnmappableError: the rows cannot be laid out.
    """
    gathered = Gathered(schema, Stamps(mapping, after_ns))
    rows = _Rows(schema, gathered)
    for span, payload in records:
        is_full = gathered.count + span.rows > batch_rows
        is_large = gathered.blob_bytes and gathered.blob_bytes + len(payload) > batch_bytes
        if gathered.count and (is_full or is_large):
            yield from rows.take(batch_rows)
        gathered.add(span, payload)
    if gathered.count:
        yield from rows.take(batch_rows)


def arrow_schema(schema: LaneSchema) -> pa.Schema:
    """Return the schema of a lane's batches.

    Raises:
        UnmappableError: the lane's ontology is not known, or its rows cannot fill it.
    """
    try:
        found = ontology.schema(schema.ontology)
    except KeyError:
        known = ", ".join(ontology.TAGS)
        raise UnmappableError(
            f"lane {schema.lane}: unknown ontology {schema.ontology!r}; known are {known}"
        ) from None
    names = {one.name for one in schema.fields}
    for column in found:
        given = column.name in _ROW_COLUMNS or (schema.blob and column.name in _BLOB_COLUMNS)
        for path in [] if given else _required(column, "", names):
            if path not in names:
                raise UnmappableError(
                    f"lane {schema.lane}: {schema.ontology} requires {path!r},"
                    f" which none of the fields fills: {', '.join(sorted(names))}"
                )
    return found


def _required(column: pa.Field, above: str, names: set[str]) -> list[str]:
    path = above + column.name
    if not pa.types.is_struct(column.type):
        return [] if column.nullable else [path]
    below = f"{path}."
    if not any(name.startswith(below) for name in names):
        return [] if column.nullable else [path]
    return [each for inner in column.type for each in _required(inner, below, names)]


class _Rows:
    """What was gathered, as batches of the lane's ontology."""

    def __init__(self, schema: LaneSchema, gathered: Gathered) -> None:
        self._schema = schema
        self._arrow = arrow_schema(schema)
        self._gathered = gathered
        self._fields = gathered.fields
        self._nulls: dict[pa.DataType, pa.Array] = {}

    def take(self, most_rows: int) -> Iterator[pa.RecordBatch]:
        """Yield what was gathered, in batches of so many rows at most, and begin anew."""
        columns = [self._column(field, "") for field in self._arrow]
        whole = pa.RecordBatch.from_arrays(columns, schema=self._arrow)
        self._gathered.clear()
        for first in range(0, whole.num_rows, most_rows):
            yield whole.slice(first, most_rows)

    def _column(self, column: pa.Field, above: str) -> pa.Array:
        path = above + column.name
        if path in _ROW_COLUMNS:
            return self._of_row(path, column.type)
        if self._schema.blob is not None and path in _BLOB_COLUMNS:
            return self._blob(path, column.type)
        if path in self._fields:
            return self._filled(path, column)
        return self._struct(column, f"{path}.")

    def _struct(self, column: pa.Field, below: str) -> pa.Array:
        if not any(name.startswith(below) for name in self._fields):
            return self._null(column.type)
        inner = [self._column(one, below) for one in column.type]
        unknown = None
        if column.nullable:
            known = pc.is_valid(inner[0])
            for one in inner[1:]:
                known = pc.or_(known, pc.is_valid(one))
            unknown = pc.invert(known)
        inner = [
            _with_nan(values) if field.name in _VECTOR else values
            for field, values in zip(column.type, inner, strict=True)
        ]
        return pa.StructArray.from_arrays(inner, fields=list(column.type), mask=unknown)

    def _of_row(self, path: str, kind: pa.DataType) -> pa.Array:
        if path == "timestamp_ns":
            return self._gathered.stamps()
        time_type = kind.field("timestamp").type
        stamp = self._null(time_type)
        if _UTC_FIELD in self._fields:
            stamp = _time(self._gathered.values(_UTC_FIELD), time_type)
        inner = [stamp, self._null(pa.string()), self._gathered.seqnos()]
        return pa.StructArray.from_arrays(inner, fields=list(kind))

    def _blob(self, path: str, kind: pa.DataType) -> pa.Array:
        if path == "format":
            return pa.repeat(pa.scalar(self._schema.blob, pa.string()), self._gathered.count)
        return self._gathered.blobs(kind)

    def _filled(self, path: str, column: pa.Field) -> pa.Array:
        values = self._values(path, column.type)
        if column.nullable or not values.null_count:
            return values
        if pa.types.is_floating(column.type):
            return _with_nan(values)
        raise UnmappableError(f"lane {self._schema.lane}: {path} is required and not known")

    def _values(self, path: str, kind: pa.DataType) -> pa.Array:
        _, field = self._fields[path]
        values = self._gathered.values(path)
        if field.scale != 1.0 or field.offset != 0.0:
            values = values.cast(pa.float64(), safe=False)
            values = pc.multiply(values, field.scale) if field.scale != 1.0 else values
            values = pc.add(values, field.offset) if field.offset != 0.0 else values
        if values.type == kind:
            return values
        try:
            made = values.cast(kind, safe=not pa.types.is_floating(kind))
        except pa.ArrowInvalid as error:
            raise UnmappableError(f"lane {self._schema.lane}: {path}: {error}") from error
        if pa.types.is_floating(kind):
            self._check_range(path, values, made)
        return made

    def _check_range(self, path: str, exact: pa.Array, made: pa.Array) -> None:
        """Refuse a value that would become infinite."""
        infinite = pc.is_inf(made)
        if not infinite.true_count:
            return
        row = pc.index(pc.and_not(infinite, pc.is_inf(exact)), pa.scalar(value=True)).as_py()
        if row >= 0:
            raise UnmappableError(
                f"lane {self._schema.lane}: {path}: {exact[row]} of sample"
                f" {self._gathered.seqnos()[row]} is beyond the range of {made.type}"
            )

    def _null(self, kind: pa.DataType) -> pa.Array:
        # Not pa.nulls: it puts nulls into the required children of a struct, which Parquet refuses.
        kept = self._nulls.get(kind)
        if kept is None or len(kept) < self._gathered.count:
            kept = self._nulls[kind] = pa.array([None] * self._gathered.count, kind)
        return kept.slice(0, self._gathered.count)


def _with_nan(values: pa.Array) -> pa.Array:
    return pc.fill_null(values, math.nan) if values.null_count else values


def _time(utc_ns: pa.Array, kind: pa.StructType) -> pa.Array:
    known = pc.is_valid(utc_ns)
    whole = pc.if_else(known, utc_ns, 0)
    seconds = pc.divide(whole, 1_000_000_000)
    rest = pc.subtract(whole, pc.multiply(seconds, 1_000_000_000))
    inner = [seconds.cast(pa.int32()), rest.cast(pa.uint32())]
    return pa.StructArray.from_arrays(inner, fields=list(kind), mask=pc.invert(known))
