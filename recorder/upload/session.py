"""The upload of one session: plan a part, deliver it, and so on to the commit mark.

The commit mark is the topic `recorder/summary`, whose metadata is the manifest and the terminal
record. When it is finalized and the server's writing sessions are, the recording is complete.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from recorder.columns import UnmappableError
from recorder.errors import RemoteRefusedError
from recorder.upload import conclusion, describe
from recorder.upload.delivery import Content, Delivery, KeyRefusedError
from recorder.upload.parts import SESSION_LOG, SUMMARY
from recorder.upload.planner import SESSION_LOG_S, Planner
from recorder.upload.rows import (
    OWN_ONTOLOGY,
    GivenUpError,
    lane_batches,
    lane_schema,
    own_batches,
)
from recorder.upload.sequence import find_or_make

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa

    from recorder.config import Upload
    from recorder.mosaico import MosaicoClient
    from recorder.upload.log import Progress, UploadLog
    from recorder.upload.parts import Part
    from recorder.upload.source import Source

log = logging.getLogger(__name__)


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
        self._planner = Planner(source, journal, settings)
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
        due = self.log.unsettled or self._planner.next_part()
        if due is not None and self.log.is_ended(due.part.lane):
            self.log.note("parked", part=due.part.id, reason="after a refusal, as configured")
            return True
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
        held_bytes = self.source.size_bytes()
        sent_bytes = sum(one.end - one.begin for one in pieces)
        return max(rows, 0), max(held_bytes - sent_bytes, 0)

    # --- delivering

    def _deliver(self, client: MosaicoClient, due: Progress) -> None:
        self._know_sequence(client)
        delivery = Delivery(client, self.log, must_delete=self._settings.policy == "delete")
        part = due.part
        try:
            delivery.deliver(due, self._content(part))
        except GivenUpError as error:
            log.warning("%s; planned anew", error)
            delivery.remove(due)
            self.log.note("dropped", part=part.id, reason=str(error))
            self._planner.plan_anew(part.lane)
        except KeyRefusedError:
            raise
        except (RemoteRefusedError, UnmappableError) as error:
            delivery.remove(due)
            self._park(client, due, str(error))
        self._give_receipts()

    def _park(self, client: MosaicoClient, due: Progress, reason: str) -> None:
        log.warning("%s/%s is refused: %s", self.log.sequence, due.name, reason)
        self.log.note("parked", part=due.part.id, reason=reason)
        key = f"{self.source.session_id}/{due.part.id}"
        conclusion.notify_once(client, self.log.sequence, key, f"{due.name} refused: {reason}")

    def _content(self, part: Part) -> Content:
        return Content(
            part.digest, part.rows, lambda: self._describe(part), lambda: self._batches(part)
        )

    def _describe(self, part: Part) -> tuple[str, dict[str, Any]]:
        if not part.is_own:
            schema = lane_schema(part, self.source.folder(part.lane))
            return schema.ontology, describe.lane_metadata(part, schema)
        facts = describe.part_facts(part)
        if part.lane == SESSION_LOG:
            facts |= {"heartbeat_s": self.source.session.heartbeat_s, "part_s": SESSION_LOG_S}
        if part.lane == SUMMARY:
            return OWN_ONTOLOGY, conclusion.summary_metadata(self.log, facts)
        return OWN_ONTOLOGY, {"recorder": facts}

    def _batches(self, part: Part) -> Iterator[pa.RecordBatch]:
        if not part.is_own:
            return self._ticking(lane_batches(part, self.source.folder(part.lane)))
        lines = self._planner.own_lines(part.lane)[part.from_seqno : part.to_seqno]
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
        if not self._is_known:
            find_or_make(client, self.log, self.source.session, self.source.mapping())
            self._is_known = True

    # --- ending

    def _conclude(self, client: MosaicoClient) -> None:
        self._know_sequence(client)
        conclusion.report_end(client, self.log)
        conclusion.close_sessions(client, self.log)
        self._give_receipts(at_end=True)
        self.log.note("done", server=self._settings.server)
        log.info("session %s is on the server as %s", self.source.session_id, self.log.sequence)
