"""Ways to make durable what several lanes wrote, and the kinds of file that they write to.

Everything that was tried before the recorder's commit was chosen; `docs/commit.md` has the figures.
"""

from __future__ import annotations

import ctypes
import os
import shutil
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from recorder.durable import sync_directory
from recorder.spool.volume import syncfs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.sync_file_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
_BEGIN, _AWAIT = 2, 7
#: Files of a lane that are written before: one is in use, the next one is ready.
_POOL = 2
_PAGE_BYTES, _AHEAD_BYTES = 4096, 65_536
GROWING, ALLOCATED, AHEAD, WRITTEN = KINDS = (
    "growing",
    "preallocated",
    "zeros written ahead",
    "written before",
)


@dataclass(frozen=True)
class Stream:
    """What one lane writes.

    Args:
        name: its folder's.
        commit_bytes: between two commits.
        segment_bytes: length of a file.
    """

    name: str
    commit_bytes: int
    segment_bytes: int


@dataclass
class Dirty:
    """What was written and is not durable yet.

    Args:
        root: descriptor of the file system's root.
        files: descriptors of what was written.
        folders: in which a name was made.
    """

    root: int
    files: list[int] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)


class Log:
    """One lane's files, one after the other.

    Args:
        root: the file system's.
        stream: what is written.
        kind: one of `KINDS`.
    """

    def __init__(self, root: Path, stream: Stream, kind: str) -> None:
        self._folder = root / stream.name
        self._folder.mkdir()
        self._stream, self._kind = stream, kind
        self._bytes = os.urandom(stream.commit_bytes)
        self._number = 0
        self._old: list[int] = []
        self._pool = deque(self._written(number) for number in range(_POOL * (kind == WRITTEN)))
        self._open()

    def _written(self, number: int) -> Path:
        path = self._folder / f"pool-{number}"
        path.write_bytes(bytes(self._stream.segment_bytes))
        return path

    def _open(self) -> None:
        path = self._folder / str(self._number)
        if self._kind == WRITTEN:
            self._pool.popleft().rename(path)
            self._pool.append(path)
        self._number += 1
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o640)
        if self._kind in (ALLOCATED, AHEAD):
            os.posix_fallocate(self._file, 0, self._stream.segment_bytes)
        self._end = self._zeroed = 0
        self._is_new = True

    def write(self, dirty: Dirty) -> None:
        """Write what comes between two commits, and say what it touched."""
        if self._end + self._stream.commit_bytes > self._stream.segment_bytes:
            self._roll()
        if self._kind == AHEAD and self._stream.commit_bytes < _AHEAD_BYTES:
            self._write_zeros(self._end + self._stream.commit_bytes)
        left = memoryview(self._bytes)
        while left:
            written = os.pwrite(self._file, left, self._end)
            self._end += written
            left = left[written:]
        dirty.files += [*self._old, self._file]
        if self._is_new:
            dirty.folders.append(self._folder)

    def _write_zeros(self, end: int) -> None:
        """Take blocks into use some commits ahead: the file system notes them at once."""
        if end > self._zeroed:
            begin, whole = max(self._end, self._zeroed), -(-end // _PAGE_BYTES) * _PAGE_BYTES
            self._zeroed = min(whole + _AHEAD_BYTES, self._stream.segment_bytes)
            os.pwrite(self._file, bytes(self._zeroed - begin), begin)

    def _roll(self) -> None:
        if self._kind in (ALLOCATED, AHEAD):
            os.ftruncate(self._file, self._end)
        self._old.append(self._file)
        self._open()

    def settle(self) -> None:
        """Take note that everything is durable."""
        for file in self._old:
            os.close(file)
        self._old.clear()
        self._is_new = False

    def close(self) -> None:
        """Remove everything."""
        self.settle()
        os.close(self._file)
        shutil.rmtree(self._folder)


def fdatasync_each(dirty: Dirty) -> None:
    """Sync each file, and each folder with a new name."""
    for file in dirty.files:
        os.fdatasync(file)
    for folder in dirty.folders:
        sync_directory(folder)


def push(files: Iterable[int]) -> None:
    """Write the files' pages to the device; its cache is not flushed."""
    given = list(files)
    for flags in (_BEGIN, _AWAIT):
        for file in given:
            if _LIBC.sync_file_range(file, 0, 0, flags):
                code = ctypes.get_errno()
                raise OSError(code, os.strerror(code))


def push_fdatasync_each(dirty: Dirty) -> None:
    """Let all lanes' pages go to the device together, then sync each."""
    push(dirty.files)
    fdatasync_each(dirty)


def syncfs_all(dirty: Dirty) -> None:
    """Sync the file system, whoever wrote to it."""
    syncfs(dirty.root)


def push_syncfs(dirty: Dirty) -> None:
    """Let all lanes' pages go to the device, then sync what the file system says of them."""
    push(dirty.files)
    syncfs(dirty.root)


def push_fsync_one(dirty: Dirty) -> None:
    """Let ext4's one journal carry all files with the sync of one; nobody promises that it does."""
    push(dirty.files)
    os.utime(dirty.files[0])
    os.fsync(dirty.files[0])


#: By name: how, and whether all lanes write to one file.
WAYS: dict[str, tuple[Callable[[Dirty], None], bool]] = {
    "fdatasync each": (fdatasync_each, False),
    "push, fdatasync each": (push_fdatasync_each, False),
    "syncfs": (syncfs_all, False),
    "push, syncfs": (push_syncfs, False),
    "push, fsync one file": (push_fsync_one, False),
    "one file, fdatasync": (fdatasync_each, True),
}
#: Those that differ when there is one file in any case.
WAYS_OF_ONE = ("fdatasync each", "syncfs", "push, syncfs")


class Logs:
    """All lanes' files, written and made durable in one way; a context manager.

    Args:
        root: the file system's; nothing else of the bench is on it.
        streams: one for each lane.
        kind: one of `KINDS`.
        way: one of `WAYS`.
    """

    def __init__(self, root: Path, streams: Sequence[Stream], kind: str, way: str) -> None:
        self._sync, is_one = WAYS[way]
        if is_one:
            longest = max(one.segment_bytes for one in streams)
            streams = [Stream("log", sum(one.commit_bytes for one in streams), longest)]
        self._root = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        self._logs = [Log(root, one, kind) for one in streams]
        self._dirty = Dirty(self._root)

    def put(self) -> None:
        """Write what comes between two commits."""
        self._dirty = Dirty(self._root)
        for log in self._logs:
            log.write(self._dirty)

    def commit(self) -> None:
        """Make it durable."""
        self._sync(self._dirty)
        for log in self._logs:
            log.settle()

    def close(self) -> None:
        """Remove everything."""
        for log in self._logs:
            log.close()
        os.close(self._root)

    def __enter__(self) -> Logs:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
