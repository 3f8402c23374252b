"""Whether there is a place to record to: folders that can be made and written, on a disk with room.

What is tried leaves nothing behind: neither a folder nor a file.
"""

from __future__ import annotations

import errno
import os
import tempfile
from typing import TYPE_CHECKING

from recorder.configfile.values import shown
from recorder.errors import ConfigError
from recorder.partition import why_missing

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from recorder.config import Config

_TRIED_BYTES = 4096
#: What a disk says that takes nothing now; a spool that is there waits for it, or makes room.
_LATER = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS})


def room_bytes(config: Config) -> int:
    """Return how many bytes the spool's disk has free above its floor."""
    stat = os.statvfs(_there(config.spool.directory))
    return max(0, stat.f_bavail * stat.f_frsize - config.spool.free_floor_bytes)


def spool_problems(config: Config) -> list[str]:
    """Return why nothing can be recorded to the spool's directory, in one line; empty if it can."""
    if why := why_missing(config):
        return [
            f"spool.directory: {shown(config.spool.directory)} is not mounted ({why}), and until it"
            " is nothing is written there"
        ]
    # A spool that is there makes room for itself, by giving up what is oldest.
    is_there = config.spool_dir.exists()
    problems = _unwritable("directory", config.spool.directory, _LATER if is_there else ())
    if not problems and not is_there and not room_bytes(config):
        floor_bytes = config.spool.free_floor_bytes
        return [
            f"spool.directory: found {shown(config.spool.directory)}; its disk has less free than"
            f" spool.free_floor_bytes, {floor_bytes}, so that there is no room to record"
        ]
    return problems


def check_place(config: Config) -> None:
    """Check that the spool and run_dir can be made and written, and that a new spool has room.

    A partition that is not mounted is no problem here: the recorder waits for it.

    Raises:
        ConfigError: they cannot; one line for each problem.
    """
    problems = [] if why_missing(config) else spool_problems(config)
    problems += _unwritable("run_dir", config.spool.run_dir)
    if problems:
        raise ConfigError("\n".join(problems))


def _unwritable(key: str, path: Path, allowed: Collection[int] = ()) -> list[str]:
    try:
        _try(_there(path))
    except OSError as error:
        if error.errno in allowed:
            return []
        user = os.geteuid()
        return [f"spool.{key}: found {shown(path)}; user {user} cannot write: {error.strerror}"]
    return []


def _there(path: Path) -> Path:
    """Return the folder itself, or the nearest above it that is there: it would be made in that."""
    while not os.path.lexists(path):
        path = path.parent
    return path


def _try(folder: Path) -> None:
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(_TRIED_BYTES))
        file.flush()
        os.fsync(file.fileno())
