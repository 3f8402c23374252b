"""Rows on disk: a folder per topic, a Parquet file per batch, and reading them back in time order.

``rows/<topic uuid>/000000.parquet`` holds the first batch of the topic's stream, and so on, each
sorted by time, in row groups of about a window. A file and its name are durable before the
catalogue learns of them; a file that the catalogue does not know is the rest of a crash and is
never read.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recorder.errors import ConfigError
from recorder.ground.merge import TIME, Run, in_order, shallow, window_rows
from recorder.ground.refusals import RefusedError
from recorder.ground.topics import Chunk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

#: More batches at once are not written faster; each costs its encoded copy in memory.
MOST_WRITERS = 4


class Store:
    """The folder with all rows.

    Args:
        path: made if it is missing.

    Raises:
        ConfigError: it cannot be made.

    Call `close` at the end.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"{path}: {error}") from error
        # Not on Flight's threads: each thread that encodes keeps memory for the next time, and
        # fifty vehicles are fifty of Flight's. Ours begin now, for a thread that begins another
        # is remembered by Python, and Flight's would be for ever.
        self._writers = ThreadPoolExecutor(MOST_WRITERS, thread_name_prefix="ground-write")
        all_there = threading.Barrier(MOST_WRITERS)
        for _ in range(MOST_WRITERS):
            self._writers.submit(all_there.wait)

    def close(self) -> None:
        """End the threads that write; may be called twice."""
        self._writers.shutdown()

    def open_folder(self, folder: str) -> None:
        """Make a topic's folder, durably."""
        (self._path / folder).mkdir()
        _sync(self._path)

    def write(self, folder: str, number: int, batch: pa.RecordBatch) -> Chunk:
        """Store one batch; on return file and name are durable.

        Raises:
            OSError: the disk is full, or the topic's folder was removed meanwhile.
            RefusedError: the rows break their own schema, e.g. a null where none may be.
        """
        try:
            return self._writers.submit(self._write, folder, number, batch).result()
        except pa.ArrowException as error:  # not the disk: the rows break their own schema
            raise RefusedError(f"batch {number} cannot be stored: {error}") from error

    def _write(self, folder: str, number: int, batch: pa.RecordBatch) -> Chunk:
        path = self.file(folder, number)
        span = _write_sorted(batch, path)
        _sync(path)
        _sync(path.parent)
        return Chunk(number, batch.num_rows, path.stat().st_size, span["min"], span["max"])

    def in_order(
        self,
        folder: str,
        chunks: Sequence[Chunk],
        schema: pa.Schema,
        start_ns: int | None,
        end_ns: int | None,
    ) -> Iterator[pa.Table]:
        """A topic's rows in a time range by rising time, as tables with exactly its schema.

        Args:
            folder: the topic's.
            chunks: of the topic, each with rows in the range.
            schema: the topic's.
            start_ns: first time, inclusive, or None.
            end_ns: last time, exclusive, or None.
        """
        runs = [self._run(folder, chunk, schema, start_ns, end_ns) for chunk in chunks]
        with ExitStack() as spilled:

            def spill(tables: Iterator[pa.Table]) -> Run:
                made = tempfile.TemporaryDirectory(dir=self._path, prefix="merge-")
                return _spilled(tables, Path(spilled.enter_context(made)) / "run", schema)

            yield from in_order(shallow(runs, spill))

    def _run(
        self,
        folder: str,
        chunk: Chunk,
        schema: pa.Schema,
        start_ns: int | None,
        end_ns: int | None,
    ) -> Run:
        def windows() -> Iterator[pa.Table]:
            with pq.ParquetFile(self.file(folder, chunk.number)) as file:
                for group in range(file.num_row_groups):
                    found = file.read_row_group(group, use_threads=False)
                    yield clip(_as(schema, found), start_ns, end_ns)

        assert chunk.first_ns is not None
        assert chunk.last_ns is not None
        return Run(chunk.first_ns, chunk.last_ns, windows)

    def span(
        self, folder: str, chunk: Chunk, start_ns: int | None, end_ns: int | None
    ) -> tuple[int, int | None, int | None]:
        """Of a chunk's rows in a time range: how many, the first time and the last."""
        if chunk.lies_within(start_ns, end_ns):
            return chunk.row_count, chunk.first_ns, chunk.last_ns
        found = clip(
            pq.read_table(self.file(folder, chunk.number), columns=[TIME]), start_ns, end_ns
        )
        times = pc.min_max(found.column(TIME)).as_py()
        return found.num_rows, times["min"], times["max"]

    def file(self, folder: str, number: int) -> Path:
        """Where a chunk of a topic lies."""
        return self._path / folder / f"{number:06d}.parquet"

    def remove(self, folders: Iterable[str]) -> None:
        """Remove folders of topics that the catalogue has forgotten."""
        for folder in folders:
            shutil.rmtree(self._path / folder, ignore_errors=True)

    def remove_unknown(self, known: set[str]) -> None:
        """Remove what a crash left: of topics that are forgotten, and of merges under way."""
        self.remove(each.name for each in self._path.iterdir() if each.name not in known)


def clip(table: pa.Table, start_ns: int | None, end_ns: int | None) -> pa.Table:
    """Only the rows from `start_ns` on and before `end_ns`."""
    if (start_ns, end_ns) == (None, None):
        return table
    times = table.column(TIME)
    inside = pc.greater_equal(times, -(2**63) if start_ns is None else start_ns)
    if end_ns is not None:
        inside = pc.and_(inside, pc.less(times, end_ns))
    return table.filter(inside)


def _write_sorted(batch: pa.RecordBatch, path: Path) -> dict[str, int | None]:
    """Write a batch by rising time; returns its least and largest time as `min` and `max`."""
    times = batch.column(TIME)
    if pc.any(pc.less(times[1:], times[:-1])).as_py():  # None for less than two rows
        batch = batch.take(pc.sort_indices(times))  # stable: ties keep their order
    pq.write_table(
        pa.Table.from_batches([batch]),
        path,
        row_group_size=window_rows(batch.num_rows, batch.nbytes),
        compression="lz4",
        use_dictionary=False,
        use_compliant_nested_type=False,  # keeps the names of list items
    )
    span: dict[str, int | None] = pc.min_max(times).as_py()
    return span


def _as(schema: pa.Schema, found: pa.Table) -> pa.Table:
    return found if found.schema.equals(schema, check_metadata=True) else found.cast(schema)


def _spilled(tables: Iterator[pa.Table], path: Path, schema: pa.Schema) -> Run:
    """Write rows by rising time into a file of their own, and give them as a run."""
    first_ns: int | None = None
    last_ns = 0
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, schema) as stream:
        for table in tables:
            times = table.column(TIME)
            first_ns = times[0].as_py() if first_ns is None else first_ns
            last_ns = times[-1].as_py()
            stream.write_table(table, max_chunksize=window_rows(table.num_rows, table.nbytes))

    def windows() -> Iterator[pa.Table]:
        with pa.OSFile(str(path), "rb") as source, pa.ipc.open_stream(source) as batches:
            for batch in batches:
                yield pa.Table.from_batches([batch])

    return Run(last_ns if first_ns is None else first_ns, last_ns, windows)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
