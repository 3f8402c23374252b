"""A writing session on a sequence: makes topics, and ends all of them together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recorder.errors import RemoteError
from recorder.mosaico import ontology
from recorder.mosaico.policies import SessionLevelErrorPolicy, TopicLevelErrorPolicy
from recorder.mosaico.topic_writer import TopicWriter

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from recorder.mosaico.client import MosaicoClient
    from recorder.mosaico.codec import Session


class SessionWriter:
    """One writing session; a context manager, and nothing exists before its block.

    Leaving the block cleanly delivers all buffers, finalizes all topics and then the session; on
    return everything is stored. Leaving it by any exception, `SystemExit` included, carries out
    `on_error`, and the exception goes on; if the server does not let the policy be carried out, a
    `RemoteError` that says why is raised from it, and the session stays unlocked.

    Args:
        client: the connection, used by all topics.
        sequence_name: of the sequence.
        on_error: what becomes of the session if an exception ends it.
    """

    def __init__(
        self, client: MosaicoClient, sequence_name: str, on_error: SessionLevelErrorPolicy
    ) -> None:
        self._client = client
        self._name = sequence_name
        self._on_error = on_error
        self._session: Session | None = None
        self._topics: list[TopicWriter] = []

    @property
    def session(self) -> Session:
        """The session's handle.

        Raises:
            RuntimeError: used outside the ``with`` block.
        """
        if self._session is None:
            raise RuntimeError(f"sequence {self._name}: use it as a context manager")
        return self._session

    def topic_create(
        self,
        topic_name: str,
        metadata: Mapping[str, Any],
        ontology_type: type[Any],
        *,
        error_policy: TopicLevelErrorPolicy | None = None,
        on_error: TopicLevelErrorPolicy | None = None,
    ) -> TopicWriter:
        """Make a topic.

        Args:
            topic_name: path below the sequence, such as ``sensors/imu``.
            metadata: facts about the topic; can never be changed.
            ontology_type: class of its messages, one of `recorder.mosaico.message`.
            error_policy: for exceptions inside ``with topic_writer:``; the default is Raise.
            on_error: the same under the name that the vendor's SDK gives it.

        Raises:
            ValueError: the two names for the policy contradict each other.
            RemoteError: the server did not make it.
        """
        if error_policy and on_error and error_policy is not on_error:
            raise ValueError("error_policy and on_error are the same thing: give one")
        tag = ontology_type.ontology_tag
        locator = f"{self._name}/{topic_name.strip('/')}"
        topic_uuid = self._client.create_topic(
            self.session.uuid,
            locator,
            ontology_tag=tag,
            serialization_format=ontology.serialization_format(tag),
            metadata=metadata,
        )
        policy = error_policy or on_error or TopicLevelErrorPolicy.Raise
        writer = TopicWriter(self._client, locator, topic_uuid, ontology_type, policy)
        self._topics.append(writer)
        return writer

    def _remove(self) -> None:
        """Delete what this session wrote."""
        self._client.delete_session(self.session.locator, self.session.uuid)

    def _finish(self) -> None:
        """End every topic, whatever happens to its neighbours, then the session."""
        failures: list[Exception] = []
        for topic in self._topics:
            try:
                topic.finish()
            except (ValueError, RemoteError) as failure:
                failures.append(failure)
        if failures:
            raise failures[0]
        self._finalize()

    def _finalize(self) -> None:
        if self._topics:  # the server refuses to finalize a session without topics
            self._client.finalize_session(self.session.uuid)

    def _report(self, error: BaseException) -> None:
        lost: RemoteError | None = None
        for topic in self._topics:
            try:
                topic.finish()
            except ValueError:
                pass
            except RemoteError as failure:
                lost = lost or failure
        self._client.notify(
            self._name, f"session {self.session.locator}: {type(error).__name__}: {error}"
        )
        if lost is not None:
            raise lost
        self._finalize()

    def _delete(self) -> None:
        for topic in self._topics:
            topic.abort()
        self._remove()

    def _carry_out(self, error: BaseException) -> None:
        try:
            if self._on_error is SessionLevelErrorPolicy.Report:
                self._report(error)
            else:
                self._delete()
        except RemoteError as failure:
            policy = self._on_error.name
            raise RemoteError(f"sequence {self._name}: {policy} failed: {failure}") from error

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            try:
                self._finish()
            except (ValueError, RemoteError) as failure:
                self._carry_out(failure)
                raise
        else:
            self._carry_out(error)


class SequenceWriter(SessionWriter):
    """Makes a sequence and writes its first session.

    Args:
        client: the connection.
        sequence_name: new on the server; a letter or digit, then ``A-Za-z0-9_-``.
        metadata: facts about the sequence; can never be changed. Keys: ``A-Za-z0-9 _-``.
        on_error: Report keeps what arrived, Delete removes the whole sequence.
    """

    def __init__(
        self,
        client: MosaicoClient,
        sequence_name: str,
        metadata: Mapping[str, Any],
        on_error: SessionLevelErrorPolicy,
    ) -> None:
        super().__init__(client, sequence_name, on_error)
        self._metadata = metadata

    def __enter__(self) -> SequenceWriter:
        self._client.create_sequence(self._name, self._metadata)
        self._session = self._client.create_session(self._name)
        return self

    def _remove(self) -> None:
        self._client.delete_sequence(self._name)
