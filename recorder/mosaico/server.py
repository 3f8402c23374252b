"""A Mosaico server as one connection sees it: one method per thing that it can be asked.

Every question has a deadline. Streams must not have one; there `wire.KEEPALIVE` finds a dead link.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa
import pyarrow.flight as fl

from recorder.errors import RemoteAwayError, RemoteForbiddenError, RemoteRefusedError
from recorder.mosaico import codec
from recorder.mosaico.wire import PutStream, open_flight, remote_errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

TIMEOUT_S = 10.0
KEY_HEADER = b"mosaico-api-key-token"
# 0.4 took 25 MB, 0.5 and later twice that; a server that does not tell gets less than the least.
UNTOLD_BATCH_BYTES = 22_000_000
# The rest of a message is the batch's frame; the vendor's SDK keeps the same tenth.
SHARE_OF_MESSAGE = 0.9

AnyServer = TypeVar("AnyServer", bound="Server")


class Server:
    """A connection to one server; a context manager.

    All methods may be called from several threads. Unless said otherwise they raise
    `RemoteAwayError` (ask again later; whether a change happened must be asked) or
    `RemoteRefusedError` with the server's own sentence, `RemoteForbiddenError` if it is about the
    key. "Locator" is ``sequence``, ``sequence/topic/path`` or, of a session, ``sequence:id``.

    Args:
        url: ``grpc://host:port`` or ``grpc+tls://host:port``.
        api_key: sent with every call, or None.
        tls_root_certs: PEM certificates to trust instead of the system's, or None.
        timeout_s: for each question.
        info: who answers, if that was asked before; else it is asked now.

    Raises:
        RemoteAwayError: nobody answers within `timeout_s`.
        RemoteForbiddenError: the key is missing, malformed, revoked or unknown.
        RemoteRefusedError: nobody there speaks Mosaico.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        tls_root_certs: bytes | None = None,
        timeout_s: float = TIMEOUT_S,
        info: codec.ServerInfo | None = None,
    ) -> None:
        headers = [] if api_key is None else [(KEY_HEADER, _header(api_key))]
        self._made = (url, api_key, tls_root_certs, timeout_s)
        self._question = fl.FlightCallOptions(timeout=timeout_s, headers=headers)
        self._stream = fl.FlightCallOptions(headers=headers)
        self._flight = open_flight(url, tls_root_certs)
        try:
            self.info = info or self.server_info()
        except BaseException:
            self._flight.close()
            raise

    def twin(self: AnyServer) -> AnyServer:
        """Return another connection to the same server, with the same key; nothing is asked."""
        url, api_key, roots, timeout_s = self._made
        return type(self)(
            url, api_key=api_key, tls_root_certs=roots, timeout_s=timeout_s, info=self.info
        )

    def close(self) -> None:
        """Hang up; streams that are still open must have been aborted or finished before."""
        self._flight.close()

    @property
    def most_batch_bytes(self) -> int:
        """The largest record batch (serialized, bytes) that this server is sent."""
        announced = self.info.most_message_bytes
        return UNTOLD_BATCH_BYTES if announced is None else int(announced * SHARE_OF_MESSAGE)

    # --- what the server holds

    def server_info(self) -> codec.ServerInfo:
        """Ask who answers: `info` since 0.7, `version` before."""
        try:
            return codec.server_info(self._act("info"))
        except RemoteForbiddenError:
            raise
        except RemoteRefusedError as refusal:
            # ArrowInvalid is how 0.5 and 0.6 say that they know no `info`.
            if not isinstance(refusal.__cause__, (pa.ArrowInvalid, pa.ArrowNotImplementedError)):
                raise
        return codec.server_info(self._act("version"))

    def sequences(self) -> list[str]:
        """Names of all sequences."""
        with remote_errors("list_flights"):
            flights = list(self._flight.list_flights(options=self._question))
        return [flight.descriptor.path[0].decode() for flight in flights]

    def describe_sequence(self, name: str) -> codec.SequenceInfo | None:
        """A sequence with its sessions and topics, or None if the server has none of that name."""
        flight = self._flight_info(name)
        if flight is None:
            return None
        topics = tuple(codec.topic_info(each.app_metadata, {}) for each in flight.endpoints)
        return codec.sequence_info(flight.app_metadata, flight.schema.metadata or {}, topics)

    def describe_topic(self, locator: str) -> codec.TopicInfo | None:
        """A topic in any state, or None if the server has none of that name."""
        flight = self._flight_info(locator)
        if flight is None:
            return None
        endpoint = flight.endpoints[0]
        return codec.topic_info(endpoint.app_metadata, flight.schema.metadata or {})

    def read(
        self, locator: str, start_ns: int | None = None, end_ns: int | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Rows of a topic as record batches, by rising `timestamp_ns`.

        Args:
            locator: of a topic, finalized or not; without any stored batch it is refused.
            start_ns: first time, inclusive, UTC ns.
            end_ns: last time, exclusive, UTC ns.
        """
        flight = self._flight_info(locator, start_ns, end_ns)
        if flight is None:
            raise RemoteRefusedError(f"read {locator}: no such topic")
        with remote_errors(f"read {locator}"):
            reader = self._flight.do_get(flight.endpoints[0].ticket, self._stream)
            try:
                for chunk in reader:
                    yield chunk.data
            finally:
                reader.cancel()  # whoever stops early must not wait for the rest

    def notifications(self, locator: str) -> list[codec.Notification]:
        """Error notes on a sequence or a topic, oldest first."""
        action = f"{_kind(locator)}_notification_list"
        return codec.notifications(self._act(action, locator=locator))

    # --- writing

    def create_sequence(self, name: str, metadata: Mapping[str, Any]) -> None:
        """Make an empty sequence; its metadata can never be changed."""
        self._act("sequence_create", locator=name, user_metadata=dict(metadata))

    def create_session(self, sequence: str) -> codec.Session:
        """Open a writing session; if the answer is lost, so is the session's uuid."""
        action = "session_create"
        answer = self._act(action, locator=sequence)
        return codec.Session(
            codec.text(action, answer, "uuid"), codec.text(action, answer, "locator")
        )

    def create_topic(
        self,
        session_uuid: str,
        locator: str,
        *,
        ontology_tag: str,
        serialization_format: str,
        metadata: Mapping[str, Any],
    ) -> str:
        """Make an empty topic in an open session.

        Returns:
            The topic's uuid, which one stream needs and which is told only here.
        """
        answer = self._act(
            "topic_create",
            session_uuid=session_uuid,
            locator=locator,
            ontology_tag=ontology_tag,
            serialization_format=serialization_format,
            user_metadata=dict(metadata),
        )
        return codec.text("topic_create", answer, "uuid")

    def open_put(self, locator: str, topic_uuid: str, schema: pa.Schema) -> PutStream:
        """Open the one stream that fills a topic; a refusal may show only at a later write."""
        command = codec.request({"resource_locator": locator, "topic_uuid": topic_uuid})
        with remote_errors(f"put {locator}"):
            writer, _ = self._flight.do_put(
                fl.FlightDescriptor.for_command(command), schema, self._stream
            )
        return PutStream(locator, writer, self.most_batch_bytes)

    def put(
        self, locator: str, topic_uuid: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch]
    ) -> None:
        """Fill a topic with all batches and finalize it.

        On return every row is stored and the topic is finalized. On any exception, also one that
        `batches` raises, the stream was aborted: the topic stays Uploading, unless the server's
        OK itself was lost.
        """
        with self.open_put(locator, topic_uuid, schema) as stream:
            for batch in batches:
                stream.write(batch)

    def finalize_session(self, uuid: str) -> None:
        """Close a session for ever; refused while a topic is not finalized, or a second time."""
        self._act("session_finalize", session_uuid=uuid)

    def notify(self, locator: str, text: str) -> None:
        """Leave an error note on a sequence or a topic; the server does not detect repeats."""
        action = f"{_kind(locator)}_notification_create"
        plain = text.encode(errors="replace").decode()  # whatever a path or an exception held
        self._act(action, locator=locator, notification_type="error", msg=plain)

    def notify_once(self, locator: str, note_id: str, text: str) -> None:
        """Leave a note that carries an id; if the answer is lost, look before saying it again."""
        told = f"{text} [{note_id}]"
        try:
            self.notify(locator, told)
        except RemoteAwayError:
            if not any(note_id in one.text for one in self.notifications(locator)):
                self.notify(locator, told)

    def delete_topic(self, locator: str) -> None:
        """Remove a topic in any state; needs the delete permission, as all deletes do."""
        self._act("topic_delete", locator=locator)

    def delete_session(self, locator: str, uuid: str) -> None:
        """Remove a session with its topics (old servers want the uuid, newer ones the locator)."""
        self._act("session_delete", locator=locator, session_uuid=uuid)

    def delete_sequence(self, name: str) -> None:
        """Remove a sequence with all its sessions and topics."""
        self._act("sequence_delete", locator=name)

    # --- inside

    def _act(self, action: str, **fields: object) -> dict[str, Any]:
        with remote_errors(action):
            results = self._flight.do_action(
                fl.Action(action, codec.request(fields)), self._question
            )
            body = b"".join(result.body.to_pybytes() for result in results)
        return codec.response(action, body)

    def _flight_info(
        self, locator: str, start_ns: int | None = None, end_ns: int | None = None
    ) -> fl.FlightInfo | None:
        command: dict[str, Any] = {"resource_locator": locator}
        if start_ns is not None:
            command["timestamp_ns_start"] = start_ns
        if end_ns is not None:
            command["timestamp_ns_end"] = end_ns
        descriptor = fl.FlightDescriptor.for_command(codec.request(command))
        with remote_errors(f"get_flight_info {locator}"):
            try:
                return self._flight.get_flight_info(descriptor, self._question)
            except pa.ArrowKeyError:
                return None

    def __enter__(self: AnyServer) -> AnyServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _kind(locator: str) -> str:
    return "topic" if "/" in locator else "sequence"


def _header(api_key: str) -> bytes:
    # gRPC answers an illegal header with an assertion or a riddle.
    if not (api_key.isascii() and api_key.isprintable() and api_key.strip() == api_key):
        raise RemoteForbiddenError(
            "the API key is malformed: it holds blanks or control characters"
        )
    return api_key.encode()
