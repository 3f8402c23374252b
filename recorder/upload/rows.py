"""The record batches of a part, made anew from the spool at every attempt."""

from __future__ import annotations

import hashlib
import itertools
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from recorder import columns
from recorder.errors import DamagedError, SpoolError
from recorder.gathered import Span
from recorder.mosaico import encode, ontology
from recorder.record import BOOT_NS, PERIOD_NS, ROWS, SEQNO
from recorder.spool.reader import Point, read_from, read_piece
from recorder.spool.segment import read_head
from recorder.stamps import Stamps
from recorder.upload.content import ContentDigest
from recorder.upload.parts import MARKS, SESSION_LOG

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from recorder.schema import LaneSchema
    from recorder.upload.parts import Part
    from recorder.upload.state import Sizes

#: Own topics are texts, each one JSON object: every reader of Mosaico can decode these.
OWN_ONTOLOGY = "String"


class GivenUpError(SpoolError):
    """A part's records are not in the spool any more as they were when it was planned.

    Examples: a segment was evicted; bytes of it do not verify any more. The part is planned again
    with what is left of it.
    """


@dataclass(frozen=True)
class Line:
    """One row of an own topic: a JSON object and the boot time it belongs to."""

    boot_ns: int
    facts: dict[str, Any]

    @property
    def text(self) -> str:
        """The object as text; the same object gives the same text."""
        return json.dumps(self.facts, separators=(",", ":"))


def own_lines(
    topic: str, entries: Iterable[dict[str, Any]], final: dict[str, Any] | None
) -> Iterator[Line]:
    """Yield all rows of an own topic so far.

    Args:
        topic: `SESSION_LOG`: each record of the session, the terminal one last; `MARKS`: each mark;
            `SUMMARY`: the terminal record.
        entries: the session's journal in the spool.
        final: the terminal record, or None.
    """
    if topic == MARKS:
        yield from (_mark(one) for one in entries if one["entry"] == "mark")
        return
    if topic == SESSION_LOG:
        yield from (_record(one["session"]) for one in entries if one["entry"] == "session")
    if final is not None:
        yield _record(final)


def _record(session: dict[str, Any]) -> Line:
    return Line(max(session["heartbeat_boot_ns"], session["announced_boot_ns"]), session)


def _mark(entry: dict[str, Any]) -> Line:
    facts = {key: value for key, value in entry.items() if key != "entry"}
    return Line(facts["boot_ns"], facts)


def lines_digest(lines: Iterable[Line]) -> str:
    """Return the digest of an own topic: SHA-256 over its texts, each followed by a newline."""
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.text.encode() + b"\n")
    return f"sha256:{digest.hexdigest()}"


def lines_within(part: Part, lines: Iterator[Line]) -> Iterator[Line]:
    """Return those of an own topic's rows that a part has the numbers of."""
    return itertools.islice(lines, part.from_seqno, part.to_seqno)


def own_batches(part: Part, lines: Callable[[], Iterator[Line]]) -> Iterator[pa.RecordBatch]:
    """Yield the batches of a part of an own topic.

    Args:
        part: the part.
        lines: makes all rows of its topic, as they are now. It is called twice, to look at them and
            to send them, so that they need not be kept.

    Raises:
        GivenUpError: they are others than were planned; the session's journal was rewritten without
            them (`recorder.spool.compaction`).
    """
    if lines_digest(lines_within(part, lines())) != part.digest:
        raise GivenUpError(f"{part.topic}: its rows are not in the session's journal any more")
    schema = ontology.schema(OWN_ONTOLOGY)
    stamps = Stamps(part.mapping, part.after_ns)
    times: list[int] = []
    texts: list[str] = []
    size_bytes = 0
    for line in lines_within(part, lines()):
        times += stamps.of(line.boot_ns, 0, 1)
        texts.append(line.text)
        size_bytes += len(texts[-1])
        if size_bytes >= part.batch_bytes:
            yield pa.RecordBatch.from_pydict({"timestamp_ns": times, "data": texts}, schema)
            times, texts, size_bytes = [], [], 0
    if texts:
        yield pa.RecordBatch.from_pydict({"timestamp_ns": times, "data": texts}, schema)


def lane_schema(part: Part, folder: Path) -> LaneSchema:
    """Return the declaration of a part's rows.

    Raises:
        GivenUpError: its segment is gone, or its head does not verify any more.
    """
    file = next(one.file for one in part.pieces if one.rows)
    try:
        return read_head(folder / file).schema
    except (FileNotFoundError, DamagedError) as error:
        raise GivenUpError(f"{folder / file}: {error}") from error


def lane_batches(part: Part, folder: Path) -> Iterator[pa.RecordBatch]:
    """Yield the batches of a part of a lane whose segments lie in a folder.

    Raises:
        GivenUpError: the spool holds other rows there than were planned; nothing that was yielded
            may be committed.
        UnmappableError: the rows do not fit their ontology.
    """
    yield from _laid_out(part, lane_schema(part, folder), _records(part, folder))


def batches_left(part: Part, folder: Path) -> Iterator[pa.RecordBatch]:
    """Yield what the spool still gives of a part of a lane as batches; the rest is passed over.

    Raises:
        GivenUpError: it gives nothing of it.
    """
    found = (
        one
        for piece in part.pieces
        for one in read_from([(folder / piece.file, piece.end)], Point(piece.file, piece.begin))
        if one.fields[ROWS]
    )
    first = next(found, None)
    if first is None:
        raise GivenUpError(f"{part.topic}: nothing of it is in the spool any more")
    records = ((_span(one.fields), one.payload) for one in itertools.chain([first], found))
    yield from _laid_out(part, first.schema, records)


def _laid_out(
    part: Part, schema: LaneSchema, records: Iterable[tuple[Span, memoryview]]
) -> Iterator[pa.RecordBatch]:
    return columns.batches(
        schema,
        records,
        part.mapping,
        after_ns=part.after_ns,
        batch_rows=part.batch_rows,
        batch_bytes=part.batch_bytes,
    )


def _span(fields: tuple[Any, ...]) -> Span:
    return Span(fields[SEQNO], fields[ROWS], fields[BOOT_NS], fields[PERIOD_NS])


def _records(part: Part, folder: Path) -> Iterator[tuple[Span, memoryview]]:
    for piece in part.pieces:
        path = folder / piece.file
        rows = 0
        try:
            for fields, payload in read_piece(path, piece.begin, piece.end):
                if fields[ROWS]:
                    rows += fields[ROWS]
                    yield _span(fields), payload
        except (FileNotFoundError, DamagedError) as error:
            raise GivenUpError(f"{path}: {error}") from error
        if rows != piece.rows:
            raise GivenUpError(f"{path}: holds {rows} of the {piece.rows} samples planned")


@dataclass
class Extent:
    """What a stream of batches held.

    Args:
        sizes: bounds of a batch and of a row, in serialized bytes.
        rows: how many were passed on.
        too_large: how many were above the bound of a row and left out.
        first_ns: `timestamp_ns` of the first row.
        last_ns: `timestamp_ns` of the last row.
        largest: the largest batch that was passed on, as serialized bytes and rows.
        content: digest of what was passed on.
    """

    sizes: Sizes
    rows: int = 0
    too_large: int = 0
    first_ns: int | None = None
    last_ns: int | None = None
    largest: tuple[int, int] = (0, 0)
    content: ContentDigest = field(default_factory=ContentDigest)

    def over(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Pass batches on, cut to size, and note their extent."""
        for whole in batches:
            for batch in encode.pieces(whole, self.sizes.batch_bytes):
                size_bytes = pa.ipc.get_record_batch_size(batch)
                if size_bytes > self.sizes.row_bytes:
                    self.too_large += batch.num_rows
                    continue
                self._note(batch, size_bytes)
                yield batch

    def _note(self, batch: pa.RecordBatch, size_bytes: int) -> None:
        times = batch.column("timestamp_ns")
        self.rows += batch.num_rows
        if self.first_ns is None:
            self.first_ns = times[0].as_py()
        self.last_ns = times[-1].as_py()
        self.largest = max(self.largest, (size_bytes, batch.num_rows))
        self.content.add(batch)
