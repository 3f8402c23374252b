"""Writes one session of a spool as files.

    <lane>.parquet                       or
    <lane>.csv and <lane>/00000001.jpg … the rows in the columns of the lane's ontology, or
    recording.mcap                       all of them in one file, for Foxglove
    session.json                         the session record, its ``marks`` with their `utc_ns`, and
                                         under ``export`` what was written

A lane whose declaration changed during the session (another driver, another range) gets a further
file for each change: ``<lane>-2`` and so on. `session.json` is written last: where it lies, the
export came to its end. Times are UTC as the anchors of the session's boot tell it, the best source
among them, which stands under ``clock_source``; where no clock was ever known (``none``) it is what
the vehicle's own clock said. Torn and damaged bytes are passed over; ``missing`` counts what they
cost between the first row and the last, samples that the ring dropped among it.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recorder import record
from recorder.columns import UnmappableError, batches
from recorder.errors import DamagedError, RecorderError
from recorder.export.tables import FORMATS
from recorder.spool.marks import marks_in
from recorder.spool.reader import read_from
from recorder.spool.segment import read_head
from recorder.spool.session_time import time_model
from recorder.spool.standing import standing
from recorder.spool.watermark import durable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from recorder.clock import Mapping
    from recorder.export.mcap_file import McapTable
    from recorder.export.tables import CsvTable, ParquetTable
    from recorder.schema import LaneSchema
    from recorder.spool.spool import Spool
    from recorder.spool.watermark import Watermark

    Segments = list[tuple[Path, int]]
    Progress = Callable[[int, int], None]
    Begin = Callable[[Path, LaneSchema], ParquetTable | CsvTable | McapTable]


@dataclass
class LaneExport:
    """What was written of one lane.

    Args:
        lane: its name.
        files: names of its files in the export's directory, folders of pictures not among them.
        rows: samples in them.
        missing: numbers that are missing between the first sample and the last.
        unreadable: segments whose head does not verify; nothing of them is in the files.
        error: why the rest of the lane could not be written, empty if all was.
    """

    lane: str
    files: list[str] = field(default_factory=list)
    rows: int = 0
    missing: int = 0
    unreadable: list[str] = field(default_factory=list)
    error: str = ""


@dataclass(frozen=True)
class Export:
    """What was written of a session.

    Args:
        directory: where.
        clock_source: the source of all times: pps, gps, ntp, rtc or none.
        uncertainty_ns: bound of their error; None: not known.
        lanes: lane by lane, also those that failed.
    """

    directory: Path
    clock_source: str
    uncertainty_ns: int | None
    lanes: list[LaneExport]

    @property
    def is_whole(self) -> bool:
        """Whether every readable record of every lane was written."""
        return not any(one.error or one.unreadable for one in self.lanes)


def export_session(
    spool: Spool,
    session_id: str,
    directory: Path,
    form: str,
    *,
    water: Watermark | None = None,
    progress: Progress | None = None,
) -> Export:
    """Write a session's record, and its lanes as one file each.

    A lane that cannot be written does not stop the others; what it is, its `LaneExport` says.

    Args:
        spool: where the session lies; it is only read.
        session_id: the whole id.
        directory: where to write; made if absent, must be empty.
        form: ``parquet``, ``csv`` or ``mcap``.
        water: the watermark where a recorder may be writing this session; None for a pulled card.
        progress: called with the bytes of segments that are done and the bytes in all.

    Raises:
        RecorderError: the directory is not empty, or the form is not known, or needs a library
            that is not installed.
        SpoolError: there is no such session.
        OSError: the disk did not take it.
    """
    if form not in FORMATS:
        raise RecorderError(f"unknown form {form!r}; known are {', '.join(FORMATS)}")
    entries = spool.entries(session_id)
    session = standing(spool, session_id, entries).session
    directory.mkdir(parents=True, exist_ok=True)
    if any(directory.iterdir()):
        raise RecorderError(f"{directory}: is not empty; an export needs a folder of its own")
    mapping = time_model(spool, session).mapping(*session.span_boot_ns)
    segments = {lane: durable(spool, session_id, lane, water) for lane in spool.lanes(session_id)}
    count = _Count(sum(end for found in segments.values() for _, end in found), progress)
    marks = [{"utc_ns": mapping.utc_ns(one["boot_ns"]), **one} for one in marks_in(entries)]
    with closing(FORMATS[form](directory)) as files:
        lanes = [_Lane(lane, directory, files.table, mapping, count) for lane in segments]
        written = [lane.write(segments[lane.found.lane]) for lane in lanes]
        files.conclude({**session.to_dict(), "marks": marks})
    export = Export(directory, mapping.source, mapping.uncertainty_ns, written)
    _write_record({**session.to_dict(), "marks": marks}, export)
    return export


def _write_record(record: dict[str, Any], export: Export) -> None:
    facts: dict[str, Any] = dataclasses.asdict(export)
    del facts["directory"]
    text = json.dumps({**record, "export": facts}, indent=2, ensure_ascii=False)
    draft = export.directory / "session.json.draft"
    draft.write_text(text + "\n")
    draft.rename(export.directory / "session.json")


class _Count:
    """How far an export has come."""

    def __init__(self, total_bytes: int, progress: Progress | None) -> None:
        self._total_bytes = total_bytes
        self._done_bytes = 0
        self._progress = progress

    def add(self, size_bytes: int) -> None:
        """Count one segment as done."""
        self._done_bytes += size_bytes
        if self._progress is not None:
            self._progress(self._done_bytes, self._total_bytes)


class _Lane:
    """One lane's way into its files."""

    def __init__(
        self, lane: str, directory: Path, table: Begin, mapping: Mapping, count: _Count
    ) -> None:
        self.found = LaneExport(lane)
        self._directory = directory
        self._table = table
        self._mapping = mapping
        self._count = count
        self._next_seqno: dict[int, int] = {}  # by ring epoch
        self._after_ns: int | None = None

    def write(self, segments: Segments) -> LaneExport:
        """Write all that is readable."""
        heads = self._heads(segments)
        try:
            for schema, run in itertools.groupby(heads, key=lambda one: one[0]):
                self._write_file(schema, [segment for _, segment in run])
        except UnmappableError as error:
            self.found.error = str(error)
        return self.found

    def _heads(self, segments: Segments) -> list[tuple[LaneSchema, tuple[Path, int]]]:
        readable = []
        for path, end_bytes in segments:
            try:
                readable.append((read_head(path).schema, (path, end_bytes)))
            except (DamagedError, FileNotFoundError):
                self.found.unreadable.append(path.name)
                self._count.add(end_bytes)
        return readable

    def _write_file(self, schema: LaneSchema, segments: Segments) -> None:
        number = len(self.found.files) + 1
        name = self.found.lane if number == 1 else f"{self.found.lane}-{number}"
        with closing(self._table(self._directory / name, schema)) as table:
            self.found.files.append(table.path.name)
            records = self._records(segments)
            for batch in batches(schema, records, self._mapping, after_ns=self._after_ns):
                table.write(batch)
                self.found.rows += batch.num_rows
                self._after_ns = batch.column("timestamp_ns")[-1].as_py()

    def _records(
        self, segments: Iterable[tuple[Path, int]]
    ) -> Iterator[tuple[record.Header, memoryview]]:
        for path, end_bytes in segments:
            for one in read_from([(path, end_bytes)], None):
                header = one.header
                awaited = self._next_seqno.get(header.epoch, header.seqno)
                self.found.missing += header.seqno - awaited
                self._next_seqno[header.epoch] = header.next_seqno
                if header.kind == record.DATA:
                    yield header, one.payload
            self._count.add(end_bytes)
