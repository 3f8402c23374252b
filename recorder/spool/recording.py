"""The session that is being recorded, on disk: its journal, its lanes, its commits."""

from __future__ import annotations

import dataclasses
import uuid
from typing import TYPE_CHECKING, Any

from recorder.booking import START_ALLOWANCE_NS
from recorder.clock import Mapping, basic_utc, boot_id, boot_ns, system_anchor
from recorder.session.ledger import LaneLedger
from recorder.session.session import Session
from recorder.spool import journal
from recorder.spool.journal import Journal
from recorder.spool.lane_log import Counts, LaneLog
from recorder.spool.watermark import Watermark

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from recorder.record import Anchor
    from recorder.ring import RingReader
    from recorder.spool.spool import Spool


class Recording:
    """One session while it is recorded. Made by `announce` or `resume`.

    Args:
        spool: where it lies.
        session: its record; kept up to date here.
        log: its journal.
        segment_bytes: size at which segments are sealed.
    """

    def __init__(self, spool: Spool, session: Session, log: Journal, segment_bytes: int) -> None:
        self.spool = spool
        self.session = session
        self._journal = log
        folder = spool.session_dir(session.id)
        raw_id = uuid.UUID(session.id).bytes
        settled = session.announced_boot_ns + START_ALLOWANCE_NS
        self.lanes = {
            one.name: LaneLog(
                folder / one.name,
                raw_id,
                one,
                log,
                segment_bytes=segment_bytes,
                settled_boot_ns=settled,
            )
            for one in session.lanes
        }

    @classmethod
    def announce(
        cls, spool: Spool, session: Session, config: dict[str, Any], segment_bytes: int
    ) -> Recording:
        """Begin a session that has no data yet; durable on return."""
        path = spool.journal_path(session.id)
        number = max((spool.number(one) for one in spool.session_ids()), default=0) + 1
        log = Journal(path)
        journal.sync_directory(path.parent.parent)
        log.append({"entry": "announced", "number": number})
        log.append({"entry": "config", "config": config})
        self = cls(spool, session, log, segment_bytes)
        self.note_session()
        log.sync()
        return self

    @classmethod
    def resume(
        cls, spool: Spool, session: Session, segment_bytes: int, water: Watermark | None
    ) -> Recording:
        """Take up a session whose recording process died, from what is durable.

        Args:
            spool: where it lies.
            session: its newest record.
            segment_bytes: size at which segments are sealed.
            water: the last watermark of this boot, or None after a loss of power: then what
                verifies counts.
        """
        session.lanes = [_blank(one) for one in session.lanes]
        log = Journal(spool.journal_path(session.id))
        self = cls(spool, session, log, segment_bytes)
        mine = water if water is not None and water.session_id == session.id else None
        for name, lane in self.lanes.items():
            if mine is not None:
                segments = mine.durable(spool, name)
            else:
                found = spool.segments(session.id, name)
                segments = [(path, path.stat().st_size) for path in found]
            lane.resume(log.entries, segments)
            self._remove_undurable(name, [path.name for path, _ in segments])
        return self

    def _remove_undurable(self, lane: str, kept: Sequence[str]) -> None:
        # Made after the last commit: nothing in them was ever acknowledged, the rings hold it all.
        for path in self.spool.segments(self.session.id, lane):
            if path.name not in kept:
                path.unlink()

    def take(self, ring: RingReader, base: Counts | None) -> None:
        """Append what a ring of one of the session's lanes holds (see `LaneLog.take`)."""
        self.lanes[ring.schema.lane].take(ring, base)

    def take_anchors(self) -> list[Anchor]:
        """Return the anchors that were in what was taken since the last call."""
        found = [anchor for lane in self.lanes.values() for anchor in lane.anchors]
        for lane in self.lanes.values():
            lane.anchors.clear()
        return found

    def commit(self) -> Watermark:
        """Make everything that was appended durable.

        Returns:
            How far the session is durable now.
        """
        for lane in self.lanes.values():
            lane.sync()
        if self.session.state.name == "waiting" and self._has_data():
            self.session.happen("first_sample")
            self.note_session()
        self._journal.sync()
        return Watermark(
            self.session.id, {name: lane.end for name, lane in self.lanes.items() if lane.end}
        )

    def _has_data(self) -> bool:
        return any(one.stored for one in self.session.lanes)

    def tell_time(self, anchors: Sequence[Anchor], identifier: str) -> None:
        """Work out when the session began, and its name, from what is known of the time."""
        mapping = Mapping.through([*anchors, system_anchor()])
        session = self.session
        session.clock_source = mapping.source
        start = session.start_boot_ns
        session.start_utc_ns = None if start is None else mapping.utc_ns(start)
        session.identifier = identifier.format(
            vehicle=session.vehicle, start=basic_utc(session.start_utc_ns), id8=session.id[:8]
        )

    def beat(self, anchors: Sequence[Anchor]) -> None:
        """Journal a heartbeat: the whole record; durable with the next commit."""
        mapping = Mapping.through([*anchors, system_anchor()])
        now = boot_ns()
        self.session.beat(now, mapping.utc_ns(now))
        self.note_session()

    def note_session(self) -> None:
        """Journal the whole record; durable with the next commit."""
        self._journal.append({"entry": "session", "session": self.session.to_dict()})

    def note(self, entry: dict[str, Any]) -> None:
        """Journal something and make it durable before returning."""
        self._journal.record(entry)

    def bury(self, tombstone: dict[str, Any]) -> None:
        """Journal that a segment of this session is given up, durably, and count its samples."""
        self.note(tombstone)
        if not tombstone["delivered"]:
            account = self.lanes[tombstone["lane"]].ledger
            account.lost_evicted += tombstone["rows"]
            account.pending -= tombstone["rows"]

    def open_files(self) -> set[Path]:
        """Return the segments that are being written."""
        folder = self.spool.session_dir(self.session.id)
        ends = ((name, lane.end) for name, lane in self.lanes.items())
        return {folder / name / end[0] for name, end in ends if end}

    def end(self, reason: str, *, is_destination: bool) -> None:
        """Seal every segment and end the recording; durable on return.

        Args:
            reason: why (`recorder.session.session`).
            is_destination: nothing will be uploaded: the spool is where the session was to go, so
                its state becomes terminal now.
        """
        for lane in self.lanes.values():
            lane.seal()
            lane.sync()
        self.session.stop(reason)
        if is_destination:
            for one in self.session.lanes:
                one.delivered, one.pending = one.pending, 0
            self.session.finish()
        self.note_session()
        self._journal.sync()
        self.close()

    def close(self) -> None:
        """Close every file; may be called twice."""
        for lane in self.lanes.values():
            lane.close()
        self._journal.close()


def is_of_this_boot(session: Session) -> bool:
    """Tell whether a session was recorded in the boot that runs now."""
    return session.boot_id == boot_id().hex()


def _blank(lane: LaneLedger) -> LaneLedger:
    kept = ("name", "required", "weight", "rate_hz")
    facts = dataclasses.asdict(lane)
    return LaneLedger(**{key: facts[key] for key in kept})
