"""Places in the spool, whatever lies there: somebody's mistake, or what a damaged disk made of it.

Nothing of that stops a recording, and nothing of it is deleted.
"""

from __future__ import annotations

import errno
import itertools
import logging
import os
import stat
from typing import TYPE_CHECKING

from recorder.spool.window import UNREADABLE

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR})


def is_folder(path: Path) -> bool:
    """Tell whether a folder is there that can be looked at; a link is none."""
    return stat.S_ISDIR(_mode(path) or 0)


def is_file(path: Path) -> bool:
    """Tell whether a file is there that can be looked at; a link is none."""
    return stat.S_ISREG(_mode(path) or 0)


def is_damaged(path: Path) -> bool:
    """Tell whether nobody can tell what is at a place: it is damaged, or somebody else's."""
    return _mode(path) is None


def _mode(path: Path) -> int | None:
    """Return what a place holds, 0 where it holds nothing, None if nobody can tell."""
    try:
        return path.lstat().st_mode
    except OSError as error:
        if error.errno in _ABSENT:
            return 0
        if error.errno not in UNREADABLE:
            raise
        return None


def may_write(path: Path) -> bool:
    """Tell whether a file is this process's to write to, whatever else may keep it from that."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CLOEXEC))
    except PermissionError:
        return False
    except OSError:
        pass  # a disk that is read-only now, say: who writes tells it
    return True


def size_of(path: Path) -> int:
    """Return a file's length; 0 if nobody can tell it: then nothing of it can be read."""
    try:
        return path.stat().st_size
    except OSError as error:
        if error.errno not in UNREADABLE:
            raise
        return 0


def listed(folder: Path) -> list[Path]:
    """Return what is in a folder; an absent one is empty.

    `Path.glob` will not do: to it a folder that cannot be read is empty too.

    Raises:
        OSError: it cannot be read.
    """
    try:
        return list(folder.iterdir())
    except FileNotFoundError:
        return []


def discard(path: Path) -> None:
    """Remove a file, if it is there; where its folder should be there may be something else.

    What cannot be looked at stays: it cannot be removed either.
    """
    try:
        path.unlink()
    except OSError as error:
        if error.errno not in _ABSENT | UNREADABLE:
            raise


def set_beside(path: Path, *, is_folder: bool) -> None:
    """Move something out of a place where the spool needs a folder, or a file; it is kept.

    A link is moved too: what it leads to may be another disk, which nobody would make durable.
    """
    mode = path.lstat().st_mode if os.path.lexists(path) else None
    if mode is None or (stat.S_ISDIR(mode) if is_folder else stat.S_ISREG(mode)):
        return
    names = (f"{path.name}-strange-{number}" for number in itertools.count(1))
    place = next(one for one in map(path.with_name, names) if not os.path.lexists(one))
    path.rename(place)
    log.warning("%s: not the recorder's; moved to %s", path, place.name)
