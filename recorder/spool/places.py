"""Places in the spool, whatever lies there: somebody's mistake, or what a damaged disk made of it.

Nothing of that stops a recording, and nothing of it is deleted.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)


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
    """Remove a file, if it is there; where its folder should be there may be something else."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        path.unlink()


def set_beside(path: Path, *, is_folder: bool) -> None:
    """Move something out of a place where the spool needs a folder, or a file; it is kept."""
    if not os.path.lexists(path) or (path.is_dir() if is_folder else path.is_file()):
        return
    names = (f"{path.name}-strange-{number}" for number in itertools.count(1))
    place = next(one for one in map(path.with_name, names) if not os.path.lexists(one))
    path.rename(place)
    log.warning("%s: not the recorder's; moved to %s", path, place.name)
