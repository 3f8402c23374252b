"""One part to the server, exactly once.

No answer and no error of the server is taken for what happened: before each step the server is
asked what it holds, and the step follows from that.

    it has no such topic                       make it, then fill it
    the topic is whole (rows, times, digest)   delivered
    it is empty, and its uuid is known         fill it
    anything else                              broken: delete it and begin anew; if the key may not
                                               delete, give the name up and go on under the next
                                               (``imu-r1``) in a new writing session
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow.flight as fl

from recorder.errors import RemoteRefusedError
from recorder.mosaico import ontology
from recorder.upload.rows import Extent, GivenUpError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa

    from recorder.mosaico import MosaicoClient, TopicInfo
    from recorder.upload.log import Progress, UploadLog, WritingSession

#: A part that was refused so often, each time from a clean start, will be refused again.
MOST_REFUSALS = 2


class KeyRefusedError(RemoteRefusedError):
    """The server refuses the key, not the data: nothing is parked, the upload waits for a person.

    Examples: the key was revoked; it may not write; the policy `delete` needs one that may delete.
    """


@dataclass(frozen=True)
class Content:
    """What goes into a part's topic.

    Only `digest` and `rows` are known without the spool, which may have given the records up since.

    Args:
        digest: the part's.
        rows: how many.
        describe: makes the topic's ontology tag and user metadata.
        batches: makes the record batches, the same ones at every call.
    """

    digest: str
    rows: int
    describe: Callable[[], tuple[str, dict[str, Any]]]
    batches: Callable[[], Iterator[pa.RecordBatch]]


class Delivery:
    """Brings the parts of one recording to the server.

    Args:
        client: the connection.
        log: the recording's journal; says which sequence.
        must_delete: a topic that cannot be deleted is an error (the session policy `delete`).
    """

    def __init__(self, client: MosaicoClient, log: UploadLog, *, must_delete: bool) -> None:
        self._client = client
        self._log = log
        self._must_delete = must_delete

    def deliver(self, progress: Progress, content: Content) -> None:
        """Bring one part to the server; on return the journal says ``put_ok``.

        Raises:
            RemoteAwayError: the server is not there; call again.
            RemoteRefusedError: the server does not take the part, however often it is tried.
            KeyRefusedError: the server does not take the key.
            GivenUpError: the part's records are not in the spool any more.
            UnmappableError: the part's rows do not fit their ontology.
        """
        extent: Extent | None = None
        refusals: list[RemoteRefusedError] = []
        while len(refusals) < MOST_REFUSALS:
            found = self._client.describe_topic(self._locator(progress))
            if found is not None and self._is_whole(found, content, extent):
                self._accept(progress, found)
                return
            if extent is not None:
                refusals.append(RemoteRefusedError(f"{progress.name}: not stored whole: {found}"))
            try:
                extent = self._step(progress, content, found)
            except RemoteRefusedError as refusal:
                extent = None
                refusals.append(refusal)
        if any(_is_about_key(one) for one in refusals):
            raise KeyRefusedError(str(refusals[-1])) from refusals[-1]
        raise refusals[-1]

    def _locator(self, progress: Progress) -> str:
        return f"{self._log.sequence}/{progress.name}"

    def _step(self, progress: Progress, content: Content, found: TopicInfo | None) -> Extent | None:
        if found is None:
            self._create(progress, content)
        elif progress.state != "created" or found.locked:
            self.remove(progress)
            return None
        extent = self._put(progress, content)
        if extent.rows != content.rows:
            raise GivenUpError(f"{extent.rows} rows where {content.rows} were planned")
        return extent

    def _create(self, progress: Progress, content: Content) -> None:
        tag, metadata = content.describe()
        session = self._log.writing_session() or self._open()
        try:
            uuid = self._client.create_topic(
                session.uuid,
                self._locator(progress),
                ontology_tag=tag,
                serialization_format=ontology.serialization_format(tag),
                metadata=metadata,
            )
        except RemoteRefusedError:
            self._forget_if_closed(session)
            raise
        self._log.note(
            "created",
            part=progress.part.id,
            topic=progress.name,
            topic_uuid=uuid,
            session=session.locator,
        )

    def _open(self) -> WritingSession:
        made = self._client.create_session(self._log.sequence)
        self._log.note("opened", uuid=made.uuid, locator=made.locator)
        return self._log.sessions[-1]

    def _forget_if_closed(self, session: WritingSession) -> None:
        sequence = self._client.describe_sequence(self._log.sequence)
        known = sequence.sessions if sequence else ()
        if not any(one.locator == session.locator and not one.locked for one in known):
            self._log.note("finalized", locator=session.locator)

    def _put(self, progress: Progress, content: Content) -> Extent:
        tag, _ = content.describe()
        self._log.note("putting", part=progress.part.id)
        extent = Extent()
        self._client.put(
            self._locator(progress),
            progress.topic_uuid,
            ontology.schema(tag),
            extent.over(content.batches()),
        )
        return extent

    def _is_whole(self, found: TopicInfo, content: Content, sent: Extent | None) -> bool:
        if not found.locked:
            return False
        told = found.user_metadata.get("recorder", {}).get("digest", content.digest)
        rows = found.row_count
        if rows is None:  # servers before 0.7 do not count
            rows = sum(one.num_rows for one in self._client.read(found.locator))
        times = (found.first_ns, found.last_ns)
        return (
            told == content.digest
            and rows == content.rows
            and times == _times(content, sent, times)
        )

    def _accept(self, progress: Progress, found: TopicInfo) -> None:
        self._log.note(
            "put_ok",
            part=progress.part.id,
            topic=progress.name,
            first_ns=found.first_ns,
            last_ns=found.last_ns,
        )

    def remove(self, progress: Progress) -> None:
        """Take a part's topic off the server, or give its name up; nothing if there is none.

        Raises:
            KeyRefusedError: it must be deleted and cannot be.
        """
        locator = self._locator(progress)
        if self._client.describe_topic(locator) is None:
            return
        refusal: RemoteRefusedError | None = None
        try:
            self._client.delete_topic(locator)
        except RemoteRefusedError as error:
            refusal = error
        left = self._client.describe_topic(locator)
        if left is None:
            return
        if self._must_delete:
            raise KeyRefusedError(f"{locator} is broken and cannot be deleted: {refusal}")
        session = progress.session
        if not session and (current := self._log.writing_session()):
            session = current.locator
        self._log.note(
            "abandoned",
            part=progress.part.id,
            topic=progress.name,
            session="" if left.locked else session,
        )


def _times(
    content: Content, sent: Extent | None, told: tuple[int | None, int | None]
) -> tuple[int | None, int | None]:
    """Return the first and last time that the topic must have."""
    if sent is None:
        # Sent by a process that died since: the same batches are made once more, for their times.
        sent = Extent()
        try:
            for _ in sent.over(content.batches()):
                pass
        except GivenUpError:
            return told  # what was sent is gone from the spool; rows and digest must do
    return sent.first_ns, sent.last_ns


def _is_about_key(refusal: RemoteRefusedError) -> bool:
    about_key = (fl.FlightUnauthorizedError, fl.FlightUnauthenticatedError)
    return isinstance(refusal, KeyRefusedError) or isinstance(refusal.__cause__, about_key)
