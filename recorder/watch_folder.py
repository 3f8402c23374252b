"""Waits for a file to appear, by the kernel's notice instead of by looking again and again.

For device nodes and udev's links: a lane whose device is away wakes the moment it is plugged in.
Source: inotify(7); there is no interface to it in Python's own library.
"""

from __future__ import annotations

import ctypes
import os
import struct
from pathlib import Path

_IN_ATTRIB, _IN_MOVED_TO, _IN_CREATE = 0x4, 0x80, 0x100
#: A node is made first and gets its group and mode then; a link of udev's is moved into place.
_APPEARS = _IN_CREATE | _IN_MOVED_TO | _IN_ATTRIB
_EVENT = struct.Struct("iIII")
_ROOM_BYTES = 65_536


class AppearanceWatch:
    """A descriptor that becomes readable when something happened near a path.

    Watched are the path's folder and, while that is missing too (``/dev/recorder`` before the first
    link), the nearest one above it that is there. Where the kernel gives no watch, nothing is ever
    told: who waits has a time-out in any case.

    Args:
        path: of the file that is awaited; it may be there already.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = int(self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        self._names: set[bytes] = set()
        self._arm()

    def fileno(self) -> int:
        """Return the descriptor to wait on; -1 if there is none."""
        return self._descriptor

    def has_appeared(self) -> bool:
        """Take what was told so far; return whether the path, or a folder above it, is concerned.

        A folder above that came into being is watched from here on.
        """
        try:
            told = os.read(self._descriptor, _ROOM_BYTES)
        except OSError:  # nothing was told, or there is no watch
            return False
        found = bool(self._names & set(_names(told)))
        if found:
            self._arm()
        return found

    def close(self) -> None:
        """Stop watching; may be called twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _arm(self) -> None:
        """Watch the nearest folder that is there; a second watch of it is the same one."""
        awaited = self._path
        while not awaited.parent.is_dir() and awaited != awaited.parent:
            awaited = awaited.parent
        self._names.add(os.fsencode(awaited.name))
        if self._descriptor >= 0:
            folder = os.fsencode(awaited.parent)
            self._libc.inotify_add_watch(self._descriptor, folder, _APPEARS)


def _names(told: bytes) -> list[bytes]:
    """Return the names of the files that a run of events is about."""
    names, begin = [], 0
    while begin < len(told):
        *_, size = _EVENT.unpack_from(told, begin)
        begin += _EVENT.size + size
        names.append(told[begin - size : begin].rstrip(b"\0"))
    return names
