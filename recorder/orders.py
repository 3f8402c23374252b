"""What may be asked of the spooler over its command socket, and what it does then.

Each order is journalled, durably, before it is answered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from recorder.clock import boot_ns
from recorder.errors import RecorderError
from recorder.spool import pinning
from recorder.spool.session_time import tell_time

if TYPE_CHECKING:
    from collections.abc import Callable

    from recorder.spool.archive import Archive
    from recorder.spool.recording import Recording


class Spooler(Protocol):
    """What the spool's process offers to whoever orders something; see `recorder.spooler`."""

    @property
    def recording(self) -> Recording | None:
        """The session that is being recorded."""

    @property
    def archive(self) -> Archive:
        """The spool, open; SpoolError if its disk is not there."""

    def announce(self) -> Recording:
        """Begin a session; durable on return."""

    def commit(self) -> None:
        """Bring to disk what the rings hold."""

    def end(self, reason: str) -> None:
        """End the session that is being recorded, if any; durable on return."""


def answer(spooler: Spooler, request: dict[str, Any]) -> dict[str, Any]:
    """Carry out one request.

    Args:
        spooler: who is asked.
        request: ``command`` and its arguments.

    Returns:
        The facts to answer with.

    Raises:
        RecorderError: it cannot be done; the message says why.
    """
    arguments = dict(request)
    name = arguments.pop("command", None)
    if name not in ORDERS:
        raise RecorderError(f"unknown command {name!r}; known are {', '.join(ORDERS)}")
    return ORDERS[name](spooler, **arguments)


def _status(spooler: Spooler) -> dict[str, Any]:
    recording = spooler.recording
    return {"session": recording.session.to_dict() if recording else None}


def _start(spooler: Spooler) -> dict[str, Any]:
    if spooler.recording is not None:
        raise RecorderError(f"session {spooler.recording.session.id} is being recorded already")
    return {"id": spooler.announce().session.id}


def _stop(spooler: Spooler) -> dict[str, Any]:
    _running(spooler)
    spooler.commit()
    session = _running(spooler).session
    spooler.end("operator")
    return {"id": session.id}


def _new(spooler: Spooler) -> dict[str, Any]:
    _running(spooler)
    spooler.commit()
    spooler.end("roll_over")
    return _start(spooler)


def _mark(
    spooler: Spooler, label: str = "", before_s: float = 30, after_s: float = 60
) -> dict[str, Any]:
    recording = _running(spooler)
    mark = {"label": label, "before_s": before_s, "after_s": after_s, "boot_ns": boot_ns()}
    recording.note({"entry": "mark", **mark})
    return {"id": recording.session.id, **mark}


def _set(
    spooler: Spooler, identifier: str | None = None, details: dict[str, Any] | None = None
) -> dict[str, Any]:
    recording = _running(spooler)
    added = details or {}
    if not all(isinstance(one, (str, int, float, bool)) for one in added.values()):
        raise RecorderError("details are texts, numbers, true or false")
    if identifier is not None:
        try:
            tell_time(recording.session, spooler.archive.anchors, identifier)
        except (ValueError, LookupError, AttributeError) as error:
            raise RecorderError(
                f"identifier {identifier!r}: only {{vehicle}}, {{start}} and {{id8}} are filled in"
            ) from error
        spooler.archive.identifier = identifier
    session = recording.session
    session.details.update(added)
    session.revision += 1
    recording.note_session()
    recording.note({"entry": "command", "command": "set", "details": added})
    return {"id": session.id, "identifier": session.identifier}


def _pin(
    spooler: Spooler, start: str, from_s: float | None = None, to_s: float | None = None
) -> dict[str, Any]:
    return pinning.pin(spooler.archive.room, spooler.recording, start, from_s, to_s)


def _unpin(spooler: Spooler, start: str) -> dict[str, Any]:
    return pinning.unpin(spooler.archive.room, spooler.recording, start)


def _running(spooler: Spooler) -> Recording:
    if spooler.recording is None:
        raise RecorderError("no session is being recorded")
    return spooler.recording


ORDERS: dict[str, Callable[..., dict[str, Any]]] = {
    "status": _status,
    "start": _start,
    "stop": _stop,
    "new": _new,
    "mark": _mark,
    "set": _set,
    "pin": _pin,
    "unpin": _unpin,
}
