"""A file as memory that is read, not mapped: what the disk cannot give is no more than missing.

A place of a mapped file that the disk cannot read, or that somebody cut off meanwhile, ends the
process that looks at it with SIGBUS. Here it reads as zeros, page by page, and a reader finds no
record there. `docs/spool.md` has what that costs beside a mapping.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

#: So much is read at once, and held; and by whoever goes by leaps, from header to header.
WINDOW_BYTES = 1024 * 1024
LEAP_BYTES = 512
_PAGE_BYTES = 4096
#: What a disk says of a place that it cannot read, and a file system of structures that are damaged
#: (on ext4: EBADMSG, their checksum does not match; EUCLEAN, they make no sense), or that are
#: somebody else's (EACCES).
UNREADABLE = frozenset({errno.EIO, errno.EBADMSG, errno.EUCLEAN, errno.EACCES})


class Window:
    """Gives any stretch of a file; close it at the end.

    Args:
        path: the file.
        end_bytes: look only so far, or None: as far as the file goes.
        is_leaping: whether what is asked for lies far apart.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(
        self, path: Path, end_bytes: int | None = None, *, is_leaping: bool = False
    ) -> None:
        self._is_leaping = is_leaping
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        size_bytes = os.fstat(self._file).st_size
        #: How far it goes, or is looked at.
        self.end_bytes = size_bytes if end_bytes is None else min(size_bytes, end_bytes)
        self._begin = self._end = 0
        self._raw = b""
        self._view = memoryview(b"")

    def get(self, begin: int, end: int) -> memoryview:
        """Return the bytes between two offsets in the file; they stay as they are while in use.

        Args:
            begin: offset of the first.
            end: offset behind the last, no further than `end_bytes`.
        """
        if begin < self._begin or end > self._end:
            ahead_bytes = LEAP_BYTES if self._is_leaping else WINDOW_BYTES
            self._load(begin, max(end, min(begin + ahead_bytes, self.end_bytes)))
        return self._view[begin - self._begin : end - self._begin]

    def find(self, wanted: bytes, begin: int, end: int) -> int:
        """Return where some bytes are next between two offsets, or -1."""
        while end - begin >= len(wanted):
            until = min(begin + WINDOW_BYTES, end)
            self.get(begin, until)
            at = self._raw.find(wanted, begin - self._begin, until - self._begin)
            if at >= 0:
                return self._begin + at
            begin = until if until == end else until - len(wanted) + 1
        return -1

    def _load(self, begin: int, end: int) -> None:
        self._raw = _read(self._file, begin, end)
        self._begin, self._end, self._view = begin, end, memoryview(self._raw)

    def close(self) -> None:
        """Close the file; may be called twice."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def read_whole(path: Path) -> bytes:
    """Return a whole file; a place of it that the disk cannot read is zeros.

    Raises:
        OSError: it cannot be opened.
    """
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return _read(file, 0, os.fstat(file).st_size)
    finally:
        os.close(file)


def _read(file: int, begin: int, end: int) -> bytes:
    """Read from a file; what it has not, or cannot give, is zeros."""
    parts: list[bytes] = []
    at = begin
    while at < end:
        try:
            part = os.pread(file, end - at, at)
        except OSError as error:
            if error.errno not in UNREADABLE:
                raise
            part = _page(file, at, min(end, at - at % _PAGE_BYTES + _PAGE_BYTES))
        parts.append(part or bytes(end - at))
        at += len(parts[-1])
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _page(file: int, begin: int, end: int) -> bytes:
    try:
        return os.pread(file, end - begin, begin)
    except OSError as error:
        if error.errno not in UNREADABLE:
            raise
        return bytes(end - begin)
