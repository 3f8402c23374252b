"""Every session of the spool that the server does not hold as a whole yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recorder.clock import boot_ns
from recorder.errors import SpoolError
from recorder.spool import journal
from recorder.spool.spool import Spool
from recorder.spool.watermark import Watermark
from recorder.upload.log import UploadLog
from recorder.upload.session import SessionUpload
from recorder.upload.source import Source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from recorder.config import Config


class Backlog:
    """The sessions that are to be uploaded; iterate over it for those that are due now.

    Args:
        config: the resolved configuration.
        by_hand: every stopped session is due, whatever the mode, and none that is being recorded.
        tick: as for `SessionUpload`.
    """

    def __init__(self, config: Config, tick: Callable[[], None], *, by_hand: bool) -> None:
        self._config = config
        self._tick = tick
        self._by_hand = by_hand
        self._spool: Spool | None = None
        self._uploads: dict[str, SessionUpload] = {}
        #: Ids of the sessions that were brought to the server by this backlog.
        self.done: list[str] = []
        #: Ids of those that somebody brought to a server before, and that server's URL.
        self.before: dict[str, str] = {}
        #: CLOCK_BOOTTIME at which the spool was looked at last.
        self.looked_boot_ns = 0

    def __iter__(self) -> Iterator[SessionUpload]:
        """Yield what is due: the session under recording first, then the oldest."""
        return iter([one for one in self._uploads.values() if self._is_due(one.source)])

    def look(self) -> None:
        """Take note of what the spool holds now."""
        looked_boot_ns = boot_ns()
        if self._spool is None:
            try:
                self._spool = Spool.current(self._config.spool_dir)
            except SpoolError:
                if self._by_hand:
                    raise
                return
        # The watermark is read first: what it promises is on disk by the time the disk is read.
        water = Watermark.read(self._config.watermark_file)
        for session_id in self._spool.session_ids():
            if session_id in self.done or session_id in self.before:
                continue
            if session_id not in self._uploads and not self._take_up(self._spool, session_id):
                continue
            self._uploads[session_id].source.look(water)
        # The session under recording first: it is small work, and an observer waits for it.
        live_first = sorted(self._uploads.items(), key=lambda one: not one[1].source.is_live)
        self._uploads = dict(live_first)
        self.looked_boot_ns = looked_boot_ns

    def _take_up(self, spool: Spool, session_id: str) -> bool:
        path = self._config.upload_dir / session_id
        ends = [one for one in journal.read(path) if one["entry"] == "done"]
        if ends:
            self.before[session_id] = ends[-1].get("server", "")
            return False
        try:
            source = Source(spool, session_id)
        except SpoolError:  # its first record is not written yet
            return False
        self._uploads[session_id] = SessionUpload(
            source, UploadLog(path), self._config.upload, self._tick
        )
        return True

    def _is_due(self, source: Source) -> bool:
        mode = self._config.upload.mode
        if self._by_hand:
            return source.is_stopped
        if mode == "off" or not self._config.upload.server:
            return False
        if source.is_stopped:
            # What was recorded with upload off has its spool for destination.
            return not source.session.state.is_terminal
        return mode == "live" and source.is_live

    def forget(self, upload: SessionUpload) -> None:
        """Let go of a session of which nothing is left to do."""
        upload.log.close()
        del self._uploads[upload.source.session_id]
        self.done.append(upload.source.session_id)

    @property
    def is_there(self) -> bool:
        """Whether there is a spool at all."""
        return self._spool is not None

    @property
    def is_drained(self) -> bool:
        """Whether every session that is not being recorded is on the server."""
        return self.is_there and not any(one.source.is_stopped for one in self)

    def parked(self) -> dict[str, str]:
        """Return why sessions wait for a person, by session id."""
        return {one.source.session_id: one.trouble for one in self if one.trouble}

    def size(self) -> tuple[int, int]:
        """Return rows and bytes of the spool that the server does not hold yet."""
        sizes = [one.backlog() for one in self]
        return sum(rows for rows, _ in sizes), sum(size for _, size in sizes)

    def close(self) -> None:
        """Close the journals; may be called twice."""
        for one in self._uploads.values():
            one.log.close()
