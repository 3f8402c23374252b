"""Replacing a small file so that a power cut leaves the old one or the new one, whole."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def replace(path: Path, text: str, mode: int) -> None:
    """Replace a file; durable on return.

    Args:
        path: the file; its folder must be there. It belongs to whom the folder belongs to, as far
            as this process may give it away.
        text: what it holds from then on.
        mode: its permissions.

    Raises:
        OSError: it cannot be written; then it is as it was.
    """
    draft = path.with_name(f".{path.name}")
    draft.unlink(missing_ok=True)
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        os.write(file, text.encode())
        os.fchmod(file, mode)
        if os.geteuid() == 0:
            folder = path.parent.stat()
            os.fchown(file, folder.st_uid, folder.st_gid)
        os.fsync(file)
    finally:
        os.close(file)
    draft.replace(path)
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
