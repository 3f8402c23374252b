"""The upload of one session: plan a part, deliver it, and so on to the commit mark.

The order is that of architecture and protocol: lanes (small ones before pictures), the session's
heartbeats, marks, and last `recorder/summary`, whose metadata is the manifest and the terminal
record. While the session is being recorded a part is planned when it is full, or when its oldest
row has waited for as long as a part may span.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from recorder.clock import boot_ns
from recorder.columns import UnmappableError
from recorder.errors import RemoteRefusedError
from recorder.spool.recording import basic_utc
from recorder.upload import conclusion, describe
from recorder.upload.delivery import Content, Delivery, KeyRefusedError
from recorder.upload.log import Progress, UploadLog
from recorder.upload.naming import sequence_name, topic_path
from recorder.upload.parts import MARKS, SESSION_LOG, SUMMARY, Part, trimmed
from recorder.upload.plan import LaneWalk
from recorder.upload.rows import (
    OWN_ONTOLOGY,
    GivenUpError,
    lane_batches,
    lane_schema,
    lines_digest,
    own_batches,
    own_lines,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa

    from recorder.clock import Mapping
    from recorder.config import Upload
    from recorder.mosaico import MosaicoClient
    from recorder.upload.plan import Draft
    from recorder.upload.rows import Line
    from recorder.upload.source import Source

log = logging.getLogger(__name__)

#: An observer of a live session sees a heartbeat at most so long after it was written.
SESSION_LOG_S = 60.0


class SessionUpload:
    """One session on its way to the server.

    Args:
        source: the session in the spool.
        journal: the uploader's journal of it.
        settings: bounds of a part, policies.
        tick: called between batches; may raise in order to break a stream off.
    """

    def __init__(
        self, source: Source, journal: UploadLog, settings: Upload, tick: Callable[[], None]
    ) -> None:
        self.source = source
        self.log = journal
        self._settings = settings
        self._tick = tick
        self._walks: dict[str, LaneWalk] = {}
        self._is_known = False

    @property
    def trouble(self) -> str:
        """Why nothing more is sent of this session until a person asks for it, or empty."""
        held = self.log.held
        return f"{held.name}: {held.reason}" if held else ""

    def step(self, connect: Callable[[], MosaicoClient]) -> bool:
        """Do the next thing that is due, if any: deliver one part, or end the upload.

        Args:
            connect: gives the connection; called only if something is due.

        Returns:
            Whether anything was done.

        Raises:
            RemoteAwayError: the server is not there; what was done is journalled, call again.
            RemoteRefusedError: the server refuses this upload as such (key, sequence).
        """
        self._give_receipts()
        if self.log.is_done or self.trouble:
            return False
        due = self.log.unsettled or self._plan()
        if due is not None:
            self._deliver(connect(), due)
            return True
        if self.source.is_stopped:
            self._conclude(connect())
            return True
        return False

    def retry(self) -> None:
        """Take up again what the server refused, if the session's end is not settled yet."""
        for one in self.log.parts:
            if one.state == "parked" and (one.part.is_own or self.log.final is None):
                self.log.note("resumed", part=one.part.id)

    def backlog(self) -> tuple[int, int]:
        """Return rows and bytes of the spool that the server does not hold yet."""
        settled = [one for one in self.log.parts if one.is_settled and one.state != "dropped"]
        pieces = [piece for one in settled for piece in one.part.pieces]
        stored = sum(one.stored - one.lost_evicted for one in self.source.session.lanes)
        rows = stored - sum(one.rows for one in pieces)
        held_bytes = sum(
            size for lane in self.source.lanes() for _, size in self.source.segments(lane)
        )
        sent_bytes = sum(one.end - one.begin for one in pieces)
        return max(rows, 0), max(held_bytes - sent_bytes, 0)

    # --- planning

    def _plan(self) -> Progress | None:
        if self.source.waits_for_time(self._settings.time_wait_s):
            return None
        own = () if self.source.is_stopped else (SESSION_LOG,)
        for topic in own:
            if (due := self._plan_own(topic)) is not None:
                return due
        for lane in self.source.lanes():
            if (due := self._plan_lane(lane)) is not None:
                return due
        return self._plan_end() if self.source.is_stopped else None

    def _plan_lane(self, lane: str) -> Progress | None:
        walk = self._walks.get(lane) or self._begin_walk(lane)
        is_full = walk.walk(self.source.segments(lane))
        if not walk.draft.rows or not (is_full or self._is_due(walk.draft.first_boot_ns, None)):
            return None
        is_all = not is_full and not self.log.of_lane(lane) and self.source.is_stopped
        return self.log.plan(self._lane_part(lane, walk.next_draft(), is_all=is_all))

    def _is_due(self, oldest_boot_ns: int, most_s: float | None) -> bool:
        waited_s = (boot_ns() - oldest_boot_ns) / 1e9
        return self.source.is_stopped or waited_s >= (most_s or self._settings.part_s)

    def _begin_walk(self, lane: str) -> LaneWalk:
        parts = [one.part for one in self.log.of_lane(lane)]
        walk = self._walks[lane] = LaneWalk(
            self._settings.part_bytes,
            round(self._settings.part_s * 1e9),
            [piece for part in parts for piece in part.pieces],
            parts[-1].device if parts else {},
        )
        return walk

    def _lane_part(self, lane: str, draft: Draft, *, is_all: bool) -> Part:
        earlier = self.log.of_lane(lane)
        goes_on = bool(earlier) and earlier[-1].part.epoch == draft.epoch
        from_seqno = earlier[-1].part.to_seqno if goes_on else draft.runs[0][0]
        mapping = trimmed(self.source.mapping(), draft.first_boot_ns, draft.last_boot_ns)
        return Part(
            id=len(self.log.parts),
            lane=lane,
            topic=topic_path(lane, None if is_all else len(earlier)),
            epoch=draft.epoch,
            from_seqno=from_seqno,
            to_seqno=draft.to_seqno,
            rows=draft.rows,
            pieces=tuple(draft.pieces),
            digest=draft.digest,
            mapping=mapping,
            after_ns=self._after_ns(lane, mapping),
            device=draft.device,
        )

    def _after_ns(self, lane: str, mapping: Mapping) -> int | None:
        # A better source may restate the time once; within one source it never steps back.
        earlier = [one for one in self.log.of_lane(lane) if one.is_delivered]
        if earlier and earlier[-1].part.mapping.source == mapping.source:
            return earlier[-1].last_ns
        return None

    def _plan_end(self) -> Progress | None:
        if (due := self._plan_own(MARKS)) is not None:
            return due
        if self.log.final is None:
            source = self.source
            record = conclusion.terminal_record(
                source.session, source.entries, self.log, source.mapping()
            )
            self.log.note("final", session=record.to_dict())
        return self._plan_own(SESSION_LOG) or self._plan_own(SUMMARY)

    def _own_lines(self, topic: str) -> list[Line]:
        return own_lines(topic, self.source.entries, self.log.final)

    def _plan_own(self, topic: str) -> Progress | None:
        earlier = self.log.of_lane(topic)
        begin = earlier[-1].part.to_seqno if earlier else 0
        lines = self._own_lines(topic)[begin:]
        if not lines or not self._is_due(lines[0].boot_ns, SESSION_LOG_S):
            return None
        boots = [one.boot_ns for one in lines]
        mapping = trimmed(self.source.mapping(), min(boots), max(boots))
        is_all = self.source.is_stopped and not earlier
        part = Part(
            id=len(self.log.parts),
            lane=topic,
            topic=topic_path(topic, None if is_all else len(earlier)),
            epoch=0,
            from_seqno=begin,
            to_seqno=begin + len(lines),
            rows=len(lines),
            pieces=(),
            digest=lines_digest(lines),
            mapping=mapping,
            after_ns=self._after_ns(topic, mapping),
        )
        return self.log.plan(part)

    # --- delivering

    def _deliver(self, client: MosaicoClient, due: Progress) -> None:
        self._know_sequence(client)
        delivery = Delivery(client, self.log, must_delete=self._settings.policy == "delete")
        part = due.part
        try:
            if self._lane_ended(part.lane):
                raise RemoteRefusedError(f"{part.lane}: ended by an earlier refusal")
            delivery.deliver(due, self._content(part))
        except GivenUpError as error:
            log.warning("%s; planned anew", error)
            delivery.remove(due)
            self.log.note("dropped", part=part.id, reason=str(error))
            self._walks.pop(part.lane, None)
        except KeyRefusedError:
            raise
        except (RemoteRefusedError, UnmappableError) as error:
            delivery.remove(due)
            self._park(client, due, str(error))
        self._give_receipts()

    def _lane_ended(self, lane: str) -> bool:
        parked = [one for one in self.log.of_lane(lane) if one.state == "parked"]
        return any(one.policy == "finalize" for one in parked)

    def _park(self, client: MosaicoClient, due: Progress, reason: str) -> None:
        part = due.part
        policy = "raise" if part.is_own else lane_schema(part, self._folder(part)).on_error
        log.warning("%s/%s is refused: %s (%s)", self.log.sequence, due.name, reason, policy)
        self.log.note("parked", part=part.id, reason=reason, policy=policy)
        key = f"{self.source.session_id}/{part.id}"
        conclusion.notify_once(client, self.log.sequence, key, f"{due.name} refused: {reason}")

    def _folder(self, part: Part):  # type: ignore[no-untyped-def]
        return self.source.folder(part.lane)

    def _content(self, part: Part) -> Content:
        if part.is_own:
            facts = describe.part_facts(part)
            metadata = {"recorder": facts}
            if part.lane == SUMMARY:
                metadata = conclusion.summary_metadata(self.log, facts)
            if part.lane == SESSION_LOG:
                facts |= {"heartbeat_s": self.source.session.heartbeat_s, "part_s": SESSION_LOG_S}
            return Content(
                OWN_ONTOLOGY, metadata, part.digest, part.rows, lambda: self._own_batches(part)
            )
        schema = lane_schema(part, self._folder(part))
        return Content(
            schema.ontology,
            describe.lane_metadata(part, schema),
            part.digest,
            part.rows,
            lambda: self._ticking(lane_batches(part, self._folder(part))),
        )

    def _own_batches(self, part: Part) -> Iterator[pa.RecordBatch]:
        lines = self._own_lines(part.lane)[part.from_seqno : part.to_seqno]
        return self._ticking(own_batches(part, lines))

    def _ticking(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            self._tick()
            yield batch

    def _give_receipts(self, *, at_end: bool = False) -> None:
        if self._settings.policy == "delete" and not at_end:
            return
        for one in self.log.parts:
            if one.state == "put_ok":
                facts = {"topic": one.topic, "first_ns": one.first_ns, "last_ns": one.last_ns}
                self.log.note("receipt", part=one.part.id, **one.part.receipt(), **facts)

    def _know_sequence(self, client: MosaicoClient) -> None:
        """Find the recording's sequence on the server, or make it."""
        if self._is_known:
            return
        source = self.source
        mapping = source.mapping()
        start = basic_utc(describe.start_utc_ns(source.session, mapping))
        number = 1
        name = self.log.sequence
        while not self._is_ours(client, name, mapping):
            name = sequence_name(source.session.vehicle, start, source.session_id, number)
            number += 1
            if name != self.log.sequence:
                pass
        self._is_known = True

    def _is_ours(self, client: MosaicoClient, name: str, mapping: Mapping) -> bool:
        raise NotImplementedError

    # --- ending

    def _conclude(self, client: MosaicoClient) -> None:
        self._know_sequence(client)
        conclusion.report_end(client, self.log)
        conclusion.close_sessions(client, self.log)
        self._give_receipts(at_end=True)
        self.log.note("done")
        log.info("session %s is on the server as %s", self.source.session_id, self.log.sequence)
