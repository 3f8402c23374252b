"""The upload of one session: plan a part, deliver it, and so on to the commit mark.

The commit mark is the topic `recorder/summary`, whose metadata is the manifest and the terminal
record. When it is finalized and the server's writing sessions are, the recording is complete.
"""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any

from recorder.columns import UnmappableError, arrow_schema
from recorder.errors import RemoteRefusedError
from recorder.mosaico.encode import Sizes
from recorder.upload import conclusion, describe
from recorder.upload.delivery import Content, Delivery, KeyRefusedError
from recorder.upload.parts import SESSION_LOG, SUMMARY
from recorder.upload.planner import SESSION_LOG_S, Planner
from recorder.upload.reissue import is_given_up, issue_anew, issued_session
from recorder.upload.rows import (
    OWN_ONTOLOGY,
    GivenUpError,
    lane_batches,
    lane_schema,
    lines_within,
    own_batches,
)
from recorder.upload.sequence import find_or_make, give_up_earlier, remove
from recorder.upload.state import receipt
from recorder.upload.traffic import CapReachedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa

    from recorder.config import Upload
    from recorder.mosaico import MosaicoClient
    from recorder.upload.log import UploadLog
    from recorder.upload.parts import Part
    from recorder.upload.source import Source
    from recorder.upload.state import Progress
    from recorder.upload.traffic import Traffic

log = logging.getLogger(__name__)


class SessionUpload:
    """One session on its way to the server.

    Args:
        source: the session in the spool.
        journal: the uploader's journal of it.
        settings: bounds of a part, policies.
        traffic: the month's account.
        sending: called before each batch with its size in bytes, or 0 where none is sent, and
            whether the session may pass the month's cap; may wait, and may raise in order to break
            a stream off.
    """

    def __init__(
        self,
        source: Source,
        journal: UploadLog,
        settings: Upload,
        traffic: Traffic,
        sending: Callable[[int, bool], None],
    ) -> None:
        self.source = source
        self.log = journal
        self._settings = settings
        self._traffic = traffic
        self._sending = sending
        self._planner = Planner(source, journal, settings)
        self._is_given_up = False
        self._known_by: MosaicoClient | None = None  # another may come to another disk
        #: Bytes of the stream under way that were sent so far.
        self.way_bytes = 0

    @property
    def trouble(self) -> str:
        """Why nothing more is sent of this session until a person asks for it, or empty."""
        if self.is_elsewhere:
            return (
                f"a part of it went to {self.log.server}, which does not count here: send it there"
                " with --server, or all that the spool still holds to this server with --anew"
            )
        held, kept = self.log.held, self.log.kept
        left = f"; its sequence cannot be deleted and stays unlocked: {kept}" if kept else ""
        return f"{held.name}: {held.reason}{left}" if held else ""

    @property
    def is_elsewhere(self) -> bool:
        """Whether another server holds a part of it."""
        return bool(self.log.server) and self.log.server != self._settings.server

    def step(self, connect: Callable[[], MosaicoClient]) -> bool:
        """Do the next thing that is due, if any: deliver one part, or end the upload.

        Args:
            connect: gives the connection; called only if something is due.

        Returns:
            Whether anything was done.

        Raises:
            RemoteAwayError: the server is not there; what was done is journalled, call again.
            RemoteRefusedError: the server refuses this upload as such (key, sequence).
            CapReachedError: the month's cap does not let it be sent.
        """
        self._give_receipts()
        if self.log.is_done:
            return False
        if self.trouble:
            return self._remove(connect)
        due = self.log.unsettled or self._planner.next_part()
        if due is not None and self.log.is_ended(due.part.lane):
            self.log.note("parked", part=due.part.id, reason="after a refusal, as configured")
        elif due is not None:
            return self._deliver_unless_given_up(connect(), due)
        elif self.source.is_stopped and not self._planner.is_waiting:
            self._conclude(connect())
        else:
            return False
        return True

    def retry(self) -> None:
        """Take up again what the server refused, if the session's end is not settled yet."""
        for one in self.log.parts:
            if one.state == "parked" and (one.part.is_own or self.log.final is None):
                self.log.note("resumed", part=one.part.id)

    def allow_over_cap(self) -> None:
        """Let the session pass the month's cap from now on; durable on return."""
        if not self.log.is_over_cap:
            self.log.note("over_cap")

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

    def _deliver_unless_given_up(self, client: MosaicoClient, due: Progress) -> bool:
        """Bring one part to the server, or issue the recording anew if somebody abandoned it.

        One that is abandoned while it is recorded waits for its end; beyond the cap none is made.
        """
        self._traffic.check(self._expected_bytes(due.part), over_cap=self.log.is_over_cap)
        self._know_sequence(client)
        if not self._is_given_up:
            issued_id = self.log.reissued_as or self.source.session_id
            self._is_given_up = is_given_up(client, self.log.sequence, issued_id)
        if not self._is_given_up:
            self._deliver(client, due)
        elif self.source.is_stopped:
            self.log = issue_anew(self.log)
            self._planner = Planner(self.source, self.log, self._settings)
            self._known_by, self._is_given_up = None, False
        else:
            return False
        return True

    def _deliver(self, client: MosaicoClient, due: Progress) -> None:
        """Bring one part to the server, within the month's cap."""
        expected_bytes = self._expected_bytes(due.part)
        if due.part.is_own:  # small; it may go beside a part that is booked
            self._traffic.check(expected_bytes, over_cap=self.log.is_over_cap)
            self._send(client, due)
            return
        self._traffic.begin(expected_bytes, over_cap=self.log.is_over_cap)
        try:
            self._send(client, due)
        finally:
            self._traffic.end()

    def _expected_bytes(self, part: Part) -> int:
        """Return about how many bytes a part is on the wire, rather more."""
        if part.is_own:
            lines = lines_within(part, self._planner.own_lines(part.lane))
            return sum(len(one.text) for one in lines)
        held_bytes = sum(one.end - one.begin for one in part.pieces)
        try:
            schema = lane_schema(part, self.source.folder(part.lane))
            return held_bytes + part.rows * Sizes("", arrow_schema(schema)).fixed_bytes
        except (GivenUpError, UnmappableError):  # found out again, and reported, when it is sent
            return held_bytes

    def _send(self, client: MosaicoClient, due: Progress) -> None:
        self._know_sequence(client)
        self.way_bytes = 0
        delivery = Delivery(client, self.log, self._settings, self._sent)
        part = due.part
        try:
            delivery.deliver(due, self._content(client, part))
        except GivenUpError as error:
            log.warning("%s; planned again without it", error)
            delivery.remove(due)
            self._planner.plan_again(due, str(error))
        except KeyRefusedError:
            raise
        except (RemoteRefusedError, UnmappableError) as error:
            delivery.remove(due)
            self._park(client, due, str(error))
        self._report_too_large(client, due)
        self.way_bytes = 0
        self._give_receipts()

    def _sent(self, size_bytes: int) -> None:
        self.way_bytes += size_bytes
        self._sending(size_bytes, self.log.is_over_cap)

    def _park(self, client: MosaicoClient, due: Progress, reason: str) -> None:
        # Told first: after a crash in between it is refused, and found told, once more.
        log.warning("%s/%s is refused: %s", self.log.sequence, due.name, reason)
        key = f"{self.source.session_id}/{due.part.id}"
        conclusion.notify_once(client, self.log, key, f"{due.name} refused: {reason}")
        self.log.note("parked", part=due.part.id, reason=reason)

    def _report_too_large(self, client: MosaicoClient, due: Progress) -> None:
        if due.is_delivered and due.too_large:
            text = f"{due.name}: {due.too_large} rows are too large for this server and left out"
            log.warning("%s/%s", self.log.sequence, text)
            key = f"{self.source.session_id}/{due.part.id}/size"
            conclusion.notify_once(client, self.log, key, text)

    def _remove(self, connect: Callable[[], MosaicoClient]) -> bool:
        """Take the sequence off the server if the policy is that, and it was not tried before."""
        is_due = self._settings.policy == "delete" and self.log.sequence and not self.log.kept
        if self.is_elsewhere or not is_due:
            return False
        remove(connect(), self.log, self.log.reissued_as or self.source.session_id)
        self._known_by = None
        return True

    def _content(self, client: MosaicoClient, part: Part) -> Content:
        return Content(
            part.digest,
            part.rows,
            lambda: self._describe(part),
            lambda: self._batches(client, part),
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

    def _batches(self, client: MosaicoClient, part: Part) -> Iterator[pa.RecordBatch]:
        if part.is_own:
            yield from own_batches(part, lambda: self._planner.own_lines(part.lane))
            return
        for batch in lane_batches(part, self.source.folder(part.lane)):
            self._beat(client)
            yield batch

    def _beat(self, client: MosaicoClient) -> None:
        """Send the heartbeats that fall due while a long part is under way, beside it."""
        beat = self._planner.heartbeats() if self.source.look_at_journal() else None
        if beat is not None:
            with contextlib.suppress(CapReachedError):  # then they wait, as everything will
                self._deliver(client, beat)

    def _give_receipts(self, *, at_end: bool = False) -> None:
        if self._settings.policy == "delete" and not at_end:
            return
        for one in self.log.parts:
            if one.state == "put_ok":
                self.log.note("receipt", **receipt(one))

    def _know_sequence(self, client: MosaicoClient) -> None:
        if self._known_by is not client:
            session = issued_session(self.source.session, self.log.reissued_as)
            mapping, server = self.source.mapping(), self._settings.server
            find_or_make(client, self.log, session, mapping, server)
            self._known_by = client

    # --- ending

    def _conclude(self, client: MosaicoClient) -> None:
        self._know_sequence(client)
        conclusion.report_end(client, self.log)
        conclusion.close_sessions(client, self.log)
        give_up_earlier(client, self.log, self.log.reissued_as or self.source.session_id)
        self._give_receipts(at_end=True)
        self.log.note("done", server=self._settings.server)
        log.info("session %s is on the server as %s", self.source.session_id, self.log.sequence)
