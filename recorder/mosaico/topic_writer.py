"""Writing one topic: rows are buffered, batches are sent on the topic's one stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from recorder.errors import RemoteError
from recorder.mosaico import encode, ontology
from recorder.mosaico.message import row
from recorder.mosaico.policies import TopicLevelErrorPolicy

if TYPE_CHECKING:
    from types import TracebackType

    from recorder.mosaico.client import MosaicoClient
    from recorder.mosaico.message import Message
    from recorder.mosaico.wire import PutStream

# One batch is one file and one transaction on the server (about 7 ms); this many bytes per batch
# already reach its full throughput, and a crash of this process loses no more than them.
BATCH_BYTES = 4_000_000
BATCH_ROWS = 10_000


class TopicWriter:
    """Writes one topic; made by `topic_create` of a sequence writer or updater.

    Guard code that may fail for this topic alone by ``with topic_writer:``, as often as needed;
    an exception in it is treated as the topic's policy says. Never does a policy treat a
    `RemoteError`: without the server it could not, and a topic cannot go on on a broken stream.
    Rows that are pushed are buffered and lost with the process until a batch is full, `flush` was
    called or the session's block is left; rows are certain when that block was left cleanly.

    Args:
        client: the connection.
        locator: ``sequence/topic/path``.
        topic_uuid: from the topic's creation.
        ontology_type: class of the messages, one of `recorder.mosaico.message`.
        policy: for exceptions inside ``with topic_writer:``.
    """

    def __init__(
        self,
        client: MosaicoClient,
        locator: str,
        topic_uuid: str,
        ontology_type: type[Any],
        policy: TopicLevelErrorPolicy,
    ) -> None:
        self.locator = locator
        self._client = client
        self._uuid = topic_uuid
        self._type = ontology_type
        self._policy = policy
        self._schema = ontology.schema(ontology_type.ontology_tag)
        self._row_bytes = encode.row_bytes(self._schema)
        self._rows: list[dict[str, Any]] = []
        self._buffered_bytes = 0
        self._stream: PutStream | None = None
        self._ended = False
        self._ignored_rows = 0
        self._too_large_rows = 0

    @property
    def ignored_rows(self) -> int:
        """Rows pushed after the topic had ended; they went nowhere."""
        return self._ignored_rows

    @property
    def too_large_rows(self) -> int:
        """Rows above the server's message limit, which were left out and reported."""
        return self._too_large_rows

    def push(self, message: Message) -> None:
        """Add one row; a no-op that is counted once the topic has ended.

        Raises:
            TypeError: the message is not of this topic's ontology.
            ValueError: a row of the batch that became full cannot be encoded; all others were sent.
            RemoteError: the batch could not be sent.
        """
        if self._ended:
            self._ignored_rows += 1
            return
        if not isinstance(message.data, self._type):
            raise TypeError(
                f"{self.locator} takes {self._type.__name__}, not {type(message.data).__name__}"
            )
        added = row(message)
        self._rows.append(added)
        self._buffered_bytes += self._row_bytes + _blob_bytes(added)
        if len(self._rows) >= BATCH_ROWS or self._buffered_bytes >= BATCH_BYTES:
            self.flush()

    def push_batch(self, batch: pa.RecordBatch) -> None:
        """Send a record batch of this topic's schema at once, behind what is buffered.

        Raises:
            ValueError: it has another schema.
            RemoteError: it could not be sent.
        """
        if self._ended:
            self._ignored_rows += batch.num_rows
            return
        if not batch.schema.equals(self._schema):
            tag = self._type.ontology_tag
            raise ValueError(f"{self.locator}: the batch has not the schema of {tag}")
        self.flush()
        self._send(batch)

    def flush(self) -> None:
        """Send what is buffered.

        Raises:
            ValueError: some rows cannot be encoded; all others were sent.
            RemoteError: it could not be sent; the topic is aborted and stays unfinished.
        """
        rows, self._rows, self._buffered_bytes = self._rows, [], 0
        if not rows:
            return
        try:
            self._send(encode.batch(rows, self._schema))
        except ValueError as error:
            good = encode.good_rows(rows, self._schema)
            if good:
                self._send(encode.batch(good, self._schema))
            bad = len(rows) - len(good)
            raise ValueError(f"{self.locator}: {bad} rows left out: {error}") from error

    def finish(self) -> None:
        """Send what is buffered and end the topic; may be called twice.

        On return the topic is finalized on the server.

        Raises:
            ValueError: some rows could not be encoded; the topic ended with all others.
            RemoteError: the topic did not end cleanly.
        """
        if self._ended:
            return
        try:
            self.flush()
        except ValueError:
            self._end()
            raise
        self._end()

    def abort(self) -> None:
        """Drop what is buffered and break the stream: the topic stays unfinished."""
        self._ended = True
        self._rows.clear()
        if self._stream is not None:
            self._stream.abort()

    def _end(self) -> None:
        self._ended = True
        self._open().finish()

    def _open(self) -> PutStream:
        if self._stream is None:
            self._stream = self._client.open_put(self.locator, self._uuid, self._schema)
        return self._stream

    def _send(self, batch: pa.RecordBatch) -> None:
        try:
            self._send_pieces(batch)
        except BaseException:
            self.abort()  # rows are missing now: never finalize this topic as if it were whole
            raise

    def _send_pieces(self, batch: pa.RecordBatch) -> None:
        most_bytes = self._client.most_batch_bytes
        for piece in encode.pieces(batch, min(most_bytes, 2 * BATCH_BYTES)):
            if pa.ipc.get_record_batch_size(piece) > most_bytes:
                self._too_large_rows += piece.num_rows
                self._client.notify(
                    self.locator,
                    f"row {piece.column(0)[0]} of {piece.nbytes} bytes is above the server's limit",
                )
            else:
                self._open().write(piece)

    def __enter__(self) -> TopicWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        treatable = isinstance(error, Exception) and not isinstance(error, RemoteError)
        if not treatable or self._policy is TopicLevelErrorPolicy.Raise:
            return False
        self._note(error)
        if self._policy is TopicLevelErrorPolicy.Finalize:
            try:
                self.finish()
            except ValueError as left_out:
                self._note(left_out)
        return True

    def _note(self, error: BaseException | None) -> None:
        self._client.notify(self.locator, f"{type(error).__name__}: {error}")


def _blob_bytes(added: dict[str, Any]) -> int:
    return sum(len(value) for value in added.values() if isinstance(value, (bytes, str)))
