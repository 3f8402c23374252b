"""Files that a process left when it died: those that are nobody's any more, and those unknown."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from recorder.errors import DamagedError
from recorder.spool.names import strangers_in
from recorder.spool.places import discard, is_damaged, is_folder, listed
from recorder.spool.segment import read_head
from recorder.spool.watermark import durable
from recorder.spool.window import UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from recorder.spool.spool import Spool
    from recorder.spool.watermark import Watermark

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


def left_of(
    spool: Spool,
    session_id: str,
    lane: str,
    water: Watermark | None,
    sealed: Mapping[str, int],
) -> tuple[list[tuple[Path, int]], list[str]]:
    """Return what a lane's dead writer left; what it made behind the watermark is removed.

    Args:
        spool: the spool.
        session_id: the session that was being recorded.
        lane: the lane.
        water: the last watermark of this boot, or None after a loss of power.
        sealed: see `recorder.spool.watermark.durable`.

    Returns:
        Its segments with the durable length of each, and why none of them can be read, if power
        was lost and the lane's folder is damaged. In this boot that is an error: it is tried again,
        for nothing may be booked as lost that is there.
    """
    is_trusted = water is not None and water.session_id == session_id
    try:
        segments = durable(spool, session_id, lane, water, sealed)
    except OSError as error:
        if is_trusted or error.errno not in UNREADABLE:
            raise
        return [], [str(error)]
    if is_trusted:
        _remove_undurable(spool, session_id, lane, [path.name for path, _ in segments])
    return segments, []


def _remove_undurable(spool: Spool, session_id: str, lane: str, kept: Sequence[str]) -> None:
    """Remove a lane's segments but for those `kept`: they were made after the last commit.

    Nothing in them was ever acknowledged, and the rings hold it all.
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
        if is_damaged(folder):
            continue  # named by whoever looks for sessions
        if not is_folder(folder):
            yield folder
        elif session_ids is None or folder.name in session_ids:
            yield from _unknown_in(folder)


def _unknown_in(session_dir: Path) -> Iterator[Path]:
    for one in _others(session_dir, _KNOWN_OF_SESSION):
        if is_folder(one):
            yield from _strangers(one)
        elif not is_damaged(one):
            yield one


def _strangers(folder: Path) -> list[Path]:
    try:
        return strangers_in(folder)
    except OSError as error:
        if error.errno not in UNREADABLE:
            raise
        return []  # whoever looks for its segments says so


def _others(folder: Path, known: set[str]) -> list[Path]:
    return [path for path in listed(folder) if path.name not in known]
