"""A recording copied from one server to another, topic for topic, in the order of its time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recorder.errors import RecorderError, RemoteError
from recorder.ground import replay
from recorder.ground.observe import SUMMARY
from recorder.mosaico import ontology

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pyarrow as pa

    from recorder.ground.replay import Pace, Slice, Source
    from recorder.mosaico import MosaicoClient, PutStream, SequenceInfo


class Copy:
    """A copy of a sequence under the same name, in one writing session.

    Metadata, ontologies and rows are those of the original; the commit mark is written last, so
    that a copy that has it is whole.

    Args:
        origin: a connection that may read.
        target: a connection that may read and write, to another server.
        info: of the sequence.
        chosen: its topics that are to be copied.
        pace: how fast.
        show: told each slice that was sent.
    """

    def __init__(
        self,
        origin: MosaicoClient,
        target: MosaicoClient,
        info: SequenceInfo,
        chosen: Sequence[Source],
        *,
        pace: Pace,
        show: Callable[[Slice], None],
    ) -> None:
        self._origin, self._target = origin, target
        self._info = info
        self._chosen = chosen
        self._pace = pace
        self._show = show
        self._open: dict[str, PutStream] = {}
        self._session_uuid = ""

    def run(self, start_ns: int | None, end_ns: int | None) -> int:
        """Copy; returns the number of rows, which are all finalized at the target then.

        If it fails or is stopped, what was begun is removed again.

        Args:
            start_ns: first time, inclusive, or None.
            end_ns: last time, exclusive, or None.

        Raises:
            RecorderError: the target has a sequence of that name, or the copy was stopped.
            RemoteError: a server is away or refuses.
        """
        name = self._info.name
        if self._target.describe_sequence(name) is not None:
            raise RecorderError(f"the target has a sequence {name} already")
        self._target.create_sequence(name, self._info.user_metadata)
        try:
            return self._fill(start_ns, end_ns)
        except BaseException:
            self._remove()
            raise

    def _fill(self, start_ns: int | None, end_ns: int | None) -> int:
        self._session_uuid = self._target.create_session(self._info.name).uuid
        marks = [one for one in self._chosen if one.lane == SUMMARY]
        others = [one for one in self._chosen if one.lane != SUMMARY]
        rows = sum(self._send(some, start_ns, end_ns) for some in (others, marks))
        if not rows:
            raise RecorderError(f"{self._info.name} has no rows in that time")
        self._target.finalize_session(self._session_uuid)
        return rows

    def _send(self, chosen: Sequence[Source], start_ns: int | None, end_ns: int | None) -> int:
        rows = 0
        step_ns = self._pace.step_ns
        for one in replay.slices(self._origin, chosen, start_ns, end_ns, step_ns):
            if not self._pace.wait_for(one.end_ns):
                raise RecorderError("the copy was stopped")
            for source, table in one.pieces:
                stream = self._stream(source, table.schema)
                for batch in table.to_batches():
                    stream.write(batch)
                if source.last_ns < one.end_ns:
                    self._open.pop(source.topic.locator).finish()
            rows += one.rows
            self._show(one)
        while self._open:
            self._open.popitem()[1].finish()
        return rows

    def _stream(self, source: Source, schema: pa.Schema) -> PutStream:
        locator = source.topic.locator
        if locator not in self._open:
            tag = source.topic.ontology_tag
            uuid = self._target.create_topic(
                self._session_uuid,
                locator,
                ontology_tag=tag,
                serialization_format=ontology.serialization_format(tag),
                metadata=source.topic.user_metadata,
            )
            self._open[locator] = self._target.open_put(locator, uuid, schema)
        return self._open[locator]

    def _remove(self) -> None:
        for stream in self._open.values():
            stream.abort()
        try:
            self._target.delete_sequence(self._info.name)
        except RemoteError as error:
            raise RecorderError(
                f"the copy broke off, and {self._info.name} cannot be removed from the target:"
                f" {error}"
            ) from error
