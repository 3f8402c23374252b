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

import pyarrow as pa

from recorder.errors import RemoteForbiddenError, RemoteRefusedError
from recorder.mosaico import ontology
from recorder.upload.content import digest as content_digest
from recorder.upload.content import is_in_share
from recorder.upload.rows import Extent, GivenUpError
from recorder.upload.state import Sizes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from recorder.config import Upload
    from recorder.mosaico import MosaicoClient, TopicInfo
    from recorder.upload.log import UploadLog
    from recorder.upload.state import Progress, WritingSession

#: A part that was refused so often, each time from a clean start, will be refused again.
MOST_REFUSALS = 2
#: What servers say of a message above their limit, and what we say before we send one. How large
#: it may be a server before 0.7 does not tell; later ones might have a proxy in front of them.
_TOO_LARGE = ("message length too large", "message larger than max", "is above the limit")
#: A refusal teaches a bound that much below what was refused.
_SHRINK_BATCH, _SHRINK_ROW = 0.5, 0.875
_LEAST_BYTES = 4096


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
        settings: policy, and the share of parts that is read back.
        sending: called before each batch with its serialized size in bytes, or with 0 where none is
            sent; may wait, and may raise in order to break off.
    """

    def __init__(
        self,
        client: MosaicoClient,
        log: UploadLog,
        settings: Upload,
        sending: Callable[[int], None],
    ) -> None:
        self._client = client
        self._log = log
        self._must_delete = settings.policy == "delete"
        self._reread_share = settings.reread_share
        self._sending = sending

    def deliver(self, progress: Progress, content: Content) -> None:
        """Bring one part to the server; on return the journal says ``put_ok``.

        Rows above the server's limit are left out and counted.

        Raises:
            RemoteAwayError: the server is not there; call again.
            RemoteRefusedError: the server does not take the part, however often it is tried.
            KeyRefusedError: the server does not take the key.
            GivenUpError: the part's records are not in the spool any more.
            UnmappableError: the part's rows do not fit their ontology.
        """
        sent: Extent | None = None
        refusals: list[RemoteRefusedError] = []
        while len(refusals) < MOST_REFUSALS:
            found = self._client.describe_topic(self._locator(progress))
            if found is not None and self._accept(progress, content, found, sent):
                return
            if sent is not None:
                refusals.append(RemoteRefusedError(f"{progress.name}: not stored whole: {found}"))
            sent = None
            extent = Extent(self._sizes())
            try:
                if self._step(progress, content, found, extent):
                    sent = extent
            except RemoteRefusedError as refusal:
                if not self._learn(refusal, extent):
                    refusals.append(refusal)
        if any(isinstance(one, (KeyRefusedError, RemoteForbiddenError)) for one in refusals):
            raise KeyRefusedError(str(refusals[-1])) from refusals[-1]
        raise refusals[-1]

    def _sizes(self) -> Sizes:
        most_bytes, learned = self._client.most_batch_bytes, self._log.sizes
        row_bytes = min(most_bytes, learned.row_bytes)
        return Sizes(min(learned.batch_bytes, row_bytes), row_bytes)

    def _learn(self, refusal: RemoteRefusedError, sent: Extent) -> bool:
        """Tell whether a refusal was about size; then smaller batches are sent from now on."""
        size_bytes, rows = sent.largest
        if not any(one in str(refusal) for one in _TOO_LARGE) or size_bytes <= _LEAST_BYTES:
            return False
        learned = self._log.sizes
        batch_bytes, row_bytes = learned.batch_bytes, learned.row_bytes
        if rows > 1:
            batch_bytes = int(size_bytes * _SHRINK_BATCH)
        else:
            row_bytes = int(size_bytes * _SHRINK_ROW)
        self._log.note("sizes", batch_bytes=batch_bytes, row_bytes=row_bytes)
        return True

    def _locator(self, progress: Progress) -> str:
        return f"{self._log.sequence}/{progress.name}"

    def _step(
        self, progress: Progress, content: Content, found: TopicInfo | None, extent: Extent
    ) -> bool:
        """Take the step that follows from what the server holds; return whether rows were sent."""
        if found is None:
            self._create(progress, content)
        elif progress.state != "created" or found.locked:
            self.remove(progress)
            return False
        self._put(progress, content, extent)
        if extent.rows + extent.too_large != content.rows:
            raise GivenUpError(f"{extent.rows} rows where {content.rows} were planned")
        return True

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

    def _put(self, progress: Progress, content: Content, extent: Extent) -> None:
        tag, _ = content.describe()
        self._log.note("putting", part=progress.part.id)
        self._client.put(
            self._locator(progress),
            progress.topic_uuid,
            ontology.schema(tag),
            self._sent(extent.over(content.batches())),
        )

    def _sent(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            self._sending(pa.ipc.get_record_batch_size(batch))
            yield batch

    def _read(self, locator: str) -> Iterator[pa.RecordBatch]:
        for batch in self._client.read(locator):
            self._sending(0)
            yield batch

    def _made(self, content: Content) -> Extent | None:
        """Make the batches that a process sent that died since; None if the spool lost them."""
        extent = Extent(self._sizes())
        try:
            for _ in extent.over(content.batches()):
                self._sending(0)
        except GivenUpError:
            return None
        return extent

    def _accept(
        self, progress: Progress, content: Content, found: TopicInfo, sent: Extent | None
    ) -> bool:
        """Journal that a topic is whole, if it is; return whether it is."""
        if not found.locked:
            return False
        extent = sent or self._made(content)
        if not self._is_whole(found, content, extent):
            return False
        self._log.note(
            "put_ok",
            part=progress.part.id,
            topic=progress.name,
            first_ns=found.first_ns,
            last_ns=found.last_ns,
            too_large=extent.too_large if extent else 0,
            content=extent.content.text if extent else "",
        )
        return True

    def _is_whole(self, found: TopicInfo, content: Content, sent: Extent | None) -> bool:
        told = found.user_metadata.get("recorder", {}).get("digest", content.digest)
        rows = found.row_count
        if rows is None:  # servers before 0.7 do not count
            rows = sum(one.num_rows for one in self._read(found.locator))
        if sent is None:  # rows and the digest of what was planned must do
            return told == content.digest and rows == content.rows
        return (
            told == content.digest
            and rows == sent.rows
            and (found.first_ns, found.last_ns) == (sent.first_ns, sent.last_ns)
            and self._is_equal(found, content, sent)
        )

    def _is_equal(self, found: TopicInfo, content: Content, sent: Extent) -> bool:
        """Read a topic back and compare every row, if it is one of the share that is."""
        if not sent.rows or not is_in_share(content.digest, self._reread_share):
            return True
        return content_digest(self._read(found.locator)) == sent.content.text

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
        self._log.note(
            "abandoned",
            part=progress.part.id,
            topic=progress.name,
            session="" if left.locked else self._holder(locator),
        )

    def _holder(self, locator: str) -> str:
        """Ask in which of our writing sessions a topic is: the answer of its making may be lost."""
        sequence = self._client.describe_sequence(self._log.sequence)
        told = {one.locator: one for one in (sequence.sessions if sequence else ())}
        ours = [one.locator for one in self._log.sessions]
        return next((one for one in ours if one in told and locator in told[one].topics), "")
