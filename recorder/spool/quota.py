"""Room on the disk: which segments are given up when it runs short, and in which order.

What the server holds for certain goes first; then what it does not hold, and of that last what is
pinned beyond what pins may hold (`recorder.spool.pins`); in the end what is about to be sent, and
that only provisionally (`recorder.spool.leases`). Within each of these the lane with the smallest
rank goes first (`recorder.spool.stock.lane_rank`: pictures, then fast rows, then slow ones), and
within a lane the oldest. Never what a pin holds, and never what is being written. Before anything
goes that the server does not hold, sessions go of which only the journal is left
(`recorder.spool.endings`).

Each segment leaves a tombstone in its session's journal, the entry ``evicted``: its lane, file and
rows, whether they were ``delivered``, whether they were ``leased``, and whether they were
``pinned``: beyond what pins may hold. It is durable before the file is removed. A removal that a
loss of power undoes is done again.
"""

from __future__ import annotations

import contextlib
import functools
import heapq
import logging
import os
from typing import TYPE_CHECKING

from recorder.spool.endings import Endings
from recorder.spool.journal import Journal, renew
from recorder.spool.leases import evicted_rows, settle
from recorder.spool.pins import Overflow
from recorder.spool.places import discard, may_write
from recorder.spool.reserve import RESERVE_BYTES, Reserve, proofs_of
from recorder.spool.segment import read_head
from recorder.spool.stock import Stock, disk_bytes, lane_rank
from recorder.spool.volume import FULL, missing_files

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

    from recorder.config import Config
    from recorder.session.session import Session
    from recorder.spool.recording import Recording
    from recorder.spool.spool import Spool
    from recorder.spool.stock import Key, Rank, Segment, SessionStock

log = logging.getLogger(__name__)

#: So much is done in one commit at most: journals read, segments given up, journals written.
LEARN_BYTES, MOST_SEGMENTS, MOST_JOURNALS = 8 * 1024 * 1024, 64, 4


def free_bytes(directory: Path) -> int:
    """Return how much the recorder may still write on a directory's disk."""
    stat = os.statvfs(directory)
    return stat.f_bavail * stat.f_frsize


def floor_bytes(config: Config) -> int:
    """Return how much is kept free: what is configured, and at least two segments.

    The next segment takes its blocks at once, and the journals need some.
    """
    return max(config.spool.free_floor_bytes, 2 * config.spool.segment_bytes)


def pin_cap_bytes(spool: Spool, config: Config) -> int:
    """Return how much all pins together may hold."""
    stat = os.statvfs(spool.directory)
    disk = stat.f_blocks * stat.f_frsize - floor_bytes(config)
    return round(max(config.spool.max_bytes or disk, 0) * config.spool.pin_share)


def in_order(
    segments: Collection[Segment], leased: Collection[Key], pinned: Collection[Key] = ()
) -> list[Segment]:
    """Return the first segments to go, the very first in front; at most `MOST_SEGMENTS`.

    Args:
        segments: all that may go.
        leased: the keys of those that are about to be sent.
        pinned: the keys of those that a person asked to keep and pins may not hold.
    """

    def worth(one: Segment) -> tuple[object, ...]:
        worth = 0 if one.is_delivered else 1 + (one.key in pinned) + 2 * (one.key in leased)
        return worth, one.rank, one.order

    return heapq.nsmallest(MOST_SEGMENTS, segments, key=worth)


class Room:
    """Keeps the disk above its floor and the spool below its maximum.

    It belongs to the one process that writes. What it knows of the spool it reads once, bit by bit,
    and then follows, so that a commit never waits long for it.

    Args:
        spool: the spool.
        config: says what is to be kept free, how much may be held, and who matters most.
    """

    def __init__(self, spool: Spool, config: Config) -> None:
        self.stock = Stock(spool, config)
        self.spool = spool
        self.config = config
        self._reserve = Reserve(spool.directory)
        self._overflow = Overflow()
        self._endings = Endings(spool, self.stock, config.upload_dir)
        #: Whether a tombstone can be written: what somebody else owns stays. Asked once of each.
        self._may_bury = functools.cache(lambda one: may_write(spool.journal_path(one)))
        self._told: set[tuple[str, str]] = set()
        #: Sessions with files that were given up and are there.
        self._left: list[SessionStock] = []

    def keep(self, recording: Recording | None, starved: Collection[str] = ()) -> int:
        """Give up what has to go; called once in each commit, and costs little if nothing has to.

        Args:
            recording: the session that is being recorded, or None.
            starved: lanes, or ``journal``, for which the disk had no room just now. Then nothing
                waits until all of the spool is known, and the least of the open segments may be
                ended, so that it can be given up in the next commit.

        Returns:
            How many bytes were freed.

        Raises:
            OSError: a tombstone could not be written; its segment stays, the next call tries again.
        """
        self._left += [one for one in self.stock.learn(LEARN_BYTES) if one.leftovers]
        if recording is not None:
            self.stock.follow(recording.session.id)
        freed_bytes = self._make(recording, starved)
        self._remove_left(recording)
        if self.stock.is_complete and not starved:
            self._endings.go_on(_id_of(recording))
        return freed_bytes

    def _make(self, recording: Recording | None, starved: Collection[str]) -> int:
        short_bytes = self._short_bytes(recording)
        short_files = missing_files(self.spool.directory) if starved else 0
        if short_bytes <= 0 and not short_files:
            if short_bytes + RESERVE_BYTES <= 0:
                self._reserve.fill()
            return 0
        if not (self.stock.is_complete or starved):
            return 0
        freed_bytes = self._give_up(recording, short_bytes, short_files, is_starved=bool(starved))
        if not freed_bytes and starved and recording is not None:
            self._end_least(recording, starved)
        return freed_bytes

    def _remove_left(self, recording: Recording | None) -> None:
        """Remove again what a loss of power, or a death in between, left of what was given up."""
        while self._left:
            one = self._left[0]
            if recording is None or recording.session.id != one.id:
                try:
                    # Its sync may have failed: the tombstone that is seen need not be on the disk.
                    renew(self.spool.journal_path(one.id))
                except OSError as error:
                    if error.errno not in FULL:
                        raise
                    return  # the disk has no room for it now; the next call tries again
            for path in one.leftovers:
                discard(path)
            one.leftovers.clear()
            del self._left[0]

    def _short_bytes(self, recording: Recording | None) -> int:
        """Return how much is missing; negative if there is more room than must be."""
        short_bytes = floor_bytes(self.config) - free_bytes(self.spool.directory)
        most_bytes = self.config.spool.max_bytes
        if most_bytes:
            opened = recording.open_files() if recording is not None else ()
            used_bytes = self.stock.disk_bytes() + sum(disk_bytes(path) or 0 for path in opened)
            short_bytes = max(short_bytes, used_bytes - most_bytes)
        return short_bytes

    def _give_up(
        self, recording: Recording | None, short_bytes: int, short_files: int, *, is_starved: bool
    ) -> int:
        self.stock.look_at_deliveries()
        leased = self.stock.leased()
        chosen: dict[str, list[Segment]] = {}
        freed_bytes = 0
        free = self._free(recording, is_last_resort=is_starved)
        goes = in_order(free, leased, self._overflow.keys)
        if self.stock.is_complete and not (goes and goes[0].is_delivered):
            freed_bytes = self._endings.make_room(_id_of(recording), short_bytes)
        for count, one in enumerate(goes):
            is_enough = freed_bytes >= short_bytes and count >= short_files
            if is_enough or len({*chosen, one.session_id}) > MOST_JOURNALS:
                break
            chosen.setdefault(one.session_id, []).append(one)
            freed_bytes += one.disk_bytes
        for segments in chosen.values():
            self._bury(recording, segments, leased)
        return freed_bytes

    def _free(self, recording: Recording | None, *, is_last_resort: bool) -> list[Segment]:
        """Return every segment that may go."""
        cap_bytes = pin_cap_bytes(self.spool, self.config)
        kept = self._overflow.look(self.stock.pinned(), cap_bytes)
        if recording is not None and not is_last_resort:
            # The newest segment of a lane may be sealed, and is still named by the watermark.
            session_id, files = recording.session.id, recording.open_files()
            kept |= {(session_id, path.parent.name, path.name) for path in files}
        # One without a sample may have been sealed by an end that did not come: in the newest
        # session it may be written on.
        newest = max((one.order[0] for one in self.stock.segments()), default=0)
        free = (one for one in self.stock.segments() if one.key not in kept)
        free = (one for one in free if one.rows or one.order[0] < newest)
        return [one for one in free if self._may_bury(one.session_id)]

    def _bury(
        self, recording: Recording | None, segments: list[Segment], leased: Collection[Key]
    ) -> None:
        """Give up segments of one session: first the tombstones, durably, then the files."""
        session_id = segments[0].session_id
        over = self._overflow.keys
        tombstones = [
            one.tombstone(is_leased=one.key in leased, is_pinned=one.key in over)
            for one in segments
        ]
        if recording is not None and recording.session.id == session_id:
            for one in tombstones:
                self._reserve.spend_on(functools.partial(recording.bury, one))
            recording.sync()
        else:
            with contextlib.closing(Journal(self.spool.journal_path(session_id))) as journal:
                is_open = self.spool.session(session_id).recording == "running"
                proofs = proofs_of(journal.entries, tombstones) if is_open else []
                for one in [*proofs, *tombstones]:
                    self._reserve.spend_on(functools.partial(journal.append, one))
                journal.sync()
        for segment in segments:
            discard(self.spool.session_dir(session_id) / segment.lane / segment.file)
        self._reserve.fill()
        self.stock.follow(session_id)
        self._tell(segments)

    def _tell(self, segments: list[Segment]) -> None:
        self._overflow.lose(segments)
        for one in segments:
            about = one.session_id, one.lane
            if not one.is_delivered and about not in self._told:
                self._told.add(about)
                log.warning(
                    "no room: lane %s of session %s is being given up, oldest first, undelivered",
                    one.lane,
                    one.session_id,
                )

    def _end_least(self, recording: Recording, starved: Collection[str]) -> None:
        """End the open segment of the least lane, if it is less than one that starves."""
        known = {one.lane: one.rank for one in self.stock.segments()}
        ranks = dict(self._open_ranks(recording))
        if not ranks:
            return
        least = min(ranks, key=lambda name: ranks[name])
        needs = [{**known, **ranks}.get(name) for name in starved if name in recording.lanes]
        is_journal = any(name not in recording.lanes for name in starved)
        if is_journal or any(one is not None and one > ranks[least] for one in needs):
            recording.lanes[least].break_off()

    def _open_ranks(self, recording: Recording) -> Iterator[tuple[str, Rank]]:
        """Yield name and rank of every lane that has an open segment."""
        sealed = self.stock.follow(recording.session.id).segments
        for path in recording.open_files():
            name = path.parent.name
            if (name, path.name) not in sealed and path.exists():
                yield name, lane_rank(self.config, read_head(path).schema)

    def spend_on(self, settle: Callable[[], None]) -> None:
        """Let the lines about sealed segments find room: without them nothing can be given up.

        Raises:
            OSError: the disk says something else than that it is full, or not even this is left.
        """
        self._reserve.spend_on(settle)

    def settle(self, session: Session) -> None:
        """Bring the account of the session that is being recorded to what the uploader says now.

        Called with each heartbeat.
        """
        self._overflow.look(self.stock.pinned(), pin_cap_bytes(self.spool, self.config))
        found = self.stock.follow(session.id)
        found.look_at_deliveries()
        evicted = evicted_rows(found.evicted, found.deliveries.rows)
        for one in session.lanes:
            settle(one, found.deliveries.delivered(one.name), evicted[one.name])
        for other in self.stock.sessions.values():
            if other is not found:
                other.forget_what_went()


def _id_of(recording: Recording | None) -> str:
    return recording.session.id if recording is not None else ""
