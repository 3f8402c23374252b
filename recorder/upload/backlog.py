"""Every session of the spool that the server does not hold as a whole yet."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from recorder.box.identity import identify
from recorder.clock import boot_ns
from recorder.errors import DamagedError, SpoolError
from recorder.spool import journal
from recorder.spool.removal import removed
from recorder.spool.spool import Spool
from recorder.spool.watermark import Watermark
from recorder.upload.log import UploadLog
from recorder.upload.session import SessionUpload
from recorder.upload.source import Source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from recorder.config import Config
    from recorder.upload.traffic import Traffic


log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Asked:
    """What a person asked to upload by hand, whatever the mode; nothing that is being recorded.

    Args:
        session_id: only this session; empty: all.
        anew: id of a session of which another server holds a part, or all, or this one has lost
            some: it is sent as if nothing of it were delivered, as far as the spool still has it
            (`recorder.upload.anew`); empty: none.
        over_cap: let what is asked for pass the month's cap.
    """

    session_id: str = ""
    anew: str = ""
    over_cap: bool = False


class Backlog:
    """The sessions that are to be uploaded; iterate over it for those that are due now.

    Args:
        config: the resolved configuration.
        traffic: the month's account.
        sending: as for `SessionUpload`.
        asked: what a person asked for, or None: work by itself.
    """

    def __init__(
        self,
        config: Config,
        traffic: Traffic,
        sending: Callable[[int, bool], None],
        asked: Asked | None,
    ) -> None:
        self._config = config
        self._traffic = traffic
        self._sending = sending
        self._asked = asked
        self._spool: Spool | None = None
        self._uploads: dict[str, SessionUpload] = {}
        #: Ids of the sessions that were brought to the server by this backlog.
        self.done: list[str] = []
        #: What these lack on the server, by id, then as `UploadState.lacking`.
        self.lacking: dict[str, dict[str, dict[str, int]]] = {}
        #: Ids of those that somebody brought to a server before, and that server's URL.
        self.before: dict[str, str] = {}
        #: Why sessions cannot be taken up, by id, until a person asks for it.
        self._damaged: dict[str, str] = {}
        self._is_doubtful = False
        self._identity = identify(config)
        #: Ids of those that this box's twin recorded, before this card was copied from its.
        self._inherited: set[str] = set()
        #: UTC minus CLOCK_BOOTTIME, once it was told in this boot.
        self._utc_ahead_ns: int | None = None
        #: CLOCK_BOOTTIME at which the spool was looked at last.
        self.looked_boot_ns = 0

    def __iter__(self) -> Iterator[SessionUpload]:
        """Yield what is due: the session under recording, then pinned and marked ones, by `order`.

        The first is small work, and an observer waits for it.
        """
        due = [one for one in self._uploads.values() if self._is_due(one.source)]
        if self._config.upload.order == "newest":
            due.reverse()
        return iter(
            sorted(due, key=lambda one: (not one.source.is_live, not one.source.goes_first))
        )

    def look(self) -> None:
        """Take note of what the spool holds now.

        Raises:
            OSError: the disk failed.
        """
        looked_boot_ns = boot_ns()
        if self._is_doubtful:
            self._renew()
        if self._spool is None:
            try:
                self._spool = Spool.current(self._config.spool_dir)
            except SpoolError:
                if self._asked is not None:
                    raise
                return
        # The watermark is read first: what it promises is on disk by the time the disk is read.
        water = Watermark.read(self._config.watermark_file)
        for session_id in removed(self._spool):
            self._forget_removed(session_id)
        for session_id in self._spool.session_ids():
            if session_id not in self.done and session_id not in self.before:
                self._look_at(self._spool, session_id, water)
        self._learn_time()
        self.looked_boot_ns = looked_boot_ns

    def _look_at(self, spool: Spool, session_id: str, water: Watermark | None) -> None:
        if session_id in self._damaged or session_id in self._inherited:
            return
        if self._is_inherited(spool, session_id):
            return
        if session_id in self._uploads or self._take_up(spool, session_id):
            with contextlib.suppress(FileNotFoundError):  # it was removed just now
                self._uploads[session_id].source.look(water)

    def _is_inherited(self, spool: Spool, session_id: str) -> bool:
        """Tell whether a session is the twin's, which sends it; a person may ask for it here."""
        twin = self._identity.twin
        if twin is None or (self._asked is not None and self._asked.session_id == session_id):
            return False
        if twin.sessions is None:  # the spool's process has not looked yet
            self._identity = identify(self._config)
        if not self._identity.inherits(spool.number(session_id)):
            return False
        if twin.sessions is not None:
            self._inherited.add(session_id)
            log.warning("session %s is of box %s and is not sent", session_id, twin.box)
        return True

    def _forget_removed(self, session_id: str) -> None:
        """Remove the journals of a session that the spool has removed: it waits for that."""
        if session_id in self._uploads:
            self._uploads.pop(session_id).log.close()
        self.before.pop(session_id, None)
        self._damaged.pop(session_id, None)
        for path in self._config.upload_dir.glob(f"elsewhere/{session_id}-*"):
            path.unlink()
        (self._config.upload_dir / session_id).unlink(missing_ok=True)

    def doubt(self) -> None:
        """Forget what the journals say: the disk failed, and they are read anew at the next look.

        After a failed sync only what is written again is certain to be on the disk.
        """
        self.close()
        self._uploads = {}
        self._is_doubtful = True

    def _renew(self) -> None:
        for path in self._config.upload_dir.glob("[!.]*-*"):
            journal.renew(path)
        self._is_doubtful = False

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
        try:
            upload_log = UploadLog(path)
        except DamagedError as error:
            way_out = "send all that the spool still holds with --anew"
            self._damaged[session_id] = f"{path} is damaged: {error}; {way_out}"
            return False
        self._uploads[session_id] = SessionUpload(
            source, upload_log, self._config.upload, self._traffic, self._sending
        )
        return True

    def allow_over_cap(self, start: str) -> None:
        """Let sessions whose ids begin with `start` pass the month's cap."""
        for session_id, upload in self._uploads.items():
            if start and session_id.startswith(start):
                upload.allow_over_cap()

    def _is_due(self, source: Source) -> bool:
        mode = self._config.upload.mode
        if self._asked is not None:
            return source.is_stopped and self._is_asked(source.session_id)
        if mode == "off" or not self._config.upload.server:
            return False
        if source.is_stopped:
            # What was recorded with upload off has its spool for destination.
            return not source.session.state.is_terminal
        return mode == "live" and source.is_live

    def _is_asked(self, session_id: str) -> bool:
        return self._asked is None or self._asked.session_id in ("", session_id)

    def forget(self, upload: SessionUpload) -> None:
        """Let go of a session of which nothing is left to do."""
        session_id = upload.source.session_id
        upload.log.close()
        del self._uploads[session_id]
        self.done.append(session_id)
        if lacking := upload.log.lacking():
            self.lacking[session_id] = lacking

    @property
    def is_empty(self) -> bool:
        """Whether nothing is due."""
        return not any(self)

    @property
    def is_there(self) -> bool:
        """Whether there is a spool at all."""
        return self._spool is not None

    @property
    def is_drained(self) -> bool:
        """Whether every session that is not being recorded is on the server."""
        is_known = self.is_there and not self._is_doubtful and not self._damaged
        return is_known and not any(one.source.is_stopped for one in self)

    def parked(self) -> dict[str, str]:
        """Return why sessions wait for a person, by session id."""
        troubled = {one.source.session_id: one.trouble for one in self if one.trouble}
        damaged = {key: why for key, why in self._damaged.items() if self._is_asked(key)}
        return {**damaged, **troubled}

    def utc_ns(self) -> int | None:
        """Return what time it is now, if NTP or satellites told it to a recording of this boot."""
        return None if self._utc_ahead_ns is None else boot_ns() + self._utc_ahead_ns

    def _learn_time(self) -> None:
        sources = (one.source for one in reversed(self._uploads.values()))
        newest = next((one for one in sources if one.is_of_this_boot), None)
        with contextlib.suppress(FileNotFoundError):  # it was removed just now
            told = newest.utc_ns() if newest is not None else None
            if told is not None:
                self._utc_ahead_ns = told - boot_ns()

    def size(self) -> tuple[int, int]:
        """Return rows and bytes of the spool that the server does not hold yet."""
        sizes = [one.backlog() for one in self]
        return sum(rows for rows, _ in sizes), sum(size for _, size in sizes)

    def close(self) -> None:
        """Close the journals; may be called twice."""
        for one in self._uploads.values():
            one.log.close()
