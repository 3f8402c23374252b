"""The Flight calls: what comes over the wire, checked, carried out and answered.

A C++ Flight server sees a killed client as a normal end of its stream. So before a topic is
finalized something is written to the client, which fails if the call is dead, and the call's
context is asked whether it was cancelled.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.flight as fl

from recorder.ground import answers
from recorder.ground.actions import Request
from recorder.ground.beat import Beat
from recorder.ground.keys import HEADER, READ, WRITE
from recorder.ground.merge import TIME
from recorder.ground.refusals import RefusedError, UnknownError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from recorder.ground.actions import Actions
    from recorder.ground.catalogue import Catalogue
    from recorder.ground.keys import Keys
    from recorder.ground.store import Store
    from recorder.ground.topics import Topics

_EMPTY = pa.schema([pa.field(TIME, pa.int64(), nullable=False)])


class _Header(fl.ServerMiddleware):  # type: ignore[misc]  # pyarrow ships no types
    """Keeps one call's key."""

    def __init__(self, token: str | None) -> None:
        self.token = token


class _Headers(fl.ServerMiddlewareFactory):  # type: ignore[misc]  # pyarrow ships no types
    """Takes the key out of each call's headers."""

    def start_call(self, info: fl.CallInfo, headers: dict[str, list[str]]) -> _Header:
        return _Header(next(iter(headers.get(HEADER, ())), None))


class FlightService(fl.FlightServerBase):  # type: ignore[misc]  # pyarrow ships no types
    """The server; it serves from the moment it is made until `shutdown`.

    Args:
        url: ``grpc://host:port`` or ``grpc+tls://…``; port 0 takes a free one, see `port`.
        certificates: pairs of PEM certificate and key, empty without TLS.
        catalogue: sequences, sessions, notes.
        topics: topics and chunks.
        rows: the rows.
        actions: carries actions out.
        keys: the keys to check, None to let everybody do everything.
    """

    def __init__(
        self,
        url: str,
        *,
        certificates: list[tuple[bytes, bytes]],
        catalogue: Catalogue,
        topics: Topics,
        rows: Store,
        actions: Actions,
        keys: Keys | None,
    ) -> None:
        self._catalogue = catalogue
        self._topics = topics
        self._rows = rows
        self._keys = keys
        self._actions = actions
        self.beat = Beat()
        super().__init__(url, middleware={"key": _Headers()}, tls_certificates=certificates)
        self.beat.start()

    # --- calls

    def do_action(self, context: fl.ServerCallContext, action: fl.Action) -> list[bytes]:
        """Carry out an action; what it changed is durable before the answer."""
        permission = self._actions.permission(action.type)
        with self._answering(context, permission, action.type.title().replace("_", "")):
            return self._actions.run(action.type, action.body.to_pybytes())

    def list_actions(self, context: fl.ServerCallContext) -> list[tuple[str, str]]:
        """List the actions."""
        with self._answering(context, None, "ListActions"):
            return [(name, "") for name in self._actions.names()]

    def list_flights(
        self, context: fl.ServerCallContext, criteria: bytes
    ) -> Iterator[fl.FlightInfo]:
        """List all sequences."""
        with self._answering(context, READ, "ListFlights"):
            rows = self._catalogue.sequences()
        for row in rows:
            descriptor = fl.FlightDescriptor.for_path(row["name"])
            yield fl.FlightInfo(pa.schema([]), descriptor, [])

    def get_flight_info(
        self, context: fl.ServerCallContext, descriptor: fl.FlightDescriptor
    ) -> fl.FlightInfo:
        """Describe a sequence or a topic, in any state, with what it holds."""
        with self._answering(context, READ, "GetFlightInfo"):
            request = Request.read(descriptor.command)
            locator = request.locator("resource_locator")
            span = _span(request)
            if "/" in locator:
                topic = self._topics.get(locator)
                endpoints = [self._endpoint(topic, span)]
                return fl.FlightInfo(_schema(topic), descriptor, endpoints)
            sequence = self._catalogue.sequence(locator)
            topics = self._topics.of_sequence(locator)
            return fl.FlightInfo(
                pa.schema([]),
                descriptor,
                [self._endpoint(topic, span) for topic in topics],
                app_metadata=answers.sequence(
                    sequence, self._catalogue.sessions(sequence["id"]), topics
                ),
            )

    def get_schema(
        self, context: fl.ServerCallContext, descriptor: fl.FlightDescriptor
    ) -> fl.SchemaResult:
        """Tell the schema that a topic's stream had; of an Empty one, only the time column."""
        with self._answering(context, READ, "GetSchema"):
            locator = Request.read(descriptor.command).locator("resource_locator")
            topic = self._topics.get(locator) if "/" in locator else None
            return fl.SchemaResult(pa.schema([]) if topic is None else _schema(topic))

    def do_get(self, context: fl.ServerCallContext, ticket: fl.Ticket) -> fl.GeneratorStream:
        """Send a topic's rows by rising time, also those of an unfinished one."""
        with self._answering(context, READ, "DoGet"):
            request = Request.read(ticket.ticket)
            topic = self._topics.get(request.locator("resource_locator"))
            locked = topic["completed_at_ns"] is not None
            if not locked and topic["chunk_count"] == 0:
                raise RefusedError(f"topic '{topic['locator']}' holds no data yet")
            tables = self._tables(topic, *_span(request))
            return fl.GeneratorStream(_schema(topic), _batches(tables))

    def do_put(
        self,
        context: fl.ServerCallContext,
        descriptor: fl.FlightDescriptor,
        reader: fl.MetadataRecordBatchReader,
        writer: fl.FlightMetadataWriter,
    ) -> None:
        """Take a topic's one stream; each batch is durable before the next is read."""
        with self._answering(context, WRITE, "DoPut"):
            request = Request.read(descriptor.command)
            _check_schema(reader.schema)
            topic_id, folder = self._topics.begin_upload(
                request.locator("resource_locator"),
                request.uuid("topic_uuid"),
                reader.schema.serialize().to_pybytes(),
            )
            self._rows.open_folder(folder)
            with self.beat.on(writer):
                number = 0
                while (batch := self._received(reader)) is not None:
                    self._topics.add_chunk(topic_id, self._rows.write(folder, number, batch))
                    number += 1
                    del batch  # else two of each of fifty streams are in memory
            _check_clean_end(context, writer)
            self._topics.finish_upload(topic_id)

    # --- inside

    @contextmanager
    def _answering(
        self, context: fl.ServerCallContext, permission: str | None, doing: str
    ) -> Iterator[None]:
        """Check the key; let refusals through, and call everything else a fault of ours."""
        try:
            if self._keys is not None:
                self._keys.check(context.get_middleware("key").token, permission, doing)
            yield
        except (RefusedError, UnknownError, fl.FlightError):
            raise
        # A KeyError or ValueError of ours must not travel as NOT_FOUND or INVALID_ARGUMENT, which
        # mean something to a client.
        except (sqlite3.Error, OSError, LookupError, ValueError, pa.ArrowException) as error:
            raise fl.FlightInternalError(f"{doing}: {error}") from error

    def _received(self, reader: fl.MetadataRecordBatchReader) -> pa.RecordBatch | None:
        """The stream's next batch, None at its end; anything else in it ends it."""
        if self.beat.stopped:
            raise fl.FlightUnavailableError("the station stops")
        try:
            batch = reader.read_chunk().data
        except StopIteration:
            return None
        if batch is None:
            raise RefusedError("the stream holds a message without rows")
        if pa.ipc.get_record_batch_size(batch) > answers.MOST_MESSAGE_BYTES:
            raise fl.FlightCancelledError("decoded message length too large")
        return batch

    def _endpoint(
        self, topic: sqlite3.Row, span: tuple[int | None, int | None]
    ) -> fl.FlightEndpoint:
        command: dict[str, Any] = {"resource_locator": topic["locator"]}
        window = None
        if span != (None, None):
            command |= {"timestamp_ns_start": span[0], "timestamp_ns_end": span[1]}
            window = self._window(topic, *span)
        return fl.FlightEndpoint(
            json.dumps(command).encode(), [], app_metadata=answers.topic(topic, window)
        )

    def _window(
        self, topic: sqlite3.Row, start_ns: int | None, end_ns: int | None
    ) -> dict[str, Any]:
        spans = [
            self._rows.span(topic["folder"], chunk, start_ns, end_ns)
            for chunk in self._topics.chunks(topic["id"])
            if chunk.meets(start_ns, end_ns)
        ]
        firsts = [first_ns for _, first_ns, _ in spans if first_ns is not None]
        lasts = [last_ns for _, _, last_ns in spans if last_ns is not None]
        return {
            "row_count": sum(count for count, _, _ in spans),
            "interval": answers.interval(min(firsts, default=None), max(lasts, default=None)),
        }

    def _tables(
        self, topic: sqlite3.Row, start_ns: int | None, end_ns: int | None
    ) -> Iterator[pa.Table]:
        schema = _schema(topic)
        chunks = [
            chunk for chunk in self._topics.chunks(topic["id"]) if chunk.meets(start_ns, end_ns)
        ]
        return self._rows.in_order(topic["folder"], chunks, schema, start_ns, end_ns)


def _check_clean_end(context: fl.ServerCallContext, writer: fl.FlightMetadataWriter) -> None:
    """Refuse to take the end of a stream for a clean one if the client is gone.

    The context alone may learn of it a moment after the stream's end. The transport closes both
    directions of a dead call at once, so that a write is certain to fail.
    """
    try:
        writer.write(pa.py_buffer(b""))
        gone = context.is_cancelled()
    except (pa.ArrowException, OSError):
        gone = True
    if gone:
        raise fl.FlightCancelledError("the client is gone before it ended its stream")


def _batches(tables: Iterator[pa.Table]) -> Iterator[pa.RecordBatch]:
    """Cut tables into messages of about the announced target size."""
    for table in tables:
        if table.num_rows:
            rows = max(1, table.num_rows * answers.TARGET_MESSAGE_BYTES // max(table.nbytes, 1))
            yield from table.to_batches(max_chunksize=rows)


def _span(request: Request) -> tuple[int | None, int | None]:
    start_ns, end_ns = request.time_ns("timestamp_ns_start"), request.time_ns("timestamp_ns_end")
    if start_ns is not None and end_ns is not None and end_ns <= start_ns:
        raise RefusedError(f"empty time range: {start_ns} to {end_ns}")
    return start_ns, end_ns


def _schema(topic: sqlite3.Row) -> pa.Schema:
    if topic["arrow_schema"] is None:
        return _EMPTY
    return pa.ipc.read_schema(pa.py_buffer(topic["arrow_schema"]))


def _check_schema(schema: pa.Schema) -> None:
    index = schema.get_field_index(TIME)
    if index < 0 or schema.field(index).type != pa.int64():
        raise RefusedError(f"the schema has no column '{TIME}' of type int64")
