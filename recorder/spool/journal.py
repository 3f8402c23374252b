"""A journal: lines that are appended and checked, for what changes seldom.

Each line is the CRC-32 (zlib) of the text in 8 hex digits, a space, the text, a newline; the text
is one JSON object. A line that does not verify is passed over. What lies behind the last valid
line is what a power cut tore, and the next writer cuts it off; a line before it that does not
verify, or that the disk cannot read, is damage, stays where it is, and costs no other line (but a
newline that is damaged the one behind it). A line is durable when `sync` has returned.
"""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

from recorder.durable import replace, sync_directory
from recorder.spool.volume import allocate_ahead
from recorder.spool.window import UNREADABLE, read_whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_CRC_CHARS = 9
_CHUNK_BYTES = 65_536
#: What a journal that grows for long takes of the disk at a time.
_AHEAD_BYTES = 65_536
#: How a heartbeat begins, which is the whole record of the session.
HEARTBEAT = b'{"entry":"session",'
#: Nine tenths of a session's journal, with the second copies of heads: recovery needs neither.
BULK = (HEARTBEAT, b'{"entry":"segment",')


@dataclass
class Contents:
    """What a journal's file holds.

    Args:
        entries: every valid entry that was asked for, oldest first.
        end_bytes: where the last valid line ends.
        torn_bytes: bytes behind it.
        damaged_lines: lines before it that do not verify.
    """

    entries: list[dict[str, Any]] = field(default_factory=list)
    end_bytes: int = 0
    torn_bytes: int = 0
    damaged_lines: int = 0


def read(path: Path) -> list[dict[str, Any]]:
    """Return every valid entry of a journal, oldest first; an absent one has none."""
    return contents(path).entries


def each(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the same one after the other: however long a journal is, none of it is kept."""
    read_bytes = 0
    try:
        with path.open("rb") as file:
            for line in file:
                read_bytes += len(line)
                yield from _valid(line)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno not in UNREADABLE:
            raise
        # A place of the disk that cannot be read costs the lines on it, and no more.
        for line in read_whole(path)[read_bytes:].splitlines(keepends=True):
            yield from _valid(line)


def _valid(line: bytes) -> Iterator[dict[str, Any]]:
    entry = _entry(line)
    if entry is not None:
        yield entry


def contents(path: Path, without: tuple[bytes, ...] = ()) -> Contents:
    """Read a whole journal; an absent one is empty.

    Args:
        path: its file.
        without: beginnings of lines that are held against their checksum and not taken apart.
    """
    found = Contents()
    try:
        raw = read_whole(path)
    except FileNotFoundError:
        return found
    offset = skipped = 0
    for line in raw.splitlines(keepends=True):
        text = text_of(line)
        offset += len(line)
        if text is None:
            skipped += 1
            continue
        if not text.startswith(without):
            found.entries.append(json.loads(text))
        found.damaged_lines += skipped
        found.end_bytes, skipped = offset, 0
    found.torn_bytes = len(raw) - found.end_bytes
    return found


def first(path: Path) -> dict[str, Any] | None:
    """Return the first entry of a journal, or None if it has none."""
    try:
        with path.open("rb") as file:
            line = file.readline()
    except FileNotFoundError:
        return None
    return _entry(line)


def newest(path: Path, kind: str) -> dict[str, Any] | None:
    """Return the newest valid entry of a kind, or None; only the file's end is read for it."""
    try:
        with path.open("rb") as file:  # once: another file may be put in its place meanwhile
            return _first_of(kind, _backwards(file))
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno not in UNREADABLE:
            raise
        return _first_of(kind, reversed(read_whole(path).splitlines(keepends=True)))


def _first_of(kind: str, lines: Iterable[bytes]) -> dict[str, Any] | None:
    for line in lines:
        entry = _entry(line)
        if entry is not None and entry["entry"] == kind:
            return entry
    return None


def _backwards(file: BinaryIO) -> Iterator[bytes]:
    begin = file.seek(0, os.SEEK_END)
    rest = b""
    while begin > 0:
        size = min(begin, _CHUNK_BYTES)
        begin -= size
        file.seek(begin)
        lines = (file.read(size) + rest).splitlines(keepends=True)
        rest = lines.pop(0) if begin else b""
        yield from reversed(lines)


def text_of(line: bytes) -> bytes | None:
    """Return what stands in a line, or None if it does not verify."""
    text = line[_CRC_CHARS:-1]
    if not line.endswith(b"\n") or line[:_CRC_CHARS] != b"%08x " % zlib.crc32(text):
        return None
    return text


def line_of(entry: dict[str, Any]) -> bytes:
    """Return the line of an entry."""
    text = json.dumps(entry, separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _entry(line: bytes) -> dict[str, Any] | None:
    text = text_of(line)
    if text is None:
        return None
    found: dict[str, Any] = json.loads(text)
    return found


def renew(path: Path) -> None:
    """Write a journal anew in place of the old file; durable on return.

    After a failed sync the kernel may have dropped bytes that it still shows, and a later sync
    would not bring them to the disk: only what is written again is sure.
    """
    replace(path, [read_whole(path)[: contents(path).end_bytes]])


class Journal:
    """The one writer of a journal.

    Args:
        path: its file; made if absent, with its folder. What a power cut tore is cut off.
        is_long: it is appended to for long. Then it takes its blocks ahead: a commit with a line
            of it costs the device a third less, for no block's use has to be written down.
        without: beginnings of lines that `entries` need not hold.
    """

    def __init__(
        self, path: Path, *, is_long: bool = False, without: tuple[bytes, ...] = ()
    ) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        found = contents(path, without)
        self.entries, self._end_bytes = found.entries, found.end_bytes
        self._is_long, self._taken_bytes = is_long, 0
        is_new = not path.exists()
        self.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        #: Whether something was written since it was durable.
        self.is_dirty = True
        try:
            os.ftruncate(self.file, self._end_bytes)
            if is_new:
                self.sync()
                for folder in (path.parent, path.parent.parent):
                    sync_directory(folder)
        except OSError:
            self.close()
            raise

    def append(self, entry: dict[str, Any]) -> None:
        """Write one entry at the end; it survives a crash of this process, not a power cut.

        Raises:
            OSError: it could not be written; the journal ends where it ended before.
        """
        line = line_of(entry)
        self.is_dirty = True
        if self._is_long and self._end_bytes + len(line) > self._taken_bytes:
            allocate_ahead(self.file, self._end_bytes, _AHEAD_BYTES)
            self._taken_bytes = self._end_bytes + _AHEAD_BYTES
        rest = memoryview(line)
        try:
            while rest:
                rest = rest[os.write(self.file, rest) :]
        except OSError:
            # Half a line would swallow the next one.
            os.ftruncate(self.file, self._end_bytes)
            raise
        self._end_bytes += len(line)

    def sync(self) -> None:
        """Make every appended entry durable."""
        if self.is_dirty:
            os.fdatasync(self.file)
            self.is_dirty = False

    def record(self, entry: dict[str, Any]) -> None:
        """Append one entry and make it durable before returning."""
        self.append(entry)
        self.sync()

    def close(self) -> None:
        """Close the file; may be called twice."""
        if self.file >= 0:
            if self._taken_bytes:
                with contextlib.suppress(OSError):
                    os.ftruncate(self.file, self._end_bytes)
            os.close(self.file)
            self.file = -1
