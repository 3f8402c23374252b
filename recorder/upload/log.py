"""The uploader's journal of one session: the file ``upload/<session id>``.

Every entry is durable before the next step is taken, so that whoever comes after a crash knows what
may have happened on the server, and asks. Entries, by ``entry``:

    sequence   the name of the sequence on the server, before it is made
    opened     a writing session of the server: its uuid, which the server never tells again
    planned    a part (`recorder.upload.parts`)
    created    a part's topic exists: its name, its uuid, its writing session
    putting    its one stream is about to begin
    put_ok     the server was asked and holds the whole part: first and last `timestamp_ns`
    receipt    as put_ok, and nothing can take it back: the spool may free the segments
    abandoned  the topic broke and could not be deleted: its name is spent
    dropped    the part's segments were given up before it was sent: it is planned anew
    parked     the server refused the part: it will not be sent, and why
    resumed    a person asked to try what was parked again
    final      the session's terminal record
    finalized  a writing session of the server is closed
    done       the server holds the commit mark, and everything else that it will ever get; its URL
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recorder.spool.journal import Journal
from recorder.upload.parts import Part

if TYPE_CHECKING:
    from pathlib import Path

#: States of a part in which nothing more will happen to it.
SETTLED = ("put_ok", "receipt", "parked", "dropped")


@dataclass
class Progress:
    """How far a part came.

    Args:
        part: what it is.
        state: the name of the last entry about it; a broken topic sets it back to planned.
        topic: its name in the sequence, with the suffix of the attempt.
        topic_uuid: handle of the topic, or empty if it is not known.
        session: locator of the writing session of its topic.
        attempt: how many names were spent on it before this one.
        first_ns: `timestamp_ns` of the first row, once it is delivered.
        last_ns: `timestamp_ns` of the last row, once it is delivered.
        reason: why it was parked.
    """

    part: Part
    state: str = "planned"
    topic: str = ""
    topic_uuid: str = ""
    session: str = ""
    attempt: int = 0
    first_ns: int = 0
    last_ns: int = 0
    reason: str = ""

    @property
    def is_settled(self) -> bool:
        """Whether nothing more will be sent."""
        return self.state in SETTLED

    @property
    def is_delivered(self) -> bool:
        """Whether the server holds it."""
        return self.state in ("put_ok", "receipt")

    @property
    def name(self) -> str:
        """The topic name of this attempt."""
        return f"{self.part.topic}-r{self.attempt}" if self.attempt else self.part.topic


@dataclass
class WritingSession:
    """A writing session of the server that the uploader opened.

    Args:
        uuid: its handle.
        locator: its name.
        is_spoiled: holds a topic that is broken for ever, so it can never be finalized.
        is_finalized: closed.
    """

    uuid: str
    locator: str
    is_spoiled: bool = False
    is_finalized: bool = False


class UploadLog:
    """The journal, and what follows from it.

    Args:
        path: its file; made if absent.
    """

    def __init__(self, path: Path) -> None:
        self._journal = Journal(path)
        self.sequence = ""
        self.sessions: list[WritingSession] = []
        self.parts: list[Progress] = []
        self.abandoned: list[str] = []
        self.final: dict[str, Any] | None = None
        self.is_done = False
        for entry in self._journal.entries:
            self._apply(entry)

    def note(self, entry: str, **facts: Any) -> None:  # noqa: ANN401 - JSON
        """Journal a step; durable on return."""
        whole = {"entry": entry, **facts}
        self._journal.record(whole)
        self._apply(whole)

    def plan(self, part: Part) -> Progress:
        """Journal a new part; durable on return."""
        entry = part.to_entry()
        self._journal.record(entry)
        self._apply(entry)
        return self.parts[-1]

    def _apply(self, entry: dict[str, Any]) -> None:
        kind = entry["entry"]
        if kind == "planned":
            self.parts.append(Progress(Part.from_entry(entry)))
        elif "part" in entry:
            self._apply_to_part(kind, self.parts[entry["part"]], entry)
        elif kind == "sequence":
            self.sequence = entry["name"]
        elif kind == "opened":
            self.sessions.append(WritingSession(entry["uuid"], entry["locator"]))
        elif kind == "finalized":
            self._session(entry["locator"]).is_finalized = True
        elif kind == "final":
            self.final = entry["session"]
        elif kind == "done":
            self.is_done = True

    def _apply_to_part(self, kind: str, found: Progress, entry: dict[str, Any]) -> None:
        found.state = kind
        if kind == "abandoned":
            self.abandoned.append(entry["topic"])
            found.attempt += 1
            if entry["session"]:
                self._session(entry["session"]).is_spoiled = True
        if kind in ("abandoned", "resumed"):
            found.state, found.topic_uuid = "planned", ""
        for key in ("topic", "topic_uuid", "session", "first_ns", "last_ns", "reason"):
            if key in entry and kind != "abandoned":
                setattr(found, key, entry[key])

    def _session(self, locator: str) -> WritingSession:
        return next(one for one in self.sessions if one.locator == locator)

    def of_lane(self, lane: str) -> list[Progress]:
        """Return the parts of a lane, or of an own topic, without those that were dropped."""
        return [one for one in self.parts if one.part.lane == lane and one.state != "dropped"]

    @property
    def unsettled(self) -> Progress | None:
        """The part that is under way, or None; there is never more than one."""
        return next((one for one in self.parts if not one.is_settled), None)

    @property
    def held(self) -> Progress | None:
        """The parked part that stops the whole session's upload, or None."""
        parked = (one for one in self.parts if one.state == "parked")
        return next((one for one in parked if one.part.on_error == "raise"), None)

    def is_ended(self, lane: str) -> bool:
        """Tell whether a refusal ended a lane's topic: nothing more of it is sent."""
        parked = [one for one in self.of_lane(lane) if one.state == "parked"]
        return any(one.part.on_error == "finalize" for one in parked)

    def writing_session(self) -> WritingSession | None:
        """Return the server's session that takes further topics, or None."""
        usable = [one for one in self.sessions if not one.is_spoiled and not one.is_finalized]
        return usable[-1] if usable else None

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._journal.close()
