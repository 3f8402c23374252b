"""Marks: moments that somebody, or something, wants to find again.

A mark is an entry of its session's journal and a row of `recorder/marks` on the server: `boot_ns`,
`label`, `cause` (``operator``, or the rule that set it), `before_s` and `after_s`. What was, and
will be, recorded in its window is pinned, which also brings its session to the front of the
upload. A session that begins while the window goes on has the mark too, with the id of the
`session` that it was set in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recorder.clock import boot_ns
from recorder.errors import RecorderError, SpoolError
from recorder.spool import pinning
from recorder.spool.said import check_text
from recorder.spool.session_time import is_of_this_boot

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from recorder.session.session import Session
    from recorder.spool.archive import Archive

MOST_WINDOW_S = 3600.0


def mark(
    archive: Archive, *, label: str, cause: str, before_s: float, after_s: float
) -> dict[str, Any]:
    """Mark this moment of the session that is being recorded; durable on return.

    Args:
        archive: the spool, with the session.
        label: what it is, for people; at most 255 characters.
        cause: why it was set, likewise.
        before_s: where its window begins, 0 to 3600 s before now.
        after_s: where it ends, 0 to 3600 s from now.

    Returns:
        The mark, with the session's `id`, and `unpinned`: why its window is not kept, or empty.

    Raises:
        RecorderError: no session is being recorded, or an argument is none.
        OSError: it cannot be journalled; nothing is marked.
    """
    recording = archive.recording
    if recording is None:
        raise RecorderError("no session is being recorded")
    for name, text in (("label", label), ("cause", cause)):
        check_text(f"the {name}", text)
    for name, span_s in (("before", before_s), ("after", after_s)):
        if not isinstance(span_s, (int, float)) or not 0 <= span_s <= MOST_WINDOW_S:
            raise RecorderError(f"{name} {span_s!r}: must be 0 to {MOST_WINDOW_S:g} seconds")
    now = boot_ns()
    facts = {"boot_ns": now, "label": label, "cause": cause}
    facts |= {"before_s": before_s, "after_s": after_s}
    recording.note({"entry": "mark", **facts})
    archive.said.note_mark({**facts, "session": recording.session.id})
    return {"id": recording.session.id, **facts, "unpinned": _pin(archive, now, before_s, after_s)}


def marks_in(entries: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the marks of a session's journal, oldest first, without what they are entries of."""
    return [
        {key: value for key, value in one.items() if key != "entry"}
        for one in entries
        if one["entry"] == "mark"
    ]


def _pin(archive: Archive, now: int, before_s: float, after_s: float) -> str:
    """Keep a window, also what of it lies in the sessions before; return why not, or empty."""
    recording = archive.recording
    if recording is None:
        return ""
    end_s: float | None = _since_start_s(recording.session, now) + max(after_s, 0.001)
    refused: list[str] = []
    for session in [recording.session, *_before(archive, now - round(before_s * 1e9))]:
        begin_s = max(_since_start_s(session, now) - before_s, 0.0)
        try:
            pinning.pin(archive.room, recording, session.id, begin_s, end_s)
        except pinning.NothingThereError:
            pass  # it was given up before the mark
        except SpoolError as error:
            refused.append(str(error))
        end_s = None
    return "; ".join(refused)


def _before(archive: Archive, since_boot_ns: int) -> Iterator[Session]:
    """Yield this boot's sessions before the one that runs that reach into a time, the last first.

    They need not follow each other without a gap: a recording may have been stopped in between.
    """
    for session_id in reversed(archive.spool.session_ids()[:-1]):
        try:
            session = archive.spool.session(session_id)
        except SpoolError:
            continue  # its journal has no whole record
        if not is_of_this_boot(session) or session.span_boot_ns[1] < since_boot_ns:
            return
        yield session


def _since_start_s(session: Session, now: int) -> float:
    return (now - (session.start_boot_ns or session.announced_boot_ns)) / 1e9
