"""Names of segments: ``<first sample's number, 12 digits>-<ring epoch, 16 hex digits>.seg``."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SUFFIX = ".seg"
_EPOCH_AT = 12
_NAME = re.compile(r"\d{12}-[0-9a-f]{16}\.seg")


def first_seqno_of(name: str) -> int:
    """Return the number of the first sample of a segment of this name."""
    return int(name.partition("-")[0])


def epoch_of(name: str) -> int:
    """Return the ring epoch of a segment of this name."""
    return int(name.partition("-")[2].removesuffix(SUFFIX), 16)


def segments_in(folder: Path, since: str = "") -> list[Path]:
    """Return the segments in a lane's folder, by name; a link is none, nor is a folder.

    Args:
        folder: the lane's.
        since: name of a segment; earlier ones of its ring are left out.

    Raises:
        OSError: the folder is there and cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            names = [
                one.name
                for one in entries
                if not (one.name < since and one.name[_EPOCH_AT:] == since[_EPOCH_AT:])
                and _NAME.fullmatch(one.name)
                and one.is_file(follow_symlinks=False)
            ]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [folder / name for name in sorted(names)]


def strangers_in(folder: Path) -> list[Path]:
    """Return what is in a lane's folder and no segment.

    Raises:
        OSError: the folder cannot be read.
    """
    with os.scandir(folder) as entries:
        return [
            folder / one.name
            for one in entries
            if not (_NAME.fullmatch(one.name) and one.is_file(follow_symlinks=False))
        ]
