"""The spool's directory.

    FORMAT                                         which format this is; a newer one is not touched
    boots/<boot id>/anchors                        journal of what time it was in that boot
    lock                                           held by the one process that writes; says which
    sessions/<session id>/journal                  journal: the session record, epochs, commands …
    sessions/draft/                                a session that is being made; none of it counts
    aside/                                         what a power cut left half made; nobody reads it
    gone/<session id>/                             what is being removed (`recorder.spool.removal`)
    sessions/<session id>/<lane>/<…>.seg           segments

Entries of a session's journal, by ``entry``:

    announced   always the first: the session's running number in this spool
    base        a ring's counts where the session before stopped taking from it
    behind      a ring's counts where this session stopped taking from it
    command     what was asked for over the socket
    config      the resolved configuration
    ended       its recording ended: why, and when (CLOCK_BOOTTIME)
    epoch       a lane's counts when the session began to take from a ring
    evicted     a segment that was given up, or several in a row (`recorder.spool.compaction`)
    mark        a moment that somebody wants to find again
    recovered   what a loss of power left torn of a lane: bytes, stretches, numbers
    sealed      a segment that is durable and will not change: length, rows, counts behind it
    segment     a segment that was begun: its file and a second copy of its head
    session     the whole record: when announced, at each heartbeat, and at the end

and those of `recorder.spool.account` and `recorder.spool.pins`.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import logging
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recorder import durable, service
from recorder.clock import boot_id
from recorder.errors import DamagedError, SpoolError, SpoolFormatError
from recorder.record import Anchor
from recorder.session.session import Session
from recorder.spool import journal
from recorder.spool.names import epoch_of, segments_in
from recorder.spool.places import is_damaged, is_file, is_folder, listed, set_beside
from recorder.spool.segment import read_head
from recorder.spool.volume import Volume

if TYPE_CHECKING:
    from collections.abc import Iterator

log = logging.getLogger(__name__)

_DRAFT = "draft"
FORMAT = "edge-recorder spool 1\n"
_OTHER_FORMAT = re.compile(r"edge-recorder spool \d+\n?")


class Spool:
    """A spool that exists.

    Args:
        directory: the folder with the `FORMAT` file.

    Raises:
        SpoolError: it is not a spool.
        SpoolFormatError: it is one of a format that this version does not know.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        try:
            found = (directory / "FORMAT").read_text(errors="replace")
        except FileNotFoundError:
            raise SpoolError(f"{directory}: not a spool (it has no file FORMAT)") from None
        #: Whether the mark is damaged; the spool is used all the same.
        self.is_mark_damaged = found != FORMAT
        if self.is_mark_damaged and not self._is_ours(found):
            raise SpoolFormatError(
                f"{directory}: format {found.strip()!r}, this version knows {FORMAT.strip()!r}"
            )

    def _is_ours(self, mark: str) -> bool:
        """Tell a damaged mark from that of another format: nothing is left of it, or one byte."""
        if not mark.strip("\0"):
            sessions = self.directory / "sessions"
            return is_folder(sessions) and bool(listed(sessions))
        if _OTHER_FORMAT.fullmatch(mark):
            return mark.strip() == FORMAT.strip()
        pairs = zip(mark, FORMAT, strict=False)
        return len(mark) == len(FORMAT) and sum(one != other for one, other in pairs) == 1

    @classmethod
    def make(cls, directory: Path) -> Spool:
        """Open the spool, or make an empty one where there is none yet."""
        mark = directory / "FORMAT"
        if is_file(mark) and mark.stat().st_size:
            cls(directory)  # before anything is moved: another format has its own places
        for name in ("sessions", "boots", "aside", "gone"):
            set_beside(directory / name, is_folder=True)
        for name in ("FORMAT", "lock", "reserve", f"boots/{boot_id().hex()}/anchors"):
            set_beside(directory / name, is_folder=False)
        is_blank = mark.exists() and not mark.stat().st_size  # a power cut while it was made
        if not mark.exists() or (is_blank and not listed(directory / "sessions")):
            for name in ("sessions", "boots"):
                (directory / name).mkdir(parents=True, exist_ok=True)
            # Last and in full: where the file is, there is a spool.
            for folder in (directory, directory.parent):
                durable.sync_directory(folder)
            durable.replace(mark, [FORMAT.encode()])
        return cls(directory)

    @functools.cached_property
    def volume(self) -> Volume:
        """The file system it lies on; only for the one process that writes."""
        return Volume(self.directory)

    def set_aside(self, path: Path) -> None:
        """Move something half made out of the way, if it is there; it is never deleted."""
        if path.exists():
            aside = self.directory / "aside"
            aside.mkdir(exist_ok=True)
            there = {one.name for one in listed(aside)}
            names = (f"{path.name}-{number}" for number in itertools.count(1))
            place = aside / next(one for one in names if one not in there)
            path.rename(place)
            log.warning("%s: half made, moved to %s", path, place)

    def hold(self) -> int:
        """Take the spool's lock and return its descriptor, which holds it until it is closed.

        Raises:
            SpoolError: another process writes to this spool; the message says which.
        """
        path = self.directory / "lock"
        descriptor = service.hold(path)
        if descriptor is None:
            holder = path.read_text().strip() or "unknown"
            raise SpoolError(f"{self.directory}: process {holder} writes to it already")
        # Of one length, so that a disk without a free byte takes it too; it is only for people.
        with contextlib.suppress(OSError):
            os.pwrite(descriptor, b"%-10d\n" % os.getpid(), 0)
        return descriptor

    @classmethod
    def make_beside(cls, directory: Path) -> Spool:
        """Open or make the spool; one of another format stays, and the next place is taken."""
        places = _places(directory)
        place = next(places)
        while True:
            try:
                return cls.make(place)
            except SpoolFormatError as error:
                place = next(places)
                log.warning("%s; it stays as it is, and %s is taken", error, place)

    @classmethod
    def current(cls, directory: Path) -> Spool:
        """Open the spool that `make_beside` records into.

        Raises:
            SpoolError: there is none.
        """
        places = _places(directory)
        place = next(places)
        while True:
            try:
                return cls(place)
            except SpoolFormatError:
                place = next(places)
                if not (place / "FORMAT").exists():
                    raise

    def session_ids(self) -> list[str]:
        """Return the ids of all sessions, oldest first: by the running number in each journal.

        Raises:
            OSError: the spool cannot be read.
        """
        found = [one.name for one in self.session_dirs() if is_file(one / "journal")]
        return sorted(found, key=lambda one: (self.number(one), one))

    def session_dirs(self) -> list[Path]:
        """Return the folders of all sessions, also of those without a journal.

        Raises:
            OSError: the spool cannot be read.
        """
        folders = listed(self.directory / "sessions")
        return [one for one in folders if one.name != _DRAFT and is_folder(one)]

    def damaged(self) -> list[Path]:
        """Return the folders of sessions, and journals, that cannot be looked at."""
        folders = listed(self.directory / "sessions")
        places = [place for one in folders for place in (one, one / "journal")]
        return [one for one in places if is_damaged(one)]

    def number(self, session_id: str) -> int:
        """Return a session's running number in this spool, from 1; 0 if its journal lost it."""
        try:
            first = journal.first(self.journal_path(session_id))
        except OSError:
            return 0  # a place of the disk that cannot be read: whoever needs more will say so
        return int(first.get("number", 0)) if first else 0

    def session_dir(self, session_id: str) -> Path:
        """Return the folder of a session."""
        return self.directory / "sessions" / session_id

    def journal_path(self, session_id: str) -> Path:
        """Return the path of a session's journal."""
        return self.session_dir(session_id) / "journal"

    @property
    def draft_path(self) -> Path:
        """Path of the journal of a session that is being made and is not there yet."""
        return self.session_dir(_DRAFT) / "journal"

    def entries(self, session_id: str) -> list[dict[str, Any]]:
        """Return what a session's journal says, oldest first."""
        return journal.read(self.journal_path(session_id))

    def session(self, session_id: str) -> Session:
        """Return the newest record of a session.

        Raises:
            SpoolError: there is none.
        """
        entry = journal.newest(self.journal_path(session_id), "session")
        if entry is None:
            raise SpoolError(f"{self.directory}: no session {session_id}")
        return Session.from_dict(entry["session"])

    def find(self, start: str) -> str:
        """Return the one session id that begins with `start`.

        Raises:
            SpoolError: none does, or several do.
        """
        found = [one for one in self.session_ids() if one.startswith(start)]
        if len(found) != 1:
            what = "several sessions begin" if found else "no session begins"
            raise SpoolError(f"{self.directory}: {what} with {start!r}")
        return found[0]

    def lanes(self, session_id: str) -> list[str]:
        """Return the names of the lanes that have a folder in a session."""
        return sorted(one.name for one in self.session_dir(session_id).iterdir() if one.is_dir())

    def segments(self, session_id: str, lane: str, since: str = "") -> list[Path]:
        """Return a lane's segments in the order in which they were made.

        Whatever else lies in the folder is nobody's business here. Heads are read only to tell
        which ring came first, where there were several.
        What the ring of a segment named `since` had before it is left out.
        """
        by_epoch: dict[int, list[Path]] = {}
        for path in segments_in(self.session_dir(session_id) / lane, since):
            by_epoch.setdefault(epoch_of(path.name), []).append(path)
        rings = list(by_epoch.values())
        if len(rings) > 1:
            rings.sort(key=_made)
        return [path for paths in rings for path in paths]

    def anchors_path(self, boot: str) -> Path:
        """Return the path of the anchors of a boot, given as 32 hex digits."""
        return self.directory / "boots" / boot / "anchors"

    def anchors(self, boot: str) -> list[Anchor]:
        """Return what time it was in a boot, oldest first."""
        return [Anchor(**entry) for entry in journal.read(self.anchors_path(boot))]


def _places(directory: Path) -> Iterator[Path]:
    """Yield where a spool may lie: its directory, and those beside it, one after the other."""
    yield directory
    for number in itertools.count(1):
        yield directory.with_name(f"{directory.name}-{number}")


def _made(paths: list[Path]) -> tuple[int, str]:
    """Return when the first of a ring's segments was made whose head can be read."""
    for path in paths:
        try:
            return read_head(path).created_boot_ns, path.name
        except (DamagedError, FileNotFoundError):
            continue
    return 2**63, paths[0].name
