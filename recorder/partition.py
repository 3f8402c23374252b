"""Whether the partition is there that the recorder is to write to, and not its empty mount point.

It has one if `spool.marker` says so, or if the system's own table of what is mounted (fstab(5))
names the place: with `nofail` a box boots without it all the same.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from recorder.config import Config

FSTAB = Path("/etc/fstab")
#: Which fields of a line of it say where, and how.
_WHERE, _OPTIONS = 1, 3
#: What is mounted so may be of the file system that lies around it, and is not to be told from it.
_BIND = frozenset({"bind", "rbind"})


def why_missing(config: Config) -> str:
    """Return by what the spool's partition is known not to be mounted; empty if it may be written.

    Args:
        config: says where the spool lies, and the file that marks its partition.

    Raises:
        OSError: the disk cannot tell.
    """
    place, marker = config.spool.directory, config.spool.marker
    if marker and not (place / marker).exists():
        return f"it has no file {marker}"
    for one in named(_fstab()):
        if one in (place, config.spool_dir) and not (one.exists() and is_mount(one)):
            return f"{FSTAB} names {one}"
    return ""


def is_mount(directory: Path) -> bool:
    """Tell whether another file system begins at a directory than lies around it."""
    return directory.stat().st_dev != directory.absolute().parent.stat().st_dev


def named(fstab: str) -> Iterator[Path]:
    """Yield the places at which a system mounts file systems.

    Args:
        fstab: what its table says.
    """
    for fields in (line.split() for line in fstab.splitlines() if not line.startswith("#")):
        if len(fields) > _OPTIONS and not _BIND & set(fields[_OPTIONS].split(",")):
            yield Path(fields[_WHERE])


def _fstab() -> str:
    try:
        return FSTAB.read_text(errors="replace")
    except OSError:
        return ""  # there is none
