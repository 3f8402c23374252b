"""Disks of this campaign: ext4 images in memory, mounted plainly or behind a block log."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.powercut import blocklog

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent.parent
MEMORY = Path("/dev/shm")
DISK_BYTES = 64 << 20
#: No lazy work of the file system's own in the log, no space that only root may use.
_FORMAT = (
    "-q",
    "-F",
    "-b",
    "4096",
    "-m",
    "0",
    "-J",
    "size=4",
    "-E",
    "lazy_itable_init=0,lazy_journal_init=0",
)
_CLONE_NEWNS = 0x20000
_READY_S = 10.0
_KERNEL_LINES = 3


class DiskError(Exception):
    """A file system of the campaign could not be checked, mounted or unmounted."""


def missing() -> str:
    """Return what this machine lacks for the campaign, or nothing."""
    if os.geteuid() != 0:
        return "not root: nothing can be mounted"
    for path in ("/dev/fuse", "/dev/loop-control", MEMORY):
        if not Path(path).exists():
            return f"{path} is not there"
    for tool in ("losetup", "mount", "umount", "mkfs.ext4", "e2fsck"):
        if shutil.which(tool) is None:
            return f"{tool} is not installed"
    return _library_missing()


def _library_missing() -> str:
    try:
        import mfusepy  # noqa: F401, PLC0415 - only whether it is there, and its libfuse3 with it
    except (ImportError, OSError, AttributeError) as error:
        return f"mfusepy or Debian's libfuse3-3 is not installed ({error})"
    return ""


def be_alone() -> None:
    """Go into a mount namespace of our own: what is mounted here ends with the last process.

    Raises:
        DiskError: that is not allowed here.
    """
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNS):
        raise DiskError(f"no mount namespace of our own: {os.strerror(ctypes.get_errno())}")
    _run("mount", "--make-rprivate", "/")


def make(path: Path) -> None:
    """Make an image with an empty file system."""
    with path.open("wb") as file:
        file.truncate(DISK_BYTES)
    _run("mkfs.ext4", *_FORMAT, str(path))


@contextlib.contextmanager
def mounted(image: Path, at: Path) -> Iterator[Path]:
    """Mount an image through a loop device, which goes with the mount."""
    at.mkdir(exist_ok=True)
    try:
        _run("mount", "-t", "ext4", "-o", "loop", str(image), str(at))
    except DiskError as error:
        raise DiskError(f"{error}; the kernel says: {_kernel_words()}") from error
    try:
        yield at
    finally:
        _run("umount", str(at))


@contextlib.contextmanager
def logged(folder: Path) -> Iterator[Path]:
    """Serve ``disk.img`` of a folder behind a block log, and return where it is to be found."""
    served = folder / "served"
    served.mkdir(exist_ok=True)
    arguments = [sys.executable, "-m", blocklog.__name__, str(folder), str(served)]
    with subprocess.Popen(arguments, cwd=ROOT) as server:
        image = served / blocklog.DISK
        try:
            _wait_for(image, server)
            yield image
        finally:
            if image.exists():
                _run("umount", str(served))
            else:
                server.kill()
            server.wait(_READY_S)


def _wait_for(image: Path, server: subprocess.Popen[bytes]) -> None:
    until_s = time.monotonic() + _READY_S
    while not image.exists():
        if server.poll() is not None or time.monotonic() > until_s:
            raise DiskError("the block log does not come up")
        time.sleep(0.005)


def check(image: Path) -> None:
    """Let e2fsck look at an image that was mounted and unmounted since its cut.

    Raises:
        DiskError: the file system is not sound.
    """
    _run("e2fsck", "-fn", str(image))


def _kernel_words() -> str:
    """Return the kernel's last lines about ext4 or its journal."""
    done = subprocess.run(["dmesg"], capture_output=True, text=True, check=False, timeout=60)
    lines = [one for one in done.stdout.splitlines() if "EXT4-fs" in one or "JBD2" in one]
    return " | ".join(lines[-_KERNEL_LINES:])


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise DiskError(f"{' '.join(command)}: {done.stdout[-500:]}{done.stderr.strip()}")
