"""A journal: lines that are appended and checked, for what changes seldom.

Each line is the CRC-32 (zlib) of the text in 8 hex digits, a space, the text, a newline; the text
is one JSON object. The first line that does not verify ends the journal: behind it lies what a
power cut tore, and the next writer cuts it off. A line is durable when `sync` has returned.
"""

from __future__ import annotations

import json
import os
import zlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

_CRC_CHARS = 9


def read(path: Path) -> list[dict[str, Any]]:
    """Return every entry of a journal, oldest first; an absent one has none."""
    return _scan(path)[0]


def first(path: Path) -> dict[str, Any] | None:
    """Return the first entry of a journal, or None if it has none."""
    try:
        with path.open("rb") as file:
            line = file.readline()
    except FileNotFoundError:
        return None
    return _entry(line)


def _entry(line: bytes) -> dict[str, Any] | None:
    text = line[_CRC_CHARS:-1]
    if not line.endswith(b"\n") or line[:_CRC_CHARS] != b"%08x " % zlib.crc32(text):
        return None
    found: dict[str, Any] = json.loads(text)
    return found


def _scan(path: Path) -> tuple[list[dict[str, Any]], int]:
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return [], 0
    entries: list[dict[str, Any]] = []
    valid_bytes = 0
    for line in raw.splitlines(keepends=True):
        entry = _entry(line)
        if entry is None:
            break
        entries.append(entry)
        valid_bytes += len(line)
    return entries, valid_bytes


class Journal:
    """The one writer of a journal.

    Args:
        path: its file; made if absent, with its folder. What a power cut tore is cut off.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.entries, valid_bytes = _scan(path)
        is_new = not path.exists()
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        os.ftruncate(self._file, valid_bytes)
        self._dirty = True
        if is_new:
            self.sync()
            sync_directory(path.parent)

    def append(self, entry: dict[str, Any]) -> None:
        """Write one entry at the end; it survives a crash of this process, not a power cut."""
        text = json.dumps(entry, separators=(",", ":")).encode()
        line = b"%08x %s\n" % (zlib.crc32(text), text)
        while line:
            line = line[os.write(self._file, line) :]
        self._dirty = True

    def sync(self) -> None:
        """Make every appended entry durable."""
        if self._dirty:
            os.fdatasync(self._file)
            self._dirty = False

    def record(self, entry: dict[str, Any]) -> None:
        """Append one entry and make it durable before returning."""
        self.append(entry)
        self.sync()

    def close(self) -> None:
        """Close the file; may be called twice."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def sync_directory(path: Path) -> None:
    """Make durable which files a directory holds."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
