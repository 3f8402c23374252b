"""What may be asked of the spooler over its command socket, and what it does then.

Each order is journalled, durably, before it is answered.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from typing import TYPE_CHECKING, Any, Protocol

from recorder.errors import RecorderError, SpoolError
from recorder.spool import marks, pinning
from recorder.spool.said import MOST_CHARACTERS, check_text
from recorder.spool.session_time import tell_time

if TYPE_CHECKING:
    from collections.abc import Callable

    from recorder.spool.archive import Archive
    from recorder.spool.recording import Recording

#: Who may end a recording over the socket: a person, or the supply's process.
_STOPS = ("operator", "shutdown")
#: What every server takes as a key of metadata.
_KEY = re.compile(r"(?!.*--)[A-Za-z0-9 _-]{1,255}")
#: What a reader of JSON in any language takes as a whole number.
_WHOLE = range(-(2**63), 2**63)


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
    try:
        return {"id": spooler.announce().session.id}
    except OSError as error:
        told = "the disk does not take it now, and recording begins as soon as it does"
        raise SpoolError(f"{told}: {error}") from error


def _stop(spooler: Spooler, reason: str = "operator") -> dict[str, Any]:
    if reason not in _STOPS:
        raise RecorderError(f"unknown reason {reason!r}; known are {', '.join(_STOPS)}")
    _running(spooler)
    spooler.commit()
    session = _running(spooler).session
    spooler.end(reason)
    return {"id": session.id}


def _new(spooler: Spooler) -> dict[str, Any]:
    _running(spooler)
    spooler.commit()
    ended = _running(spooler).session
    spooler.end("roll_over")
    return {**_start(spooler), "predecessor": ended.id}


def _mark(
    spooler: Spooler,
    label: str = "",
    cause: str = "operator",
    before_s: float = 30,
    after_s: float = 60,
) -> dict[str, Any]:
    return marks.mark(spooler.archive, label=label, cause=cause, before_s=before_s, after_s=after_s)


def _set(
    spooler: Spooler, identifier: str | None = None, details: dict[str, Any] | None = None
) -> dict[str, Any]:
    session = _running(spooler).session
    added = {} if details is None else details
    if not isinstance(added, dict):
        raise RecorderError("details must be an object of names and values")
    for key, value in added.items():
        _check_detail(key, value)
    if identifier is not None:
        check_text("the identifier", identifier, least=1)
        try:
            tell_time(session, spooler.archive.time.model, identifier)
        except ValueError as error:
            raise RecorderError(f"identifier {identifier!r}: {error}") from error
    _say(spooler, {"identifier": identifier or "", "details": added})
    return {"id": session.id, "identifier": session.identifier}


def _check_detail(key: str, value: object) -> None:
    if not _KEY.fullmatch(key):
        raise RecorderError(
            f"detail {key!r}: its key must be of A-Z a-z 0-9 _ - and blanks, without two - in a"
            f" row, 1 to {MOST_CHARACTERS} characters"
        )
    if not isinstance(value, (str, int, float, bool)) or (
        isinstance(value, float) and not math.isfinite(value)
    ):
        raise RecorderError(f"detail {key!r}: must be a text, a number, true or false")
    if isinstance(value, int) and value not in _WHOLE:
        raise RecorderError(f"detail {key!r}: a whole number must be one of 64 bits")
    if isinstance(value, str):
        check_text(f"detail {key!r}", value)


def _depend(spooler: Spooler, kind: str, content: str) -> dict[str, Any]:
    """Keep a dependency (`content` is base64), and name it in the session that runs, if any."""
    try:
        raw = base64.b64decode(content, validate=True)
    except binascii.Error as error:
        raise RecorderError(f"the content is no base64: {error}") from error
    found = spooler.archive.dependencies.add(kind, raw)
    recording = spooler.recording
    if recording is not None:
        _say(spooler, {"dependencies": {kind: [found]}})
    return {"id": found, "session": recording.session.id if recording else ""}


def _say(spooler: Spooler, words: dict[str, Any]) -> None:
    """Say something of the session that runs: at once, durably, and in its next heartbeat."""
    archive, recording = spooler.archive, _running(spooler)
    session = recording.session
    archive.said.take(words)
    archive.said.apply(session)
    session.dependencies_missing = archive.dependencies.missing(session.dependencies)
    session.revision += 1
    recording.note_session()
    recording.note({"entry": "command", "command": "set", **words})


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
    "depend": _depend,
    "pin": _pin,
    "unpin": _unpin,
}
