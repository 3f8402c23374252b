"""What the uploader's journal of a session says: how far each part came, and on which server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recorder.errors import DamagedError
from recorder.upload.parts import Part

if TYPE_CHECKING:
    from collections.abc import Iterable

#: States of a part in which nothing more will happen to it.
SETTLED = ("put_ok", "receipt", "parked", "dropped")
_PART_KEYS = (
    "topic", "topic_uuid", "session", "first_ns", "last_ns", "reason", "too_large", "content"
)  # fmt: skip
_NO_LIMIT = 2**63
#: What keeps a sample that was stored from the server (`recorder.session.ledger`).
_KEPT_BACK = ("lost_evicted", "lost_crc", "lost_rejected")


@dataclass(frozen=True)
class Sizes:
    """What the server takes, beyond what it announces.

    Args:
        batch_bytes: serialized size up to which rows share a batch.
        row_bytes: of a single row; a larger one is left out.
    """

    batch_bytes: int = _NO_LIMIT
    row_bytes: int = _NO_LIMIT


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
        first_ns: `timestamp_ns` of the first row, once it is delivered; None if it has none.
        last_ns: `timestamp_ns` of the last row, likewise.
        reason: why it was parked.
        too_large: rows that the server does not take for their size; they were left out.
        content: digest of what was delivered (`recorder.upload.content`), or empty if the spool had
            given the rows up before it was worked out.
    """

    part: Part
    state: str = "planned"
    topic: str = ""
    topic_uuid: str = ""
    session: str = ""
    attempt: int = 0
    first_ns: int | None = None
    last_ns: int | None = None
    reason: str = ""
    too_large: int = 0
    content: str = ""

    @property
    def is_settled(self) -> bool:
        """Whether nothing more will be sent."""
        return self.state in SETTLED

    @property
    def is_delivered(self) -> bool:
        """Whether the server holds it."""
        return self.state in ("put_ok", "receipt")

    @property
    def rows(self) -> int:
        """How many rows the server gets."""
        return self.part.rows - self.too_large

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


class UploadState:
    """What follows from the journal of one session's upload.

    Args:
        entries: all of it, oldest first.

    Raises:
        DamagedError: the disk damaged it; a part or a writing session is not known any more.
    """

    def __init__(self, entries: Iterable[dict[str, Any]]) -> None:
        self.sequence = self.server = ""
        self.sessions: list[WritingSession] = []
        self.parts: list[Progress] = []
        self.abandoned: list[str] = []
        self.final: dict[str, Any] | None = None
        self.is_done = self.is_over_cap = self.is_anew = False
        #: The id under which the recording is sent, if it is not its own.
        self.reissued_as = ""
        self.sizes = Sizes()
        self.told: set[str] = set()
        self.kept = ""
        #: Lanes of which some went bad, or was given up, between plan and sending.
        self.thinned: set[str] = set()
        for entry in entries:
            self._apply(entry)

    def _apply(self, entry: dict[str, Any]) -> None:
        kind = entry["entry"]
        if "part" in entry:
            self._check(kind, entry["part"])
        if kind == "planned":
            self._plan(Part.from_entry(entry))
        elif "part" in entry:
            self._apply_to_part(kind, self.parts[entry["part"]], entry)
        else:
            self._apply_to_session(kind, entry)

    def _check(self, kind: str, part: int) -> None:
        """Refuse a journal that lost a part: what was said of it must not count for another."""
        planned = len(self.parts)
        if part > planned or (part == planned and kind != "planned"):
            raise DamagedError(f"the plan of part {planned} is missing")

    def _plan(self, part: Part) -> None:
        if part.id == len(self.parts):
            self.parts.append(Progress(part))
            return
        again = self.parts[part.id]  # the names that were spent on it stay spent
        again.part, again.state, again.topic_uuid, again.session = part, "planned", "", ""
        self.thinned.add(part.lane)

    def _apply_to_session(self, kind: str, entry: dict[str, Any]) -> None:
        if kind == "sequence":
            self.sequence, self.server = entry["name"], entry.get("server", "")
        elif kind == "opened":
            self.sessions.append(WritingSession(entry["uuid"], entry["locator"]))
        elif kind == "finalized":
            self._session(entry["locator"]).is_finalized = True
        elif kind == "deleted":
            self._begin_anew()
        else:
            self._apply_fact(kind, entry)

    def _apply_fact(self, kind: str, entry: dict[str, Any]) -> None:
        if kind == "final":
            self.final = entry["session"]
        elif kind == "done":
            self.is_done = True
        elif kind == "over_cap":
            self.is_over_cap = True
        elif kind == "anew":
            self.is_anew, self.reissued_as = True, entry.get("id", "")
        elif kind == "sizes":
            self.sizes = Sizes(entry["batch_bytes"], entry["row_bytes"])
        elif kind == "told":
            self.told.add(entry["key"])
        elif kind == "kept":
            self.kept = entry["reason"]

    def _begin_anew(self) -> None:
        """Forget what the server held: the sequence is gone from it."""
        self.sequence, self.sessions, self.abandoned, self.told = "", [], [], set()
        for one in self.parts:
            state = one.state if one.state in ("parked", "dropped") else "planned"
            one.state, one.attempt, one.topic_uuid, one.session = state, 0, "", ""

    def _apply_to_part(self, kind: str, found: Progress, entry: dict[str, Any]) -> None:
        if kind == "receipt" and entry["rows"] != found.rows:
            raise DamagedError(f"what part {entry['part']} was sent as is missing")
        found.state = kind
        if kind == "abandoned":
            self.abandoned.append(entry["topic"])
            found.attempt += 1
            if entry["session"]:
                self._session(entry["session"]).is_spoiled = True
        if kind in ("abandoned", "resumed"):
            found.state, found.topic_uuid, found.session = "planned", "", ""
        if kind == "resumed":
            self.kept = ""
        for key in _PART_KEYS:
            if key in entry and kind != "abandoned":
                setattr(found, key, entry[key])

    def _session(self, locator: str) -> WritingSession:
        for one in self.sessions:
            if one.locator == locator:
                return one
        raise DamagedError(f"the writing session {locator} is missing")

    def of_lane(self, lane: str) -> list[Progress]:
        """Return the parts of a lane, or of an own topic, without those that were dropped."""
        return [one for one in self.parts if one.part.lane == lane and one.state != "dropped"]

    def next_number(self, lane: str) -> int:
        """Return the number of a lane's next part.

        Dropped ones count too: behind one in the middle the number might be a delivered part's.
        """
        return sum(one.part.lane == lane for one in self.parts)

    @property
    def unsettled(self) -> Progress | None:
        """The oldest part that is under way, or None.

        There are two at most: while a long one is sent, the heartbeats of a live session go beside
        it.
        """
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

    def lacking(self) -> dict[str, dict[str, int]]:
        """Return, by lane, how many stored samples were not sent in the end, by their cause."""
        lanes = self.final["lanes"] if self.final else []
        found = {one["name"]: {key: one[key] for key in _KEPT_BACK if one[key]} for one in lanes}
        return {lane: causes for lane, causes in found.items() if causes}

    def writing_session(self) -> WritingSession | None:
        """Return the server's session that takes further topics, or None."""
        usable = [one for one in self.sessions if not one.is_spoiled and not one.is_finalized]
        return usable[-1] if usable else None


def receipt(delivered: Progress) -> dict[str, Any]:
    """Return the facts of a receipt as the spool reads them (`recorder.spool.receipts`)."""
    part = delivered.part
    return {
        "part": part.id,
        "lane": part.lane,
        "epoch": part.epoch,
        "from_seqno": part.from_seqno,
        "to_seqno": part.to_seqno,
        "rows": delivered.rows,
        "topic": delivered.topic,
        "first_ns": delivered.first_ns,
        "last_ns": delivered.last_ns,
    }
