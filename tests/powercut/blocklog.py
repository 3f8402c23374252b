"""A disk whose every write and flush is written down, in order: a file system with one file in it.

``python -m tests.powercut.blocklog FOLDER MOUNTPOINT`` serves ``FOLDER/disk.img`` as
``MOUNTPOINT/disk.img`` until it is unmounted. A loop device on that file is the disk. The file is
opened with direct I/O and served by one thread, so that what reaches us is what the device was
told, in the order in which it was told, and nothing is merged or kept back in between.

Before each answer the request is appended to ``FOLDER/log``, and then counted in ``FOLDER/count``
(8 bytes, little-endian), which other processes read to say "when". An entry of the log:

    offset size  field
         0    1  kind: 1 write, 2 flush
         1    4  length of the data in bytes, little-endian like all
         5    8  where on the disk
        13    8  CLOCK_BOOTTIME in ns at which it came
        21    n  data

A write is in the log before it is answered, so a disk that is cut behind it may hold all, some or
nothing of it. A flush is in the log when every write before it is on the medium.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import signal
import struct
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

WRITE, FLUSH = 1, 2
DISK, LOG, COUNT = "disk.img", "log", "count"
_PR_SET_PDEATHSIG = 1
_ENTRY = struct.Struct("<BIQq")


@dataclass(frozen=True)
class Entry:
    """One request to the disk.

    Args:
        kind: `WRITE` or `FLUSH`.
        offset: where on the disk, in bytes.
        data: what was to be written.
        boot_ns: CLOCK_BOOTTIME at which it came.
    """

    kind: int
    offset: int
    data: memoryview
    boot_ns: int


def entries(folder: Path) -> list[Entry]:
    """Return everything that the disk was told; the data lies in the mapped log."""
    return list(_parsed(folder / LOG))


def _parsed(path: Path) -> Iterator[Entry]:
    with path.open("rb") as file:
        if not path.stat().st_size:
            return
        view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    at = 0
    while at < len(view):
        kind, size, offset, boot_ns = _ENTRY.unpack_from(view, at)
        at += _ENTRY.size
        yield Entry(kind, offset, view[at : at + size], boot_ns)
        at += size


class Counter:
    """How many entries the log has, shared by all processes through one mapped file."""

    def __init__(self, folder: Path) -> None:
        path = folder / COUNT
        if not path.exists():
            path.write_bytes(bytes(8))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 8)

    def read(self) -> int:
        """Return the number of entries; an aligned word of 8 bytes is copied at once."""
        return int.from_bytes(self._memory[:], "little")

    def write(self, count: int) -> None:
        """Tell every reader."""
        self._memory[:] = count.to_bytes(8, "little")


class LoggedDisk:
    """What the file system answers: the few requests that a loop device and `mount` make."""

    use_ns = True

    def __init__(self, folder: Path) -> None:
        self._disk = os.open(folder / DISK, os.O_RDWR)
        self._log = os.open(folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        self._counter = Counter(folder)
        self._count = 0
        self._counter.write(0)

    def getattr(self, path: str, _handle: Any = None) -> dict[str, int]:
        """Describe the folder and its one file."""
        if path == "/":
            return {"st_mode": 0o040755, "st_nlink": 2}
        if path != f"/{DISK}":
            raise OSError(errno.ENOENT, path)
        size = os.fstat(self._disk).st_size
        return {"st_mode": 0o100600, "st_nlink": 1, "st_size": size}

    def open(self, _path: str, info: Any) -> int:
        """Open the disk, past the page cache."""
        info.direct_io = 1
        return 0

    def read(self, _path: str, size: int, offset: int, _handle: Any) -> bytes:
        """Read from the disk as its host sees it: what was written is there."""
        return os.pread(self._disk, size, offset)

    def write(self, _path: str, data: bytes, offset: int, _handle: Any) -> int:
        """Write down what is written, then write it."""
        self._note(WRITE, offset, data)
        return os.pwrite(self._disk, data, offset)

    def fsync(self, _path: str, _datasync: int, _handle: Any) -> int:
        """Write down that the disk was flushed."""
        self._note(FLUSH, 0, b"")
        return 0

    def flush(self, _path: str, _handle: Any) -> int:
        """Do nothing: somebody closed a descriptor, which moves no byte."""
        return 0

    def release(self, _path: str, _handle: Any) -> int:
        """Do nothing: the disk stays open."""
        return 0

    def _note(self, kind: int, offset: int, data: bytes) -> None:
        head = _ENTRY.pack(kind, len(data), offset, time.clock_gettime_ns(time.CLOCK_BOOTTIME))
        os.writev(self._log, [head, data])
        self._count += 1
        self._counter.write(self._count)


def main() -> None:
    """Serve the disk until it is unmounted."""
    import mfusepy  # noqa: PLC0415 - whoever only reads a log needs no library

    # A disk that outlived the campaign would keep its mounts.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    folder, mountpoint = Path(sys.argv[1]), sys.argv[2]
    mfusepy.FUSE(LoggedDisk(folder), mountpoint, raw_fi=True, foreground=True, nothreads=True)


if __name__ == "__main__":
    main()
