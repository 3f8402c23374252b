"""A file system with a volatile cache, played on real files inside one process.

The files lie in memory and are written by the real system calls; `Disk` stands between them and the
code by replacing functions of `os` while it is entered. What a loss of power leaves of them is
worked out in `tests.crash.cache`. A full disk gives short writes and then ENOSPC; a read-only one
EROFS; a sync may fail with EIO; and the process may end at any change, or with it half done.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from recorder.ring import RingReader
from recorder.spool import volume
from tests.crash.cache import Cache, File, Folder
from tests.crash.faults import Cut, Faults
from tests.crash.replacing import replaced

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator, Sequence

_HOOKED = (
    "open", "close", "write", "pwrite", "pwritev", "writev", "ftruncate", "truncate",
    "posix_fallocate",
    "fsync", "fdatasync", "rename", "replace", "unlink", "remove", "mkdir", "statvfs",
)  # fmt: skip
_BLOCK_BYTES, _AMPLE_BYTES = 4096, 1 << 40


class Disk:
    """A disk whose root is a folder; enter it to play.

    Args:
        root: what lies under it is on the disk.
        memory: a folder in memory: a change there can be the last one too, and no power keeps it.
        dice: what is not promised is up to them.
        is_own: whether the code takes it for a file system of its own.
    """

    def __init__(self, root: Path, memory: Path, dice: random.Random, *, is_own: bool) -> None:
        self._root, self._memory, self._dice = root, memory, dice
        self.faults = Faults()
        #: Called with the path of a file before it is unlinked; with both before it is renamed.
        self.on_unlink: Callable[[Path], None] = lambda _: None
        self.on_rename: Callable[[Path, Path], None] = lambda *_: None
        self._cache = Cache(root)
        self._open_files: dict[int, File | Folder] = {}
        self._is_off = True
        self._real = SimpleNamespace(**{name: getattr(os, name) for name in _HOOKED})
        self._hooks = replaced(
            *((os, name, getattr(self, f"_{name}")) for name in _HOOKED),
            (volume, "syncfs", self._syncfs),
            (volume, "is_mount", lambda _: is_own),
            (
                volume,
                "_LIBC",
                SimpleNamespace(fallocate=self._fallocate, sync_file_range=lambda *_: 0),
            ),
            (RingReader, "free", self._freeing(RingReader.free)),
        )

    def __enter__(self) -> Disk:
        self._hooks.__enter__()
        self._cache.settle()
        self._is_off = False
        return self

    def __exit__(self, *_: object) -> None:
        self.end_process()
        self._is_off = True
        self._cache.close()
        self._hooks.__exit__(None, None, None)

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Let what is done inside pass as it is: it is not the recorder's doing."""
        before, self._is_off = self._is_off, True
        try:
            yield
        finally:
            self._is_off = before

    def crash(self) -> None:
        """Take the power away: what is there then is what the next boot finds."""
        self.end_process()
        with self.aside():
            self._cache.crash(self._dice)

    def end_process(self) -> None:
        """Close what a dead process had open; of failed pages the cache may forget any."""
        for descriptor in list(self._open_files):
            self._close(descriptor)
        self.faults.steps_left = None
        with self.aside():
            for file in self._cache.files():
                file.forget(self._dice)

    def used_bytes(self) -> int:
        """Return what the files take, in whole blocks."""
        return sum(one.stat().st_blocks for one in self._root.rglob("*") if one.is_file()) * 512

    def room_bytes(self) -> int:
        """Return what more they may take."""
        size = self.faults.capacity_bytes
        return _AMPLE_BYTES if size is None else max(size - self.used_bytes(), 0)

    # Steps and refusals

    def step(self, half_done: Callable[[], object] = lambda: None) -> None:
        """Let one change be made; the process may end instead, or with the change half done."""
        left = self.faults.steps_left
        if self._is_off or left is None:
            return
        self.faults.steps_left = left - 1
        if left == 0 and self._dice.random() < 0.5:
            with self.aside():
                half_done()
        if left <= 0:
            raise Cut

    def _change(self, path: Any, half_done: Callable[[], object] = lambda: None) -> None:
        """Let one change be made at a path, if it is one of ours."""
        if self._is_off or not self._is_under(path, self._root, self._memory):
            return
        self.step(half_done)
        if self.faults.is_read_only and self._is_on_disk(path):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    def _is_on_disk(self, path: Any) -> bool:
        return not self._is_off and self._is_under(path, self._root)

    @staticmethod
    def _is_under(path: Any, *folders: Path) -> bool:
        return str(path).startswith(tuple(f"{one}" for one in folders))

    def _note(self, path: Any) -> File | Folder:
        with self.aside():
            return self._cache.node(Path(path))

    def _file_change(self, descriptor: int, half_done: Callable[[], object] = lambda: None) -> bool:
        if self._is_off or descriptor not in self._open_files:
            return False
        self._change(self._root, half_done)
        return True

    # What stands in for the functions of `os` and of the code around them

    def _open(self, path: Any, flags: int, *rest: Any, **options: Any) -> int:
        makes = flags & os.O_CREAT and not Path(path).exists()
        if makes or (flags & (os.O_WRONLY | os.O_RDWR) and self.faults.is_read_only):
            self._change(path)
        descriptor: int = self._real.open(path, flags, *rest, **options)
        if self._is_on_disk(path):
            self._open_files[descriptor] = self._note(path)
        return descriptor

    def _close(self, descriptor: int) -> None:
        self._open_files.pop(descriptor, None)
        self._real.close(descriptor)

    def _write(self, descriptor: int, data: Any) -> int:
        return self._put(descriptor, [data], os.fstat(descriptor).st_size, self._real.writev)

    def _writev(self, descriptor: int, runs: Sequence[Any]) -> int:
        return self._put(descriptor, runs, os.fstat(descriptor).st_size, self._real.writev)

    def _pwrite(self, descriptor: int, data: Any, offset: int) -> int:
        return self._pwritev(descriptor, [data], offset)

    def _pwritev(self, descriptor: int, runs: Sequence[Any], offset: int, flags: int = 0) -> int:
        def write(file: int, parts: Sequence[Any]) -> int:
            return int(self._real.pwritev(file, parts, offset, flags))

        return self._put(descriptor, runs, offset, write)

    def _put(
        self, descriptor: int, runs: Sequence[Any], offset: int, write: Callable[..., int]
    ) -> int:
        whole = b"".join(runs)
        part = self._dice.randint(0, len(whole))
        if not self._file_change(descriptor, lambda: write(descriptor, [whole[:part]])):
            return write(descriptor, runs)
        own = max(os.fstat(descriptor).st_blocks * 512 - offset, 0)
        fits = own + self.room_bytes() // _BLOCK_BYTES * _BLOCK_BYTES
        if whole and not fits:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._touch(descriptor, offset, offset + fits)
        return write(descriptor, [whole[:fits]])

    def _touch(self, descriptor: int, begin: int, end: int) -> None:
        node = self._open_files.get(descriptor)
        if isinstance(node, File):
            node.touch(begin, end)

    def _ftruncate(self, descriptor: int, size_bytes: int) -> None:
        self._file_change(descriptor)
        self._touch(descriptor, size_bytes, sys.maxsize)
        self._real.ftruncate(descriptor, size_bytes)

    def _truncate(self, path: Any, size_bytes: int) -> None:
        self._change(path)
        self._real.truncate(path, size_bytes)

    def _posix_fallocate(self, descriptor: int, offset: int, size_bytes: int) -> None:
        more = offset + size_bytes - os.fstat(descriptor).st_blocks * 512
        if self._file_change(descriptor) and more > self.room_bytes():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._real.posix_fallocate(descriptor, offset, size_bytes)

    def _fallocate(self, descriptor: int, mode: int, offset: int, size_bytes: int) -> int:
        if mode:
            return 0  # blocks behind the end: nothing that was written depends on them
        try:
            self._posix_fallocate(descriptor, offset, size_bytes)
        except OSError as error:
            ctypes.set_errno(error.errno or 0)
            return -1
        return 0

    def _fsync(self, descriptor: int) -> None:
        if self._is_off:
            return
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if descriptor in self._open_files:
            self._sync(lambda: [self._open_files[descriptor]])
        elif self._is_on_disk(path):  # opened by Python itself
            self._sync(lambda: [self._cache.node(path)])

    def _fdatasync(self, descriptor: int) -> None:
        self._fsync(descriptor)

    def _syncfs(self, descriptor: int) -> None:
        assert descriptor in self._open_files, "of another file system"
        self._sync(lambda: list(self._cache.below()))

    def _sync(self, nodes: Callable[[], list[Any]]) -> None:
        self.step()
        with self.aside():
            found = nodes()
            if self.faults.sync_errors:
                self.faults.sync_errors -= 1
                for one in found:
                    if isinstance(one, File):
                        one.fail()
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            for one in found:
                self._cache.sync(one)

    def _rename(self, source: Any, target: Any) -> None:
        self._change(source)
        if self._is_on_disk(source):
            with self.aside():
                self._cache.renamed(Path(source), Path(target))
                self.on_rename(Path(source), Path(target))
        self._real.rename(source, target)

    def _replace(self, source: Any, target: Any) -> None:
        self._rename(source, target)

    def _unlink(self, path: Any, **options: Any) -> None:
        if not options and Path(path).exists():
            self._change(path)
            if self._is_on_disk(path):
                self._note(path)
                self.on_unlink(Path(path))
        self._real.unlink(path, **options)

    def _remove(self, path: Any, **options: Any) -> None:
        self._unlink(path, **options)

    def _mkdir(self, path: Any, mode: int = 0o777, **options: Any) -> None:
        if not Path(path).exists():
            self._change(path)
        self._real.mkdir(path, mode, **options)

    def _statvfs(self, path: Any) -> Any:
        if not self._is_on_disk(path):
            return self._real.statvfs(path)
        blocks = (self.faults.capacity_bytes or _AMPLE_BYTES) // _BLOCK_BYTES
        free = self.room_bytes() // _BLOCK_BYTES
        return SimpleNamespace(
            f_frsize=_BLOCK_BYTES,
            f_bsize=_BLOCK_BYTES,
            f_blocks=blocks,
            f_bfree=free,
            f_bavail=free,
            f_files=0,  # it never runs out of them, and does not say how many it has
        )

    def _freeing(self, free: Callable[[RingReader, int], None]) -> Callable[..., None]:
        def hooked(ring: RingReader, position: int) -> None:
            self.step()
            free(ring, position)

        return hooked
