"""Pinning and unpinning a session: what is asked, checked, and journalled before it is answered."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from recorder.clock import boot_ns
from recorder.errors import SpoolError
from recorder.spool.journal import Journal
from recorder.spool.pins import UNPIN, Pin
from recorder.spool.quota import pin_cap_bytes

if TYPE_CHECKING:
    from recorder.spool.quota import Room
    from recorder.spool.recording import Recording


class NothingThereError(SpoolError):
    """The spool holds nothing of what was to be pinned."""


def pin(
    room: Room,
    recording: Recording | None,
    start: str,
    from_s: float | None = None,
    to_s: float | None = None,
) -> dict[str, Any]:
    """Keep a session, or a stretch of it, from being given up; durable on return.

    Args:
        room: knows what the spool holds.
        recording: the session that is being recorded, or None.
        start: first characters of the session's id, enough to tell it.
        from_s: where the stretch begins, in seconds from the session's first sample; None: there.
        to_s: where it ends, likewise; None: with the session.

    Returns:
        The session's `id`, `session_bytes` that it holds in pinned segments, `pinned_bytes` of all
        sessions, `cap_bytes` that pins may hold, and `is_growing`: more will come under this pin,
        and only what fits into the difference will be held.

    Raises:
        RecorderError: there is no such session or time, or pins would hold too much.
        OSError: it cannot be journalled; nothing is pinned.
    """
    session_id = room.spool.find(start)
    is_running = recording is not None and recording.session.id == session_id
    session = recording.session if recording and is_running else room.spool.session(session_id)
    begin_boot_ns = session.start_boot_ns or session.announced_boot_ns
    asked = Pin.between(begin_boot_ns, from_s, to_s)
    stock = room.stock.follow(session_id)
    if not room.stock.is_complete:
        raise SpoolError("what the spool holds is still being read; ask again in some seconds")
    there = [
        one for one in stock.segments.values() if asked.holds(one.first_boot_ns, one.last_boot_ns)
    ]
    if not there and not is_running:
        raise NothingThereError(
            f"session {session_id}: the spool holds nothing of that, nothing to pin"
        )
    pinned = {one.key: one.disk_bytes for one in [*room.stock.pinned(), *there]}
    pinned_bytes, cap_bytes = sum(pinned.values()), pin_cap_bytes(room.spool, room.config)
    if pinned_bytes > cap_bytes:
        raise SpoolError(
            f"session {session_id}: refused: with it pins would hold {_mb(pinned_bytes)}, and they"
            f" may hold {_mb(cap_bytes)} (spool.pin_share {room.config.spool.pin_share:g});"
            " unpin another, or pin a stretch of it"
        )
    _note(room, recording, session_id, asked.to_entry())
    session_bytes = sum(one.disk_bytes for one in stock.pinned())
    return {
        "id": session_id,
        "session_bytes": session_bytes,
        "pinned_bytes": pinned_bytes,
        "cap_bytes": cap_bytes,
        "is_growing": is_running and (asked.to_boot_ns is None or asked.to_boot_ns > boot_ns()),
    }


def unpin(room: Room, recording: Recording | None, start: str) -> dict[str, Any]:
    """Take every pin of a session back; durable on return.

    Args:
        room: knows what the spool holds.
        recording: the session that is being recorded, or None.
        start: first characters of the session's id, enough to tell it.

    Returns:
        The session's `id` and `session_bytes`, which may be given up again.

    Raises:
        RecorderError: there is no such session, or nothing of it is pinned.
        OSError: it cannot be journalled; everything stays pinned.
    """
    session_id = room.spool.find(start)
    stock = room.stock.follow(session_id)
    if not stock.pins:
        raise SpoolError(f"session {session_id}: nothing of it is pinned")
    session_bytes = sum(one.disk_bytes for one in stock.pinned())
    _note(room, recording, session_id, UNPIN)
    return {"id": session_id, "session_bytes": session_bytes}


def _note(room: Room, recording: Recording | None, session_id: str, entry: dict[str, Any]) -> None:
    if recording is not None and recording.session.id == session_id:
        recording.note(entry)
    else:
        with contextlib.closing(Journal(room.spool.journal_path(session_id))) as journal:
            journal.record(entry)
    room.stock.follow(session_id)


def _mb(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:,.1f} MB"
