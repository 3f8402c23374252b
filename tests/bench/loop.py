"""A file system of the bench's own: ext4 on a loop device, with counters and a throttle.

Only root can have one. Its image is written once, whole, so that no first use of a block is in a
figure; what reaches it is counted by the kernel at the loop device, not where the image lies.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

TOOLS = ("mkfs.ext4", "losetup", "mount", "umount")
#: Bytes per second to each device; the first version of control groups has it at its root.
THROTTLE = Path("/sys/fs/cgroup/blkio/blkio.throttle.write_bps_device")
_CHUNK_BYTES = 1 << 20
_SECTOR_BYTES = 512
_WRITES, _SECTORS, _FLUSHES = 4, 6, 15  # of the kernel's Documentation/block/stat.rst


def why_not() -> str:
    """Return why this machine gives the bench no device of its own, or nothing."""
    if os.geteuid() != 0:
        return "only root can have a loop device"
    if missing := [one for one in TOOLS if shutil.which(one) is None]:
        return f"not installed: {', '.join(missing)}"
    if not Path("/dev/loop-control").exists():
        return "the kernel has no loop devices"
    return "" if THROTTLE.exists() else f"no throttle: {THROTTLE} is not there"


@dataclass(frozen=True)
class Counts:
    """What reached a device since it was made.

    Args:
        writes: write requests.
        written_bytes: bytes in them.
        flushes: flush requests.
    """

    writes: int
    written_bytes: int
    flushes: int

    def since(self, earlier: Counts) -> Counts:
        """Return what came after `earlier`."""
        return Counts(
            self.writes - earlier.writes,
            self.written_bytes - earlier.written_bytes,
            self.flushes - earlier.flushes,
        )


class DiskError(Exception):
    """A tool that makes the disk, or takes it away, says no; in its words."""


class LoopDisk:
    """A mounted file system; a context manager.

    Args:
        folder: where its image lies.
        size_bytes: of the image.
        is_sparse: the image gets its blocks as they are written, for one larger than it will hold.

    Raises:
        DiskError: it cannot be made; nothing of it is left.
    """

    def __init__(self, folder: Path, size_bytes: int, *, is_sparse: bool = False) -> None:
        self._folder = Path(tempfile.mkdtemp(dir=folder))
        self._image = self._folder / "image"
        self.mount_point = self._folder / "disk"
        self.mount_point.mkdir()
        self._device = ""
        self._is_mounted = False
        try:
            self._make(size_bytes, is_sparse=is_sparse)
        except (OSError, DiskError):
            self.close()
            raise

    def _make(self, size_bytes: int, *, is_sparse: bool) -> None:
        with self._image.open("wb") as file:
            for _ in range(0 if is_sparse else size_bytes // _CHUNK_BYTES):
                file.write(bytes(_CHUNK_BYTES))
            file.truncate(size_bytes)
        fresh = "nodiscard,lazy_itable_init=0,lazy_journal_init=0"
        _tool("mkfs.ext4", "-q", "-F", "-E", fresh, str(self._image))
        found = _tool("losetup", "--find", "--show", "--direct-io=on", str(self._image))
        self._device = found.strip()
        self._mount()

    def _mount(self) -> None:
        _tool("mount", "-o", "noatime", self._device, str(self.mount_point))
        self._is_mounted = True

    def remount(self) -> None:
        """Take the file system away and bring it back: nothing of it is in memory any more."""
        _tool("umount", str(self.mount_point))
        self._is_mounted = False
        self._mount()

    def counts(self) -> Counts:
        """Return what reached the device so far."""
        name = Path(self._device).name
        found = Path(f"/sys/block/{name}/stat").read_text().split()
        sectors = int(found[_SECTORS])
        return Counts(int(found[_WRITES]), sectors * _SECTOR_BYTES, int(found[_FLUSHES]))

    def throttle(self, bytes_per_s: int) -> None:
        """Let the device take so many bytes per second from now on; 0: as many as it can."""
        number = Path(f"/sys/block/{Path(self._device).name}/dev").read_text().strip()
        THROTTLE.write_text(f"{number} {bytes_per_s}")

    def close(self) -> None:
        """Take everything down and remove the image; may be called twice."""
        if self._device:
            self.throttle(0)
        if self._is_mounted:
            # Lazily: who failed may still have a file open, and nothing is to be left behind.
            _tool("umount", "--lazy", str(self.mount_point))
            self._is_mounted = False
        if self._device:
            _tool("losetup", "--detach", self._device)
            self._device = ""
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> LoopDisk:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _tool(*command: str) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise DiskError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout
