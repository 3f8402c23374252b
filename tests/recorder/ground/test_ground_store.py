"""Rows on disk, and reading them by time without holding a topic in memory."""

from __future__ import annotations

from contextlib import closing

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.ground import merge, store
from recorder.mosaico import ontology

SCHEMA = pa.schema([pa.field("timestamp_ns", pa.int64(), nullable=False), ("n", pa.int64())])


def as_run(number, times, opened=None):
    """A run whose windows have two rows each."""
    times = sorted(times)
    table = pa.table({"timestamp_ns": times, "n": [number] * len(times)}, schema=SCHEMA)

    def windows():
        if opened is not None:
            opened.append(number)
        for at in range(0, len(times), 2):
            yield table.slice(at, 2)

    return merge.Run(times[0], times[-1], windows)


def times_of(tables):
    return [time for table in tables for time in table.column("timestamp_ns").to_pylist()]


lists_of_times = st.lists(st.lists(st.integers(-50, 50), min_size=1, max_size=12), max_size=8)


@given(lists_of_times)
def test_rows_of_any_runs_come_out_once_and_by_rising_time(lists):
    out = list(merge.in_order([as_run(n, times) for n, times in enumerate(lists)]))
    assert times_of(out) == sorted(time for times in lists for time in times)
    assert all(table.num_rows for table in out)
    told = sorted((row["timestamp_ns"], row["n"]) for table in out for row in table.to_pylist())
    assert told == sorted((time, n) for n, times in enumerate(lists) for time in times)


def test_a_run_is_opened_only_when_all_rows_before_it_are_out():
    opened: list[int] = []
    lists = [[1, 2], [3, 5], [4, 6], [7, 8]]
    runs = [as_run(n, times, opened) for n, times in enumerate(lists)]
    seen = [(list(opened), times_of([table])) for table in merge.in_order(runs)]
    assert seen == [
        ([0], [1, 2]),
        ([0, 1, 2], [3, 4, 5]),
        ([0, 1, 2], [6]),
        ([0, 1, 2, 3], [7, 8]),
    ]


@pytest.fixture
def rows_on_disk(tmp_path):
    with closing(store.Store(tmp_path / "rows")) as made:
        made.open_folder("topic")
        yield made


def write(rows_on_disk, *batches_of_times):
    return [
        rows_on_disk.write("topic", number, pa.record_batch({"timestamp_ns": times}))
        for number, times in enumerate(batches_of_times)
    ]


ONLY_TIME = pa.schema([("timestamp_ns", pa.int64())])


def read(rows_on_disk, chunks, start_ns=None, end_ns=None):
    return rows_on_disk.in_order("topic", chunks, ONLY_TIME, start_ns, end_ns)


def test_a_topic_whose_chunks_all_overlap_is_read_with_a_few_windows_in_memory(
    rows_on_disk, monkeypatch
):
    """100 chunks over the same time, 10 windows each, 800 kB in all."""
    monkeypatch.setattr(merge, "WINDOW_BYTES", 800)
    monkeypatch.setattr(merge, "MOST_OPEN", 4)
    chunks = write(rows_on_disk, *([n + 100 * row for row in range(1000)] for n in range(100)))
    before_bytes, most_bytes = pa.total_allocated_bytes(), 0
    seen, last_ns = 0, -1
    for table in read(rows_on_disk, chunks):
        times = times_of([table])
        assert times == sorted(times)
        assert times[0] > last_ns
        assert table.num_rows <= 4 * 100
        seen, last_ns = seen + table.num_rows, times[-1]
        most_bytes = max(most_bytes, pa.total_allocated_bytes() - before_bytes)
    assert (seen, last_ns) == (100_000, 99_999)
    assert most_bytes < 20_000  # of 800,000


def test_what_a_merge_wrote_is_gone_when_it_ends_or_is_given_up(
    rows_on_disk, monkeypatch, tmp_path
):
    monkeypatch.setattr(merge, "MOST_OPEN", 2)
    chunks = write(rows_on_disk, *([n, 100 - n] for n in range(9)))
    whole = list(read(rows_on_disk, chunks))
    assert times_of(whole) == sorted(time for n in range(9) for time in (n, 100 - n))
    given_up = read(rows_on_disk, chunks)
    next(given_up)
    assert len(list((tmp_path / "rows").iterdir())) > 1
    given_up.close()
    assert [one.name for one in (tmp_path / "rows").iterdir()] == ["topic"]


@pytest.mark.parametrize(("start_ns", "end_ns"), [(None, 5), (5, None), (3, 8), (20, 30)])
def test_a_time_range_holds_its_first_time_and_not_its_last(rows_on_disk, start_ns, end_ns):
    chunks = write(rows_on_disk, [0, 4, 8, 9], [1, 5, 3], [2, 7, 6])
    inside = range(10)[start_ns:end_ns]
    meeting = [chunk for chunk in chunks if chunk.meets(start_ns, end_ns)]
    assert times_of(read(rows_on_disk, meeting, start_ns, end_ns)) == list(inside)


@pytest.mark.parametrize("tag", ontology.TAGS)
def test_every_ontology_survives_the_disk_with_its_nulls(rows_on_disk, tag):
    schema = ontology.schema(tag)
    rows = [_row(schema, time_ns, full) for time_ns, full in ((1, True), (2, False), (3, True))]
    batch = pa.RecordBatch.from_pylist(rows, schema)
    chunk = rows_on_disk.write("topic", 0, batch)
    assert (chunk.row_count, chunk.first_ns, chunk.last_ns) == (3, 1, 3)
    (back,) = rows_on_disk.in_order("topic", [chunk], schema, None, None)
    assert back.schema.equals(schema, check_metadata=True)
    assert back.equals(pa.Table.from_batches([batch]))


def test_a_batch_out_of_order_is_stored_by_rising_time(rows_on_disk):
    (chunk,) = write(rows_on_disk, [3, 1, 2])
    assert (chunk.first_ns, chunk.last_ns) == (1, 3)
    assert times_of(read(rows_on_disk, [chunk])) == [1, 2, 3]


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
