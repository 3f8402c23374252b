"""A disk with a place that cannot be read: ``bad_disk FOLDER MOUNTPOINT FILE BEGIN END``.

It shows a folder, to be read only; of one file the bytes from BEGIN to END give EIO. What it does
not play: a disk that tries for seconds before it gives up, and pages that were read before the
place went bad.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent.parent.parent
_READY_S = 10.0
_PR_SET_PDEATHSIG = 1
_SHOWN = ("st_mode", "st_nlink", "st_size", "st_uid", "st_gid")


class BadDisk:
    """What the file system answers."""

    use_ns = True

    def __init__(self, folder: str, file: str, begin: int, end: int) -> None:
        self._folder, self._file, self._bad = folder, file, (begin, end)

    def _path(self, path: str) -> str:
        return self._folder + path

    def getattr(self, path: str, _handle: Any = None) -> dict[str, int]:
        """Describe a file or folder."""
        found = os.lstat(self._path(path))
        return {key: getattr(found, key) for key in _SHOWN}

    def readdir(self, path: str, _handle: Any) -> list[str]:
        """List a folder."""
        return [".", "..", *os.listdir(self._path(path))]  # noqa: PTH208 - names are wanted

    def read(self, path: str, size: int, offset: int, _handle: Any) -> bytes:
        """Read, unless the place is bad."""
        begin, end = self._bad
        if path == self._file and offset < end and offset + size > begin:
            raise OSError(errno.EIO, path)
        descriptor = os.open(self._path(path), os.O_RDONLY)
        try:
            return os.pread(descriptor, size, offset)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def bad_disk(folder: Path, served: Path, file: Path, begin: int, end: int) -> Iterator[Path]:
    """Show a folder at another place, with a bad place in one file of it."""
    served.mkdir()
    name = f"/{file.relative_to(folder)}"
    arguments = [str(folder), str(served), name, str(begin), str(end)]
    command = [sys.executable, "-m", "tests.recorder.spool.bad_disk", *arguments]
    with subprocess.Popen(command, cwd=ROOT) as server:
        try:
            until_s = time.monotonic() + _READY_S
            while not os.path.ismount(served):
                assert server.poll() is None, "the bad disk does not come up"
                assert time.monotonic() < until_s, "the bad disk does not come up"
                time.sleep(0.005)
            yield served
        finally:
            subprocess.run(["umount", str(served)], check=False, timeout=_READY_S)
            server.terminate()
            server.wait(_READY_S)


def main() -> None:
    """Serve until it is unmounted."""
    import mfusepy  # noqa: PLC0415 - whoever only mounts one needs no library

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    folder, mountpoint, file, begin, end = sys.argv[1:]
    disk = BadDisk(folder, file, int(begin), int(end))
    mfusepy.FUSE(disk, mountpoint, foreground=True, nothreads=True)


if __name__ == "__main__":
    main()
