"""Rows on disk, and reading them by time without holding a topic in memory."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.ground import store
from recorder.ground.topics import Chunk
from recorder.mosaico import ontology


def as_chunks(lists):
    """Chunks by first time, and what reads them."""
    tables = {
        n: pa.table({"timestamp_ns": times, "n": [n] * len(times)}) for n, times in enumerate(lists)
    }
    chunks = [
        Chunk(n, len(times), 0, min(times), max(times), times == sorted(times))
        for n, times in enumerate(lists)
    ]
    return sorted(chunks, key=lambda chunk: (chunk.first_ns, chunk.number)), tables


@given(st.lists(st.lists(st.integers(-50, 50), min_size=1, max_size=12), max_size=8))
def test_rows_of_any_chunks_come_out_once_and_by_rising_time(lists):
    chunks, tables = as_chunks(lists)
    out = list(store.in_order(chunks, lambda chunk: tables[chunk.number]))
    times = [time for table in out for time in table.column("timestamp_ns").to_pylist()]
    assert times == sorted(time for times in lists for time in times)


def test_a_chunk_is_read_only_when_all_rows_before_it_are_out():
    chunks, tables = as_chunks([[1, 2], [3, 5], [4, 6], [7, 8]])
    read = []

    def reading(chunk):
        read.append(chunk.number)
        return tables[chunk.number]

    seen = []
    for table in store.in_order(chunks, reading):
        seen.append((list(read), table.column("timestamp_ns").to_pylist()))
    assert seen == [([0], [1, 2]), ([0, 1], [3]), ([0, 1, 2], [4, 5, 6]), ([0, 1, 2, 3], [7, 8])]


@pytest.mark.parametrize("tag", ontology.TAGS)
def test_every_ontology_survives_the_disk_with_its_nulls(tmp_path, tag):
    schema = ontology.schema(tag)
    rows = [_row(schema, time_ns, full) for time_ns, full in ((1, True), (2, False), (3, True))]
    batch = pa.RecordBatch.from_pylist(rows, schema)
    rows_on_disk = store.Store(tmp_path)
    rows_on_disk.open_folder("topic")
    chunk = rows_on_disk.write("topic", 0, batch)
    assert (chunk.row_count, chunk.first_ns, chunk.last_ns, chunk.is_sorted) == (3, 1, 3, True)
    back = rows_on_disk.read("topic", chunk, schema)
    assert back.schema.equals(schema, check_metadata=True)
    assert back.equals(pa.Table.from_batches([batch]))


def test_a_batch_out_of_order_is_known_as_such(tmp_path):
    rows_on_disk = store.Store(tmp_path)
    rows_on_disk.open_folder("topic")
    batch = pa.record_batch({"timestamp_ns": [3, 1, 2]})
    chunk = rows_on_disk.write("topic", 0, batch)
    assert (chunk.first_ns, chunk.last_ns, chunk.is_sorted) == (1, 3, False)


def _row(schema, time_ns, full):
    values = {field.name: _value(field, full) for field in schema}
    return values | {"timestamp_ns": time_ns}


def _value(field, full):
    if field.nullable and not full:
        return None
    if pa.types.is_struct(field.type):
        return {inner.name: _value(inner, full) for inner in field.type}
    if pa.types.is_list(field.type):
        return [1.0, 2.0]
    return {pa.string(): "text", pa.binary(): b"\x00\xff", pa.bool_(): True}.get(field.type, 1)
