"""What becomes of sessions whose recording ended: their journals shrink, and in the end they go.

A journal is rewritten (`recorder.spool.compaction`) where that saves `LEAST_BYTES`. A session of
which no segment is left is removed (`recorder.spool.removal`), the oldest first, when the spool has
more than `MOST_SESSIONS`, or, if a server holds it, when the disk needs room and no delivered
segment can be given up.
Never one that is not settled (its state is terminal, and nothing of it will be sent any more),
never one that is pinned or about to be sent, and never the newest: the next one is numbered behind.
"""

from __future__ import annotations

import contextlib
import errno
import logging
from itertools import islice
from typing import TYPE_CHECKING

from recorder.clock import boot_ns
from recorder.errors import SpoolError
from recorder.spool import compaction, removal
from recorder.spool.volume import FULL

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from recorder.spool.spool import Spool
    from recorder.spool.stock import SessionStock, Stock

log = logging.getLogger(__name__)

#: Three weeks of hourly sessions round the clock; the uploader looks at each once a second.
MOST_SESSIONS = 500
#: A journal is rewritten for so much; it costs three flushes.
LEAST_BYTES = 65_536
#: Of so many sessions at most the end is made in one commit.
_MOST_REMOVED = 8
#: What the first and the last heartbeat are kept for is in `recorder.spool.compaction`.
_KEPT_BEATS = 2
#: A segment's two lines are about as long.
_LINES_BYTES = 2000
_PERIOD_NS = 10_000_000_000


class Endings:
    """Follows ended sessions to their end.

    Args:
        spool: the spool.
        stock: what it holds; kept up to date here.
        upload_dir: where the uploader's journals are.
    """

    def __init__(self, spool: Spool, stock: Stock, upload_dir: Path) -> None:
        self._spool = spool
        self._stock = stock
        self._upload_dir = upload_dir
        self._next_ns = 0
        self._due: list[SessionStock] = []
        #: By session: length of its journal, and whether it was settled, when it was rewritten.
        self._judged: dict[str, tuple[int, bool]] = {}
        #: Sessions whose record says that they are over, and whether their state is terminal.
        self._over: dict[str, bool] = {}

    def go_on(self, running: str) -> None:
        """Do a little of what is due; called once in each commit, and costs next to nothing then.

        Args:
            running: id of the session that is being recorded, or empty.

        Raises:
            OSError: the disk fails; nothing is lost, the next call goes on.
        """
        with _later_if_full():
            if boot_ns() >= self._next_ns:
                self._next_ns = boot_ns() + _PERIOD_NS
                self._look(running)
            if self._due:
                self._compact(self._due.pop())

    def _look(self, running: str) -> None:
        removal.clear(self._spool, self._upload_dir)
        self._stock.look_at_deliveries()
        surplus = len(self._stock.sessions) - MOST_SESSIONS
        for one in islice(self._removable(running), min(max(surplus, 0), _MOST_REMOVED)):
            self._remove(one, f"the spool has more than {MOST_SESSIONS} sessions")
        others = [one for one in self._stock.sessions.values() if one.id != running]
        self._due = [one for one in others if self._is_worth_it(one)]

    def make_room(self, running: str, short_bytes: int) -> int:
        """Remove sessions that a server holds, oldest first.

        What was recorded into the spool alone has its last trace there, and that is small.

        Args:
            running: id of the session that is being recorded, or empty.
            short_bytes: how much room is needed.

        Returns:
            How much of it was made.

        Raises:
            OSError: the disk fails.
        """
        freed_bytes = 0
        with _later_if_full():
            goes = (one for one in self._removable(running) if one.deliveries.is_done)
            for one in islice(goes, _MOST_REMOVED):
                if freed_bytes >= short_bytes:
                    break
                freed_bytes += self._remove(one, "the disk needs the room")
            removal.clear(self._spool, self._upload_dir)
        return freed_bytes

    def _removable(self, running: str) -> Iterator[SessionStock]:
        """Yield the sessions that may be removed, oldest first."""
        in_order = sorted(self._stock.sessions.values(), key=lambda one: one.number)
        for one in in_order[:-1]:
            if one.id == running or one.segments or one.pins or one.deliveries.leased():
                continue
            if self._is_settled(one) and removal.is_bare(one.folder):
                yield one

    def _remove(self, one: SessionStock, why: str) -> int:
        removal.remove(self._spool, one.id)
        freed_bytes = one.journal_bytes
        del self._stock.sessions[one.id]
        self._over.pop(one.id, None)
        self._judged.pop(one.id, None)
        log.info("session %s: nothing of it was left; removed: %s", one.id, why)
        return freed_bytes

    # --- journals

    def _is_worth_it(self, one: SessionStock) -> bool:
        spare_bytes = _LINES_BYTES * (one.heads - len(one.segments))
        spare_bytes += one.beat_bytes * max(one.beats - _KEPT_BEATS, 0) // max(one.beats, 1)
        if spare_bytes < LEAST_BYTES or not self._is_over(one.id):
            return False
        is_settled = self._is_settled(one)
        if self._judged.get(one.id) == (one.journal_bytes, is_settled):
            return False  # what could go went
        return is_settled or _LINES_BYTES * (one.heads - len(one.segments)) >= LEAST_BYTES

    def _compact(self, one: SessionStock) -> None:
        if one.id not in self._stock.sessions:
            return
        path, is_settled = self._spool.journal_path(one.id), self._is_settled(one)
        before_bytes = one.journal_bytes
        if not compaction.compact(path, is_settled=is_settled):
            log.warning("%s: damaged, and so it stays as long as it is", path)
        self._stock.follow(one.id)
        self._judged[one.id] = one.journal_bytes, is_settled
        log.info("session %s: journal %d -> %d bytes", one.id, before_bytes, one.journal_bytes)

    def _is_settled(self, one: SessionStock) -> bool:
        """Tell whether nothing of a session will be sent any more, and its state is terminal."""
        if not self._is_over(one.id):
            return False
        told = one.deliveries
        return told.is_done or (self._over[one.id] and not told.is_begun)

    def _is_over(self, session_id: str) -> bool:
        if session_id not in self._over:
            try:
                session = self._spool.session(session_id)
            except SpoolError:
                return False
            if session.recording != "stopped":
                return False
            self._over[session_id] = session.state.is_terminal
        return True


@contextlib.contextmanager
def _later_if_full() -> Iterator[None]:
    """Let it rest where the disk is full, or it is somebody else's: it is tried again later."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL | {errno.EACCES}:
            raise
