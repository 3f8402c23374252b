"""Files that a process left when it died: those that are nobody's any more, and those unknown."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from recorder.errors import DamagedError
from recorder.spool.names import strangers_in
from recorder.spool.places import discard, listed
from recorder.spool.segment import read_head

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

    from recorder.spool.spool import Spool

_KNOWN = {
    "FORMAT",
    ".FORMAT",
    "lock",
    "reserve",
    "boots",
    "sessions",
    "aside",
    "gone",
    "lost+found",
}
_KNOWN_OF_SESSION = {"journal", ".journal"}


def remove_evicted(spool: Spool, session_id: str, entries: Sequence[dict[str, Any]]) -> None:
    """Remove segments that have a tombstone: it was written, then the process died."""
    for one in entries:
        if one["entry"] == "evicted":
            discard(spool.session_dir(session_id) / one["lane"] / one["file"])


def remove_undurable(spool: Spool, session_id: str, lane: str, kept: Sequence[str]) -> None:
    """Remove a lane's segments that were made after the last commit of this boot.

    Nothing in them was ever acknowledged, and the rings hold it all.

    Args:
        spool: the spool.
        session_id: the session that was being recorded.
        lane: the lane.
        kept: names of the segments that the watermark names, and of those before.
    """
    for path in spool.segments(session_id, lane):
        if path.name in kept:
            continue
        if _is_of(path, session_id):
            path.unlink()
        else:
            # Perhaps it was one that was told of and is damaged, or somebody put it here.
            spool.set_aside(path)


def _is_of(path: Path, session_id: str) -> bool:
    try:
        head = read_head(path)
    except (DamagedError, FileNotFoundError):
        return False
    return str(uuid.UUID(bytes=head.session_id)) == session_id


def unknown(spool: Spool, session_ids: Collection[str] | None = None) -> Iterator[Path]:
    """Yield everything in a spool that is not the recorder's; it is left alone.

    Args:
        spool: the spool.
        session_ids: look into these sessions only; None: into all.
    """
    yield from _others(spool.directory, _KNOWN)
    for folder in listed(spool.directory / "sessions"):
        if not folder.is_dir() or folder.is_symlink():
            yield folder
        elif session_ids is None or folder.name in session_ids:
            yield from _unknown_in(folder)


def _unknown_in(session_dir: Path) -> Iterator[Path]:
    for one in _others(session_dir, _KNOWN_OF_SESSION):
        if not one.is_dir() or one.is_symlink():
            yield one
        else:
            yield from strangers_in(one)


def _others(folder: Path, known: set[str]) -> list[Path]:
    return [path for path in listed(folder) if path.name not in known]
