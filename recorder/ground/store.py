"""Rows on disk: a folder per topic, a Parquet file per batch, and reading them back in time order.

``rows/<topic uuid>/000000.parquet`` holds the first batch of the topic's stream, and so on. A file
and its name are durable before the catalogue learns of them; a file that the catalogue does not
know is the rest of a crash and is never read.
"""

from __future__ import annotations

import os
import shutil
from itertools import zip_longest
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recorder.errors import ConfigError
from recorder.ground.refusals import RefusedError
from recorder.ground.topics import Chunk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

TIME = "timestamp_ns"


class Store:
    """The folder with all rows.

    Args:
        path: made if it is missing.

    Raises:
        ConfigError: it cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"{path}: {error}") from error

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
        path = self._file(folder, number)
        try:
            pq.write_table(
                pa.Table.from_batches([batch]),
                path,
                compression="lz4",
                use_dictionary=False,
                use_compliant_nested_type=False,  # keeps the names of list items
            )
        except pa.ArrowException as error:  # not the disk: the rows break their own schema
            raise RefusedError(f"batch {number} cannot be stored: {error}") from error
        _sync(path)
        _sync(path.parent)
        times = batch.column(TIME)
        span = pc.min_max(times).as_py()
        return Chunk(
            number, batch.num_rows, path.stat().st_size, span["min"], span["max"], _rises(times)
        )

    def read(self, folder: str, chunk: Chunk, schema: pa.Schema) -> pa.Table:
        """A chunk's rows as a table with exactly the topic's schema."""
        found = pq.read_table(self._file(folder, chunk.number))
        return found if found.schema.equals(schema, check_metadata=True) else found.cast(schema)

    def span(
        self, folder: str, chunk: Chunk, start_ns: int | None, end_ns: int | None
    ) -> tuple[int, int | None, int | None]:
        """Of a chunk's rows in a time range: how many, the first time and the last."""
        if chunk.lies_within(start_ns, end_ns):
            return chunk.row_count, chunk.first_ns, chunk.last_ns
        found = clip(
            pq.read_table(self._file(folder, chunk.number), columns=[TIME]), start_ns, end_ns
        )
        times = pc.min_max(found.column(TIME)).as_py()
        return found.num_rows, times["min"], times["max"]

    def _file(self, folder: str, number: int) -> Path:
        return self._path / folder / f"{number:06d}.parquet"

    def remove(self, folders: Iterable[str]) -> None:
        """Remove folders of topics that the catalogue has forgotten."""
        for folder in folders:
            shutil.rmtree(self._path / folder, ignore_errors=True)

    def remove_unknown(self, known: set[str]) -> None:
        """Remove what a crash left between forgetting a topic and removing its folder."""
        self.remove(each.name for each in self._path.iterdir() if each.name not in known)


def in_order(chunks: Sequence[Chunk], read: Callable[[Chunk], pa.Table]) -> Iterator[pa.Table]:
    """Tables that together hold all rows by rising time.

    Chunks are read one at a time, each when the rows before its first time are out; so what is in
    memory are the chunks whose times overlap just now, one if the stream was in order.

    Args:
        chunks: by rising first time, each with rows.
        read: gives a chunk's rows as a table.
    """
    waiting: list[pa.Table] = []
    for chunk, following in zip_longest(chunks, chunks[1:]):
        waiting.append(read(chunk))
        limit_ns = None if following is None else following.first_ns
        if not any(_rows_before(table, limit_ns) for table in waiting):
            continue  # no row is certain to be the next one; do not sort for nothing
        rows = pa.concat_tables(waiting)
        if len(waiting) > 1 or not chunk.is_sorted:
            rows = rows.take(pc.sort_indices(rows.column(TIME)))  # stable: ties keep their order
        ready = _rows_before(rows, limit_ns)
        yield rows.slice(0, ready)
        waiting = [rows.slice(ready)] if ready < rows.num_rows else []


def clip(table: pa.Table, start_ns: int | None, end_ns: int | None) -> pa.Table:
    """Only the rows from `start_ns` on and before `end_ns`."""
    times = table.column(TIME)
    inside = pc.greater_equal(times, -(2**63) if start_ns is None else start_ns)
    if end_ns is not None:
        inside = pc.and_(inside, pc.less(times, end_ns))
    return table.filter(inside)


def _rows_before(rows: pa.Table, limit_ns: int | None) -> int:
    """How many rows are earlier than the limit; all without one."""
    if limit_ns is None:
        return int(rows.num_rows)
    return int(pc.sum(pc.less(rows.column(TIME), limit_ns)).as_py() or 0)


def _rises(times: pa.Array) -> bool:
    falls = pc.any(pc.less(times[1:], times[:-1])).as_py()  # None for less than two rows
    return not falls


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
