"""The file system that a spool lies on: making what was written there durable, in few flushes.

A flush of the device's cache is what a commit costs on a card, and each file's own `fdatasync`
brings one or two. So one file is synced alone, and several are first pushed into the device (which
flushes nothing), then made durable together by one `syncfs`: two flushes, however many lanes. But
`syncfs` waits for what every other program wrote too. Where the file system is not the recorder's
own, each file is synced by itself: more flushes, and no foreign program can hold a commit up.
`docs/commit.md` has the figures.

Only what POSIX and Linux promise is used: that syncing one file makes another one's length durable
is true of some file systems and promised by none.
"""

from __future__ import annotations

import ctypes
import errno
import os
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

from recorder.durable import sync_directory
from recorder.errors import NotMountedError
from recorder.partition import is_mount, why_missing
from recorder.spool.window import UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from recorder.config import Config

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
_LIBC.sync_file_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
_BEGIN, _WAIT = 2, 1 | 2 | 4
_KEEP_SIZE = 1
_ZEROS = bytes(65_536)
#: What a disk says that takes no more, and means nothing worse.
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
#: What a disk says that may come back; everything else is somebody's mistake. A folder that is not
#: there any more was unmounted while files in it were open (`umount -l`), or removed.
AWAY = (
    FULL
    | UNREADABLE
    | {
        errno.EROFS,
        errno.ENODEV,
        errno.ENOENT,
        errno.ENXIO,
        errno.ESTALE,
        errno.ENOTCONN,
    }
)
#: So many files a disk must be able to take: each lane's next segment, and drafts of journals.
#: Another program's small files may use them up long before the bytes.
_LEAST_FILES = 8
#: What file systems say that cannot do what is only a help.
_CANNOT = frozenset({errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.ESPIPE})


class Volume:
    """A directory's file system, as its writer sees it.

    Args:
        directory: the spool; must exist.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.is_own = is_alone(directory)
        self._counters = _counters_of(directory)
        self._begin, self._since_s = _written(self._counters), time.monotonic()
        self._file = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._close = weakref.finalize(self, os.close, self._file)

    def make_durable(self, files: Sequence[int], folders: Collection[Path]) -> None:
        """Make durable what was written.

        Args:
            files: descriptors of every file that was written or cut since it was durable.
            folders: directories in which files or folders were made since then.

        Raises:
            OSError: nothing is known any more of what was written, and a later success proves
                nothing: the kernel may have dropped the bytes.
        """
        if not files and not folders:
            return
        if len(files) == 1 and not folders:
            os.fdatasync(files[0])
            return
        for flags in (_BEGIN, _WAIT):
            for file in files:
                _push(file, flags)
        if self.is_own:
            syncfs(self._file)
            return
        for file in files:
            os.fdatasync(file)
        for folder in folders:
            sync_directory(folder)

    def wear(self) -> dict[str, int]:
        """Return what the device was made to do since this was opened, by any program.

        Returns:
            Bytes written and flushes, and both per day at the rate so far; nothing, if the file
            system is on no block device or the kernel does not tell.
        """
        now = _written(self._counters)
        if now is None or self._begin is None:
            return {}
        days = max(time.monotonic() - self._since_s, 1.0) / 86_400
        size, flushes = (a - b for a, b in zip(now, self._begin, strict=True))
        return {
            "device_bytes": size,
            "device_flushes": flushes,
            "device_bytes_per_day": round(size / days),
            "device_flushes_per_day": round(flushes / days),
        }

    def close(self) -> None:
        """Let go of the directory; may be called twice."""
        self._close()


def _counters_of(directory: Path) -> Path:
    """Return where the kernel tells what was done to a directory's device."""
    device = directory.stat().st_dev
    folder = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").resolve()
    if (folder / "partition").exists():
        folder = folder.parent  # flushes are counted for the whole disk only
    return folder / "stat"


def _written(counters: Path) -> tuple[int, int] | None:
    """Return bytes written to a device, and flushes of it, since it was there."""
    try:
        fields = counters.read_text().split()
    except OSError:
        return None
    # Fields 7 and 16 of Documentation/block/stat.rst: sectors of 512 bytes, and flushes.
    sectors, flushes = (fields + ["0"] * 10)[6:16:9]
    return int(sectors) * 512, int(flushes)


def missing_files(directory: Path) -> int:
    """Return how many files must go so that a directory's disk takes a few more.

    What it says of that is believed only of a disk that refused one: some never know.
    """
    found = os.statvfs(directory)
    return max(_LEAST_FILES - found.f_favail, 0) if found.f_files else 0


def must_be_mounted(config: Config, *, was_own: bool) -> None:
    """Raise NotMountedError if the partition of the spool is not there.

    Args:
        config: says where it is mounted.
        was_own: whether the spool had a file system of its own when it was open last.
    """
    place = config.spool.directory
    if why := why_missing(config):
        raise NotMountedError(f"{place}: not mounted ({why})")
    if was_own and not is_alone(config.spool_dir):
        raise NotMountedError(f"{place}: not mounted any more")


def is_alone(directory: Path) -> bool:
    """Tell whether a spool's file system is the recorder's own: mounted there, or just around it.

    The folder around it must be there.
    """
    return is_mount(directory.parent) or (directory.exists() and is_mount(directory))


def allocate(file: int, size_bytes: int, *, is_written: bool) -> None:
    """Give an empty file its length and its blocks at once; they read as zeros.

    Only a help: where the file system cannot, or has not so much left, the file grows by and by.

    Args:
        file: its descriptor.
        size_bytes: the length.
        is_written: write the zeros too. Then what is written over them changes no metadata, and a
            commit is the blocks and one flush; it costs the length once more.
    """
    if _take(file, 0, 0, size_bytes) and is_written:
        # The same few pages again and again: so much fresh memory costs ten times the writing.
        for offset in range(0, size_bytes, len(_ZEROS)):
            os.pwrite(file, _ZEROS[: size_bytes - offset], offset)


def allocate_ahead(file: int, end_bytes: int, size_bytes: int) -> None:
    """Give a file blocks behind its end, and leave its length: what is appended there takes none.

    Only a help, like `allocate`. Cutting the file at its end gives back what was not used.

    Args:
        file: its descriptor.
        end_bytes: its length.
        size_bytes: of the blocks.
    """
    _take(file, _KEEP_SIZE, end_bytes, size_bytes)


def _take(file: int, mode: int, offset: int, size_bytes: int) -> bool:
    """Take blocks for a file; tell whether the file system could and had them."""
    if not _LIBC.fallocate(file, mode, offset, size_bytes):
        return True
    code = ctypes.get_errno()
    if code not in FULL | _CANNOT:
        raise OSError(code, os.strerror(code))
    return False


def syncfs(file: int) -> None:
    """Make everything durable that was written to the file system of an open file.

    Raises:
        OSError: something of it could not be written since the file was opened.
    """
    if _LIBC.syncfs(file):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _push(file: int, flags: int) -> None:
    """Begin or await the writing of a file's pages; the device's cache is not flushed."""
    if _LIBC.sync_file_range(file, 0, 0, flags):
        code = ctypes.get_errno()
        if code not in _CANNOT:
            raise OSError(code, os.strerror(code))
