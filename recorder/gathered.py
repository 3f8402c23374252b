"""Rows of one lane while they are gathered, and their columns as Arrow arrays.

No row becomes a Python object: a column is cut out of the rows' bytes by strided slices, its byte
order turned on the way. Records that follow one another without a gap, in numbers and in time, cost
no more than one long record.
"""

from __future__ import annotations

import sys
from array import array
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from recorder.numbers import Numbers

if TYPE_CHECKING:
    from drivers.base import Field
    from recorder.record import Header
    from recorder.schema import LaneSchema
    from recorder.stamps import Stamps

_ARROW = {
    "i1": pa.int8(), "u1": pa.uint8(), "i2": pa.int16(), "u2": pa.uint16(), "i4": pa.int32(),
    "u4": pa.uint32(), "i8": pa.int64(), "u8": pa.uint64(), "f4": pa.float32(), "f8": pa.float64(),
}  # fmt: skip


class Span(NamedTuple):
    """Which samples a data record holds, and when they were: what is needed of a `Header` here.

    Args:
        seqno: number of the first sample.
        rows: how many.
        boot_ns: CLOCK_BOOTTIME of the first.
        period_ns: from one to the next.
    """

    seqno: int
    rows: int
    boot_ns: int
    period_ns: int


class Gathered:
    """Rows that are gathered until they make a batch.

    Args:
        schema: the lane's declaration.
        stamps: make the rows' UTC.
    """

    def __init__(self, schema: LaneSchema, stamps: Stamps) -> None:
        self._utc = stamps
        self._has_blobs = schema.blob is not None
        self._row_bytes = schema.row_bytes
        offset = 0
        #: The lane's fields by name, each with its place in a row.
        self.fields: dict[str, tuple[int, Field]] = {}
        for one in schema.fields:
            self.fields[one.name] = (offset, one)
            offset += int(one.type[2:])
        self.clear()

    def clear(self) -> None:
        """Begin anew."""
        self._raw, self._blobs = bytearray(), bytearray()
        self._blob_ends = array("i", [0])
        # First number, rows, first boot time and period of each run.
        self._runs: list[list[int]] = []
        #: Rows, and bytes of their blobs.
        self.count = self.blob_bytes = 0

    def add(self, span: Header | Span, payload: memoryview) -> None:
        """Gather the rows of one record."""
        if not self._has_blobs:
            self._raw += payload
        else:
            self._raw += payload[: self._row_bytes]
            self._blobs += payload[self._row_bytes :]
            self.blob_bytes = len(self._blobs)
            self._blob_ends.append(self.blob_bytes)
        seqno, rows, boot_ns, period_ns = span.seqno, span.rows, span.boot_ns, span.period_ns
        self.count += rows
        if self._runs:
            run = self._runs[-1]
            first, count, begin_ns, step_ns = run
            if (seqno, boot_ns, period_ns) == (first + count, begin_ns + count * step_ns, step_ns):
                run[1] = count + rows
                return
        self._runs.append([seqno, rows, boot_ns, period_ns])

    def seqnos(self) -> pa.Array:
        """Return the rows' numbers as uint64."""
        numbers = Numbers()
        for first, count, _, _ in self._runs:
            numbers.add(range(first, first + count))
        return numbers.laid_out().view(pa.uint64())

    def stamps(self) -> pa.Array:
        """Return the rows' UTC in ns, strictly rising; to be called once for each row."""
        stamps = Numbers()
        for _, count, begin_ns, step_ns in self._runs:
            for piece in self._utc.pieces(begin_ns, step_ns, count):
                stamps.add(piece)
        return stamps.laid_out()

    def blobs(self, kind: pa.DataType) -> pa.Array:
        """Return the rows' blobs, as binary or as texts."""
        buffers = [None, pa.py_buffer(self._blob_ends), pa.py_buffer(self._blobs)]
        return pa.Array.from_buffers(kind, self.count, buffers)

    def values(self, name: str) -> pa.Array:
        """Cut a field out of all rows; what means "not known" is null."""
        offset, field = self.fields[name]
        width = int(field.type[2:])
        cut = bytearray(self.count * width)
        is_turned = (field.type[0] == "<") != (sys.byteorder == "little")
        for index in range(width):
            place = width - 1 - index if is_turned else index
            cut[place::width] = self._raw[offset + index :: self._row_bytes]
        values = pa.Array.from_buffers(
            _ARROW[field.type[1:]], self.count, [None, pa.py_buffer(cut)]
        )
        if field.null is not None:
            null = pa.scalar(field.null, values.type)
            return pc.if_else(pc.equal(values, null), pa.scalar(None, values.type), values)
        if pa.types.is_floating(values.type):
            nan = pc.is_nan(values)
            if nan.true_count:
                return pc.if_else(nan, pa.scalar(None, values.type), values)
        return values
