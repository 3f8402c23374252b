"""The session that is being recorded, on disk: its journal, its lanes, its commits."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any

from recorder.booking import START_ALLOWANCE_NS
from recorder.clock import boot_ns
from recorder.durable import sync_directory
from recorder.errors import SpoolError
from recorder.record import Anchor
from recorder.session.ledger import LaneLedger
from recorder.session.session import Session
from recorder.spool.counts import Counts
from recorder.spool.journal import BULK, Journal
from recorder.spool.lane_log import LaneLog
from recorder.spool.leftovers import left_of, remove_evicted
from recorder.spool.session_time import is_of_this_boot
from recorder.spool.watermark import Watermark

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from pathlib import Path

    from recorder.ring import RingReader
    from recorder.spool.spool import Spool
    from recorder.time_model import TimeModel

log = logging.getLogger(__name__)


class Recording:
    """One session while it is recorded. Made by `announce` or `resume`.

    Args:
        spool: where it lies.
        session: its record; kept up to date here.
        segment_bytes: size at which segments are sealed.
    """

    def __init__(self, spool: Spool, session: Session, segment_bytes: int) -> None:
        self.spool = spool
        self.session = session
        self._journal = Journal(spool.journal_path(session.id), is_long=True, without=BULK)
        #: What its journal said when it was opened, but for heartbeats and heads.
        self.entries = self._journal.entries
        #: Segments that cannot be read, with the reason; they stay where they are.
        self.refused: list[str] = []
        folder = spool.session_dir(session.id)
        raw_id = bytes.fromhex(session.id.replace("-", ""))
        settled = session.announced_boot_ns + START_ALLOWANCE_NS
        self.lanes = {
            one.name: LaneLog(
                folder / one.name,
                raw_id,
                one,
                self._journal,
                segment_bytes=segment_bytes,
                settled_boot_ns=settled,
            )
            for one in session.lanes
        }

    @classmethod
    def announce(
        cls,
        spool: Spool,
        session: Session,
        config: dict[str, Any],
        segment_bytes: int,
        bases: Iterable[Counts] = (),
    ) -> Recording:
        """Begin a session behind `bases`, to where others took; durable on return, or not there."""
        number = max((spool.number(one) for one in spool.session_ids()), default=0) + 1
        draft = spool.draft_path
        spool.set_aside(draft.parent)
        try:
            with contextlib.closing(Journal(draft)) as journal:
                journal.append({"entry": "announced", "number": number})
                journal.append({"entry": "config", "config": config})
                for one in bases:
                    journal.append({"entry": "base", **one.to_dict()})
                journal.append(_entry(session))
                journal.sync()
        except OSError:
            # Its own, of a moment ago; tried twice a second, they would fill the disk.
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)
                draft.parent.rmdir()
            raise
        folder = draft.parent.rename(spool.session_dir(session.id))
        sync_directory(folder.parent)
        return cls(spool, session, segment_bytes)

    @classmethod
    def resume(
        cls,
        spool: Spool,
        session: Session,
        segment_bytes: int,
        water: Watermark | None,
        *,
        is_afresh: bool = False,
    ) -> Recording:
        """Take up a session whose recording process died, from what is durable.

        Of one of this boot the journal must have been renewed (`journal.renew`).

        Args:
            spool: where it lies.
            session: its newest record.
            segment_bytes: size at which segments are sealed.
            water: the last watermark of this boot, or None after a loss of power: then what
                verifies counts.
            is_afresh: no segment is written on: a sync of it failed.
        """
        told = session.lanes
        session.lanes = [
            LaneLedger(one.name, one.required, one.weight, one.rate_hz) for one in told
        ]
        self = cls(spool, session, segment_bytes)
        try:
            is_this_boot = is_of_this_boot(session)
            self._take_up(told, water, is_this_boot=is_this_boot, is_afresh=is_afresh)
        except OSError:
            self.close()
            raise
        return self

    def _take_up(
        self,
        told: Sequence[LaneLedger],
        water: Watermark | None,
        *,
        is_this_boot: bool,
        is_afresh: bool,
    ) -> None:
        spool, session, entries = self.spool, self.session, self.entries
        remove_evicted(spool, session.id, entries)
        sealed = {one["file"]: one["bytes"] for one in entries if one["entry"] == "sealed"}
        for lane, account in zip(self.lanes.values(), told, strict=True):
            segments, refused = left_of(spool, session.id, account.name, water, sealed)
            self.refused += refused
            self.refused += lane.resume(entries, segments, is_this_boot=is_this_boot)
            if is_afresh:
                lane.break_off()
            if not is_this_boot:
                lane.account.lose_tail(account)
        self._note_first_sample()

    def take(self, ring: RingReader, base: Counts | None) -> None:
        """Append what a ring of one of the session's lanes holds (see `LaneLog.take`)."""
        self.lanes[ring.schema.lane].take(ring, base)

    def take_anchors(self) -> list[Anchor]:
        """Return the anchors that were in what was taken since the last call."""
        found = [anchor for lane in self.lanes.values() for anchor in lane.anchors]
        for lane in self.lanes.values():
            lane.anchors.clear()
        return found

    def commit(self, also: Sequence[Journal] = ()) -> Watermark:
        """Make everything that was appended durable.

        Args:
            also: journals that are to be durable with it.

        Returns:
            How far the session is durable now.

        Raises:
            SpoolError: what was written cannot be made durable. Nothing of it can be trusted any
                more: whoever writes must begin again behind the last watermark.
        """
        journals = [one for one in (self._journal, *also) if one.is_dirty]
        files = [file for lane in self.lanes.values() for file in lane.files()]
        folders = {folder for lane in self.lanes.values() for folder in lane.folders}
        try:
            self.spool.volume.make_durable([*files, *(one.file for one in journals)], folders)
        except OSError as error:
            raise SpoolError(f"what was written cannot be made durable: {error}") from error
        for one in journals:
            one.is_dirty = False
        for lane in self.lanes.values():
            lane.synced()
        ends = {name: lane.end for name, lane in self.lanes.items() if lane.end}
        return Watermark(self.session.id, ends)

    def settle(self) -> None:
        """Journal what the last commit made true; durable with the next one.

        Raises:
            OSError: the journal does not take it; the next call tries again.
        """
        for lane in self.lanes.values():
            lane.settle()
        self._note_first_sample()

    def _note_first_sample(self) -> None:
        if self.session.state.name == "waiting" and any(one.stored for one in self.session.lanes):
            self.session.happen("first_sample")
            self.note_session()
            log.info("session %s: its first samples are durable", self.session.id)

    def beat(self, model: TimeModel) -> None:
        """Journal a heartbeat: the whole record; durable with the next commit."""
        now = boot_ns()
        self.session.beat(now, model.utc_ns(now))
        self.note_session()

    def note_session(self) -> None:
        """Journal the whole record; durable with the next commit."""
        self._journal.append(_entry(self.session))

    def note(self, entry: dict[str, Any]) -> None:
        """Journal something and make it durable before returning."""
        self._journal.record(entry)

    def bury(self, tombstone: dict[str, Any]) -> None:
        """Journal that a segment of this session is given up, and count its samples.

        Durable after `sync`; its file must not go before.
        """
        self._journal.append(tombstone)
        account = self.lanes[tombstone["lane"]].account
        account.bury(tombstone["rows"], delivered=tombstone["delivered"])

    def sync(self) -> None:
        """Make the journal durable."""
        self._journal.sync()

    def behind(self) -> dict[int, Counts]:
        """Return, by ring epoch, up to where this session took, for the next one to go on from."""
        found: dict[int, Counts] = {}
        for lane in self.lanes.values():
            found.update(lane.account.behind())
        return found

    def open_files(self) -> set[Path]:
        """Return the segments that are being written."""
        folder = self.spool.session_dir(self.session.id)
        ends = ((name, lane.end) for name, lane in self.lanes.items())
        return {folder / name / end[0] for name, end in ends if end}

    def close_accounts(self, rings: Sequence[RingReader], running: Collection[str]) -> None:
        """Count, at the recording's end, what lanes that run no more could not bring to the disk.

        Args:
            rings: every ring there is, each lane's oldest first.
            running: lanes that go on: what they hold, and owe, goes into the next session.
        """
        now = boot_ns()
        for name, lane in self.lanes.items():
            if name in running:
                continue
            mine = [one for one in rings if one.schema.lane == name]
            for one in mine:
                lane.account.count_head(one)
            newest = mine[-1].head() if mine else None
            lane.account.count_absence(newest, self.session.announced_boot_ns, now)

    def end(self, reason: str, *, is_destination: bool) -> None:
        """Seal every segment and end the recording; durable on return.

        Args:
            reason: why (`recorder.session.session`).
            is_destination: nothing will be uploaded: the spool is where the session was to go, so
                its state becomes terminal now.
        """
        for lane in self.lanes.values():
            lane.seal()
        self.commit()
        self.settle()
        for lane in self.lanes.values():
            lane.account.close()
        for counts in self.behind().values():
            self._journal.append({"entry": "behind", **counts.to_dict()})
        self._journal.append({"entry": "ended", "reason": reason, "boot_ns": boot_ns()})
        self.session.stop(reason)
        if is_destination:
            for one in self.session.lanes:
                one.delivered, one.pending = one.pending, 0
            self.session.finish()
        self.note_session()
        self.commit()
        self.close()

    def close(self) -> None:
        """Close every file; may be called twice."""
        for lane in self.lanes.values():
            lane.close()
        self._journal.close()


def _entry(session: Session) -> dict[str, Any]:
    return {"entry": "session", "session": session.to_dict()}
