"""Where record batches go: Parquet files, CSV files with the pictures beside them, or MCAP."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from recorder.columns import arrow_schema
from recorder.export.mcap_file import McapFile

if TYPE_CHECKING:
    from collections.abc import Callable

    from recorder.schema import LaneSchema

_SUFFIXES = {"jpeg": ".jpg"}
_ALWAYS = ("timestamp_ns", "header.sample_counter")
#: Where the device's own time goes, if the lane has it in its field ``utc_ns``.
_OWN_TIME = ("header.timestamp.seconds", "header.timestamp.nanoseconds")


class ParquetTable:
    """One Parquet file with the ontology's columns as they go to a server, pictures included.

    Args:
        stem: path of the file without its suffix; must not exist.
        schema: the lane's declaration.

    Raises:
        UnmappableError: the lane's rows cannot become its ontology.
    """

    def __init__(self, stem: Path, schema: LaneSchema) -> None:
        self.path = stem.with_name(stem.name + ".parquet")
        self._writer = pa.parquet.ParquetWriter(self.path, arrow_schema(schema))

    def write(self, batch: pa.RecordBatch) -> None:
        """Append rows."""
        self._writer.write_batch(batch)

    def close(self) -> None:
        """Finish the file; without it Parquet cannot be read. May be called twice."""
        self._writer.close()


class CsvTable:
    """One CSV file: `timestamp_ns`, the device's own time, the row's number, the lane's fields.

    Structs are columns with dotted names (``acceleration.x``), null is an empty cell. Columns of
    the ontology that no field of the lane fills are left out. A picture becomes a file in the
    folder named like the CSV file, and the column ``file`` says which.

    Args:
        stem: path of the file without its suffix; must not exist, nor the folder of this name.
        schema: the lane's declaration.

    Raises:
        UnmappableError: the lane's rows cannot become its ontology.
    """

    def __init__(self, stem: Path, schema: LaneSchema) -> None:
        self.path = stem.with_name(stem.name + ".csv")
        self._pictures = stem
        self._suffix = _SUFFIXES.get(schema.blob or "", f".{schema.blob}")
        self._count = 0
        empty = _flat(arrow_schema(schema).empty_table())
        filled = {*_ALWAYS, *(one.name for one in schema.fields)}
        filled.update(_OWN_TIME if "utc_ns" in filled else ())
        filled.update(("sentence",) if schema.blob is not None else ())
        self._columns = [name for name in empty.column_names if name in filled]
        columns = empty.select(self._columns).schema
        self._has_pictures = schema.blob is not None and "data" in empty.column_names
        if self._has_pictures:
            stem.mkdir()
            columns = columns.append(pa.field("file", pa.string()))
        self._writer = pa.csv.CSVWriter(self.path, columns)

    def write(self, batch: pa.RecordBatch) -> None:
        """Append rows; their pictures are written first."""
        table = _flat(pa.Table.from_batches([batch])).select(self._columns)
        if self._has_pictures:
            names = [self._write_picture(one.as_buffer()) for one in batch.column("data")]
            table = table.append_column("file", pa.array(names, pa.string()))
        self._writer.write_table(table)

    def _write_picture(self, picture: pa.Buffer) -> str:
        self._count += 1
        path = self._pictures / f"{self._count:08d}{self._suffix}"
        path.write_bytes(picture)
        return f"{self._pictures.name}/{path.name}"

    def close(self) -> None:
        """Finish the file; may be called twice."""
        self._writer.close()


def _flat(table: pa.Table) -> pa.Table:
    while any(pa.types.is_struct(column.type) for column in table.schema):
        table = table.flatten()
    return table


class Files:
    """A file for each lane.

    Args:
        kind: of the files.
    """

    def __init__(self, kind: type[ParquetTable] | type[CsvTable]) -> None:
        self._kind = kind

    def table(self, stem: Path, schema: LaneSchema) -> ParquetTable | CsvTable:
        """Begin a lane's file; `UnmappableError` if its rows cannot become its ontology."""
        return self._kind(stem, schema)

    def conclude(self, record: dict[str, Any]) -> None:
        """Do nothing: the session record lies beside them."""

    def close(self) -> None:
        """Do nothing; each is closed for itself."""


#: Formats of an export by name, each with what makes it in a directory.
FORMATS: dict[str, Callable[[Path], Files | McapFile]] = {
    "parquet": lambda _: Files(ParquetTable),
    "csv": lambda _: Files(CsvTable),
    "mcap": McapFile,
}
