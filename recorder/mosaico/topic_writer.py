"""Writing one topic: rows are taken at once, and encoded and sent by the topic's own thread."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from recorder.errors import RemoteError
from recorder.mosaico import encode, ontology
from recorder.mosaico.outbox import Outbox, TooLargeError
from recorder.mosaico.policies import TopicLevelErrorPolicy

if TYPE_CHECKING:
    from types import TracebackType

    import pyarrow as pa

    from recorder.mosaico.buffer import Limits
    from recorder.mosaico.message import Message
    from recorder.mosaico.server import Server


class TopicWriter:
    """Writes one topic; made by `topic_create` of a sequence writer or updater.

    Guard code that may fail for this topic alone by ``with topic_writer:``, as often as needed;
    an exception in it is treated as the topic's policy says. So are failures that show only after
    `push` returned: rows that cannot be encoded, and a stream that broke. The policies Ignore and
    Finalize leave a note on the server; what cannot be noted there is raised as under Raise.

    Rows that are pushed are lost with the process until they were sent (see `Limits`), and are
    certain when the session's block was left cleanly. Rows must not be changed after `push`.
    All methods may be called from several threads.

    Args:
        server: the connection.
        locator: ``sequence/topic/path``.
        topic_uuid: from the topic's creation.
        ontology_type: class of the messages' data.
        policy: what a failure does to this topic and to the others.
        limits: how much may wait, and how long.
    """

    def __init__(
        self,
        server: Server,
        locator: str,
        topic_uuid: str,
        *,
        ontology_type: type[Any],
        policy: TopicLevelErrorPolicy,
        limits: Limits,
    ) -> None:
        self.locator = locator
        self._server = server
        self._uuid = topic_uuid
        self._type = ontology_type
        self._policy = policy
        self._schema = ontology.schema_of(ontology_type)
        self._sizes = encode.Sizes(locator, self._schema)
        self._row_bytes = self._sizes.fixed_bytes if self._sizes.are_fixed else 0
        self._note_numbers = itertools.count(1)
        self._failure: ValueError | RemoteError | None = None
        self._ignored_rows = 0
        self._too_large_rows = 0
        self._outbox = Outbox(
            server, locator, topic_uuid, schema=self._schema, limits=limits, told=self._told
        )
        self._buffer = self._outbox.buffer

    @property
    def ignored_rows(self) -> int:
        """Rows pushed after the topic had ended or broken; they went nowhere."""
        return self._ignored_rows

    @property
    def too_large_rows(self) -> int:
        """Rows above the server's message limit, which were left out and noted on the topic."""
        return self._too_large_rows

    @property
    def broken(self) -> RemoteError | None:
        """Why the topic can never be finalized, or None."""
        return self._outbox.broken

    def push(self, message: Message) -> None:
        """Take one row; a no-op that is counted once the topic has ended.

        Blocks while too much of this topic waits to be sent.

        Raises:
            TypeError: the message is not of this topic's ontology, or a text or a blob in it is
                none; it was not taken.
            RemoteAwayError: there was no room in time; it was not taken.
            ValueError: a row that was pushed before cannot be encoded (policy Raise); all others
                are sent, this one too.
            RemoteError: the topic is broken (policy Raise).
        """
        data = message.data
        if type(data) is not self._type:
            self._check(data)
        if not self._buffer.add(message, self._row_bytes or self._sizes.of(data)):
            self._ignored_rows += self._failure is None
        if self._failure is not None:
            self._raise_failure()

    def push_batch(self, batch: pa.RecordBatch) -> None:
        """Send a record batch of this topic's schema, behind what was pushed before.

        Batches of 1 to 8 MiB cost the server least. Else like `push`.

        Raises:
            ValueError: it has another schema, or a null where none may be.
            RemoteError: there was no room in time, or the topic is broken (policy Raise).
        """
        if not batch.schema.equals(self._schema):
            tag = self._type.ontology_tag
            raise ValueError(f"{self.locator}: the batch has not the schema of {tag}")
        encode.check(batch)
        if not self._buffer.add_batch(batch):
            self._ignored_rows += batch.num_rows if self._failure is None else 0
        self._raise_failure()

    def flush(self) -> None:
        """Send what waits, and return when it is on its way.

        Raises:
            ValueError: some rows cannot be encoded (policy Raise); all others were sent.
            RemoteError: the topic is broken (policy Raise).
        """
        self._buffer.hand_over()
        self._outbox.wait_sent()
        self._raise_failure()

    def finish(self) -> None:
        """Send what waits and end the topic; may be called twice.

        On return the topic is finalized on the server.

        Raises:
            ValueError: some rows could not be encoded (policy Raise); the topic ended with all
                others.
            RemoteError: the topic is not finalized.
        """
        self.begin_finish()
        self._outbox.wait_closed()
        self._raise_failure()
        if self.broken is not None:
            raise self.broken

    # --- for the session, which ends all its topics at the same time

    def begin_flush(self) -> None:
        """Begin what `flush` waits for."""
        self._buffer.hand_over()

    def begin_finish(self) -> None:
        """Begin what `finish` waits for."""
        self._buffer.close()

    def begin_abort(self) -> None:
        """Drop what waits and break the stream, without waiting: the topic stays unfinished."""
        self._buffer.abort()

    def abort(self) -> None:
        """Drop what waits and break the stream: the topic stays unfinished."""
        self.begin_abort()
        self._outbox.wait_aborted()

    # --- failures

    def _check(self, data: object) -> None:
        if not isinstance(data, self._type):
            raise TypeError(
                f"{self.locator} takes {self._type.__name__}, not {type(data).__name__}"
            )

    def _told(self, failure: ValueError | RemoteError) -> None:
        """Treat what the topic's thread tells as the policy says."""
        policy = self._policy
        if isinstance(failure, TooLargeError):
            self._too_large_rows += 1
            policy = TopicLevelErrorPolicy.Ignore
        try:
            if policy is not TopicLevelErrorPolicy.Raise:
                self._note(failure)
        except RemoteError:
            policy = TopicLevelErrorPolicy.Raise
        if policy is TopicLevelErrorPolicy.Raise:
            self._failure = failure
        elif policy is TopicLevelErrorPolicy.Finalize:
            self._buffer.close()

    def _raise_failure(self) -> None:
        failure = self._failure
        if failure is None:
            return
        if failure is not self.broken:  # a broken topic stays so
            self._failure = None
        raise failure

    def _note(self, error: BaseException) -> None:
        """Leave a note on the topic, by an id that tells whether it is there already."""
        note_id = f"{self._uuid[:8]}-{next(self._note_numbers)}"
        self._server.notify_once(self.locator, note_id, f"{type(error).__name__}: {error}")

    def __enter__(self) -> TopicWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        # An exit or Ctrl-C is no failure of a topic: it always reaches the session.
        if not isinstance(error, Exception) or self._policy is TopicLevelErrorPolicy.Raise:
            return False
        self._note(error)
        if self._policy is TopicLevelErrorPolicy.Finalize:
            self._buffer.close()
        return True
