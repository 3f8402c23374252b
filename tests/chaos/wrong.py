"""Deliberately wrong builds of the uploader, each a small change made in a running process.

The campaign has to catch every one of them: a campaign that cannot is worth nothing.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from recorder.errors import RemoteAwayError, RemoteError, RemoteRefusedError
from recorder.mosaico import MosaicoClient
from recorder.mosaico.wire import PutStream
from recorder.upload.delivery import Delivery
from recorder.upload.log import UploadLog
from recorder.upload.source import Source

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from recorder.mosaico.codec import Notification
    from recorder.upload.delivery import Content
    from recorder.upload.parts import Part
    from recorder.upload.state import Progress


def trust_the_exception() -> None:
    """Take a stream that ended in an error for one that brought nothing."""
    real = Delivery._put

    def put(self: Delivery, progress: Progress, *what: Any) -> Any:
        try:
            return real(self, progress, *what)
        except RemoteAwayError:
            name, part = progress.topic, progress.part.id
            self._log.note("abandoned", part=part, topic=name, session=progress.session)
            raise

    Delivery._put = put  # type: ignore[assignment, method-assign] # that is the point


def journal_behind_the_step() -> None:
    """Write a part's steps down when they are over, all at once."""

    def write(self: UploadLog, entry: dict[str, Any]) -> None:
        waiting = vars(self).setdefault("waiting", [])
        waiting.append(entry)
        self._apply(entry)
        if entry["entry"] in ("planned", "created", "putting"):
            return
        for one in waiting:
            self._journal.record(one)
        waiting.clear()

    def note(self: UploadLog, entry: str, **facts: Any) -> None:
        write(self, {"entry": entry, **facts})

    def plan(self: UploadLog, part: Part) -> Progress:
        write(self, part.to_entry())
        return self.parts[-1]

    UploadLog.note = note  # type: ignore[method-assign] # that is the point
    UploadLog.plan = plan  # type: ignore[method-assign] # likewise


def take_any_answer_for_a_receipt() -> None:
    """Take every answer of the server for success, a refusal too."""
    real = Delivery.deliver

    def deliver(self: Delivery, progress: Progress, content: Content) -> None:
        try:
            real(self, progress, content)
        except RemoteRefusedError:
            part, name = progress.part.id, progress.name
            self._log.note("put_ok", part=part, topic=name, first_ns=0, last_ns=0)

    Delivery.deliver = deliver  # type: ignore[method-assign] # that is the point


def end_the_stream_on_errors() -> None:
    """Leave a stream by an exception as Arrow does: by a clean end."""

    def leave(self: PutStream, *_: object) -> None:
        with contextlib.suppress(RemoteError):
            self.finish()

    PutStream.__exit__ = leave  # type: ignore[method-assign] # that is the point


def acknowledge_what_was_sent() -> None:
    """Give the receipt when the stream begins."""
    real = Delivery._put

    def put(self: Delivery, progress: Progress, *what: Any) -> Any:
        note, part = self._log.note, progress.part.id

        def note_more(entry: str, **facts: Any) -> None:
            note(entry, **facts)
            if entry == "putting":
                note("put_ok", part=part, topic=progress.name, first_ns=0, last_ns=0)

        vars(self._log)["note"] = note_more
        try:
            return real(self, progress, *what)
        finally:
            del vars(self._log)["note"]

    Delivery._put = put  # type: ignore[assignment, method-assign] # that is the point


def notify_blindly() -> None:
    """Leave a note without a look whether it is there."""

    def notifications(*_: object) -> list[Notification]:
        return []

    MosaicoClient.notifications = notifications  # type: ignore[assignment, method-assign] # the point


def send_what_is_not_durable() -> None:
    """Read the spool beyond the watermark."""

    def segments(self: Source, lane: str, since: str = "") -> list[tuple[Path, int]]:
        del since
        paths = self._spool.segments(self.session_id, lane)
        return [(path, path.stat().st_size) for path in paths]

    Source.segments = segments  # type: ignore[method-assign] # that is the point


BUILDS: dict[str, Callable[[], None]] = {
    "none": lambda: None,
    "trust-the-exception": trust_the_exception,
    "journal-behind-the-step": journal_behind_the_step,
    "take-any-answer-for-a-receipt": take_any_answer_for_a_receipt,
    "end-the-stream-on-errors": end_the_stream_on_errors,
    "acknowledge-what-was-sent": acknowledge_what_was_sent,
    "notify-blindly": notify_blindly,
    "send-what-is-not-durable": send_what_is_not_durable,
}
