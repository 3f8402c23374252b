"""Reading on in a journal that somebody else appends to: each line is read once."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

from recorder.spool.journal import HEARTBEAT, text_of
from recorder.spool.window import UNREADABLE, read_whole

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


@dataclass
class News:
    """What was added to a journal.

    Args:
        is_anew: the file is another one than before, or shorter: what was known does not count.
        read_bytes: how much was looked at.
        entries: the new entries, oldest first; heartbeats only if they are wanted.
        beats: how many heartbeats were among them.
        beat_bytes: their length.
    """

    is_anew: bool = False
    read_bytes: int = 0
    entries: list[dict[str, Any]] = field(default_factory=list)
    beats: int = 0
    beat_bytes: int = 0


class Tail:
    """The place in a journal up to which it was read.

    Args:
        path: its file; an absent one is empty, and so is one that cannot be looked at.
        with_beats: whether heartbeats are wanted too.
    """

    def __init__(self, path: Path, *, with_beats: bool = False) -> None:
        self.path = path
        self._with_beats = with_beats
        #: Where the last valid line ends that was read.
        self.end_bytes = 0
        self._seen = (0, 0)

    def news(self) -> News:
        """Return what was added since the last call; costs next to nothing where nothing was.

        Raises:
            OSError: it cannot be read.
        """
        try:
            found = self.path.stat()
            if (found.st_ino, found.st_size) == self._seen:
                return News()
            with self.path.open("rb") as file:
                found = os.fstat(file.fileno())  # another may have been put in its place just now
                news = News(found.st_ino != self._seen[0] or found.st_size < self.end_bytes)
                self._seen = found.st_ino, found.st_size
                self.end_bytes = 0 if news.is_anew else self.end_bytes
                file.seek(self.end_bytes)
                self._read_all(file, news)
        except OSError as error:
            if error.errno not in UNREADABLE | {errno.ENOENT}:
                raise
            was_there, self._seen, self.end_bytes = self._seen != (0, 0), (0, 0), 0
            return News(was_there)
        return news

    def _read_all(self, file: BinaryIO, news: News) -> None:
        try:
            self._read(file, news)
        except OSError as error:
            if error.errno not in UNREADABLE:
                raise
            # A place of the disk that cannot be read costs the lines on it, and no more.
            rest = read_whole(self.path)[self.end_bytes :]
            self._read(rest.splitlines(keepends=True), news)

    def _read(self, lines: Iterable[bytes], news: News) -> None:
        at_bytes = self.end_bytes
        for line in lines:
            at_bytes += len(line)
            news.read_bytes += len(line)
            text = text_of(line)
            if text is None:
                continue  # torn or damaged; if nothing valid follows it may be written over
            self.end_bytes = at_bytes
            is_beat = text.startswith(HEARTBEAT)
            if is_beat:
                news.beats += 1
                news.beat_bytes += len(line)
            if self._with_beats or not is_beat:
                news.entries.append(json.loads(text))
