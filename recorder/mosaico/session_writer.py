"""A writing session on a sequence: makes topics, and ends all of them together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recorder.errors import RemoteError
from recorder.mosaico import ontology
from recorder.mosaico.buffer import Limits
from recorder.mosaico.policies import SessionLevelErrorPolicy, TopicLevelErrorPolicy
from recorder.mosaico.topic_writer import TopicWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from enum import Enum
    from types import TracebackType

    from recorder.mosaico.codec import Session
    from recorder.mosaico.server import Server

_DEFAULT_LIMITS = Limits()


class SessionWriter:
    """One writing session; a context manager, and nothing exists before its block.

    Leaving the block cleanly delivers all buffers, finalizes all topics and then the session; on
    return everything is stored. Leaving it by any exception, `SystemExit` included, carries out
    `on_error`, and the exception goes on; if the policy cannot be carried out, the `RemoteError`
    that says why is raised from it, and the session stays unlocked. So it does when a topic is
    broken at the end, whatever that topic's policy. A session without topics stays unlocked too:
    no server finalizes it.

    Args:
        server: the connection; each topic makes its own beside it.
        sequence_name: of the sequence.
        on_error: what becomes of the session if an exception ends it.

    Raises:
        TypeError: `on_error` is no policy of ours, though another library may call it so.
    """

    def __init__(
        self, server: Server, sequence_name: str, on_error: SessionLevelErrorPolicy
    ) -> None:
        _check(on_error, SessionLevelErrorPolicy)
        self._server = server
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
        limits: Limits = _DEFAULT_LIMITS,
    ) -> TopicWriter:
        """Make a topic.

        Args:
            topic_name: path below the sequence, such as ``sensors/imu``.
            metadata: facts about the topic; can never be changed.
            ontology_type: class of its messages' data, one of `recorder.mosaico.message` or one
                declared as `recorder.mosaico.ontology` says.
            error_policy: what a failure does to this topic and to the others; default Raise.
            on_error: the same under the name that the vendor's SDK gives it.
            limits: how much of the topic may wait, and how long.

        Raises:
            ValueError: the two names for the policy contradict each other.
            TypeError: the class is no ontology, or the policy none of a topic's.
            RemoteError: the server did not make it.
        """
        if error_policy and on_error and error_policy is not on_error:
            raise ValueError("error_policy and on_error are the same thing: give one")
        policy = error_policy or on_error or TopicLevelErrorPolicy.Raise
        _check(policy, TopicLevelErrorPolicy)
        ontology.schema_of(ontology_type)  # before the server makes what cannot be filled
        locator = f"{self._name}/{topic_name.strip('/')}"
        topic_uuid = self._server.create_topic(
            self.session.uuid,
            locator,
            ontology_tag=ontology_type.ontology_tag,
            serialization_format=ontology.format_of(ontology_type),
            metadata=metadata,
        )
        writer = TopicWriter(
            self._server,
            locator,
            topic_uuid,
            ontology_type=ontology_type,
            policy=policy,
            limits=limits,
        )
        self._topics.append(writer)
        return writer

    # --- the end

    def _finish(self) -> None:
        """End every topic, whatever happens to its neighbours, then the session."""
        failures = self._deliver() or self._end_topics() or self._finalize()
        if failures:
            self._carry_out(failures)
            raise failures[0]

    def _report(self, errors: list[BaseException]) -> None:
        """Deliver all buffers, then say what happened, then finalize what is whole."""
        errors += [one for one in self._deliver() if one not in errors]
        session = f"session {self.session.locator}"
        told = "; ".join(f"{type(one).__name__}: {one}" for one in errors)
        lost: list[BaseException] = []
        try:
            self._server.notify_once(self._name, session, told)
        except RemoteError as failure:
            lost.append(failure)
        self._end_topics()
        lost += [one.broken for one in self._topics if one.broken is not None]
        lost = lost or self._finalize()
        if lost:
            raise lost[0]

    def _delete(self) -> None:
        for topic in self._topics:
            topic.begin_abort()
        for topic in self._topics:
            topic.abort()
        self._remove()

    def _remove(self) -> None:
        """Delete what this session wrote."""
        self._server.delete_session(self.session.locator, self.session.uuid)

    def _deliver(self) -> list[BaseException]:
        for topic in self._topics:
            topic.begin_flush()
        return self._failures_of(TopicWriter.flush)

    def _end_topics(self) -> list[BaseException]:
        for topic in self._topics:
            topic.begin_finish()
        return self._failures_of(TopicWriter.finish)

    def _failures_of(self, step: Callable[[TopicWriter], None]) -> list[BaseException]:
        failures: list[BaseException] = []
        for topic in self._topics:
            try:
                step(topic)
            except (ValueError, RemoteError) as failure:
                failures.append(failure)
        return failures

    def _finalize(self) -> list[BaseException]:
        try:
            if self._topics:  # the server refuses to finalize a session without topics
                self._server.finalize_session(self.session.uuid)
        except RemoteError as failure:
            return [failure]
        return []

    def _carry_out(self, errors: list[BaseException]) -> None:
        policy = self._on_error
        try:
            if policy is SessionLevelErrorPolicy.Report:
                self._report(errors)
            else:
                self._delete()
        except RemoteError as failure:
            raise type(failure)(
                f"sequence {self._name}: {policy.name} failed, session {self.session.locator}"
                f" stays unlocked: {failure}"
            ) from errors[0]

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self._finish()
            else:
                self._carry_out([error])
        finally:
            # Nothing to do but after a second exception, such as Ctrl-C during all this. Then no
            # thread may go on and end its stream cleanly.
            for topic in self._topics:
                topic.begin_abort()


def _check(policy: object, kind: type[Enum]) -> None:
    # What is none of ours would be taken for the last one, and that may delete.
    if not isinstance(policy, kind):
        raise TypeError(f"the policy must be a {kind.__name__} of recorder.mosaico, not {policy!r}")
