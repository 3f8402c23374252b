"""Replacing a small file so that a power cut leaves the old one or the new one, whole."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def replace(path: Path, parts: Iterable[bytes], mode: int | None = None) -> None:
    """Replace a file, or make it; durable on return, and at any time old or new.

    Whoever has the old file open goes on reading it as it was. Nobody may be writing to it.

    Args:
        path: the file; its folder must be there. As far as this process may give it away, it
            belongs to whom the folder belongs to.
        parts: what it holds from then on.
        mode: its permissions; None: those of any new file.

    Raises:
        OSError: the disk does not take it; the old file is there, or the new one if only the
            folder's sync failed.
    """
    draft = path.with_name(f".{path.name}")
    draft.unlink(missing_ok=True)  # of a process that was killed
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    # A secret is nobody else's from the first instant on.
    file = os.open(draft, flags, 0o666 if mode is None else mode)
    try:
        if mode is not None:
            os.fchmod(file, mode)
        if os.geteuid() == 0:
            folder = path.parent.stat()
            os.fchown(file, folder.st_uid, folder.st_gid)
        left = memoryview(b"".join(parts))
        while left:
            left = left[os.write(file, left) :]
        os.fsync(file)
    except OSError:
        draft.unlink(missing_ok=True)  # on a full disk it would hold the last of it
        raise
    finally:
        os.close(file)
    draft.replace(path)
    sync_directory(path.parent)


def remove(path: Path) -> None:
    """Remove a file, if it is there; durable on return.

    Raises:
        OSError: the disk does not take it.
    """
    path.unlink(missing_ok=True)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make durable which files a directory holds."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
