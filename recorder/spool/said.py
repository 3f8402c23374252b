"""What people said of the recording that runs: its name, details, dependencies, and marks.

It is journalled with the session as it is said, comes back from there when the process that
records has died, and goes over to the next session when one is rolled over: it is still the same
drive. A recording that is started anew begins without it, but for marks whose windows go on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from recorder.errors import RecorderError
from recorder.spool.pins import Pin

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from recorder.session.session import Session

#: Unicode's categories Cc and Cs; its own tables are a megabyte of the spool's process.
_UNSAID = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
#: Of a name, a detail's key and its value, and of what is said of a mark.
MOST_CHARACTERS = 255
_S_NS = 1_000_000_000


@dataclass
class Said:
    """All of it.

    Args:
        identifier: template of the name, or empty: the configuration's.
        details: facts beside those of the configuration.
        dependencies: type to ids, beside those of the configuration.
        marks: those whose windows went on when the newest of them was set, as they are journalled,
            each with the `session` that it was set in.
    """

    identifier: str = ""
    details: dict[str, Any] = field(default_factory=dict)
    dependencies: dict[str, list[str]] = field(default_factory=dict)
    marks: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def of(cls, entries: Iterable[dict[str, Any]], session_id: str) -> Said:
        """Read it back from a session's journal."""
        found = cls()
        for one in entries:
            if one["entry"] == "mark":
                found.note_mark({"session": session_id, **one})
            elif one["entry"] == "command" and one.get("command") == "set":
                found.take(one)
        return found

    def take(self, words: dict[str, Any]) -> None:
        """Take further words, as `to_entry` makes them, every key optional."""
        self.identifier = words.get("identifier") or self.identifier
        self.details.update(words.get("details") or {})
        join(self.dependencies, words.get("dependencies") or {})

    def note_mark(self, mark: dict[str, Any]) -> None:
        """Take a mark, as it is journalled, with the `session` that it was set in."""
        self.marks = [*self._marks_at(mark["boot_ns"]), mark]

    def _marks_at(self, boot_ns: int) -> list[dict[str, Any]]:
        return [one for one in self.marks if end_of(one) > boot_ns]

    def apply(self, session: Session) -> None:
        """Say it of a session; its name follows when its time is told."""
        session.details.update(self.details)
        join(session.dependencies, self.dependencies)

    def to_entry(self) -> dict[str, Any]:
        """Return the journal's entry."""
        return {
            "entry": "command",
            "command": "set",
            "identifier": self.identifier,
            "details": self.details,
            "dependencies": self.dependencies,
        }

    def opening(self, now_boot_ns: int) -> list[dict[str, Any]]:
        """Return what a session that follows begins with, for its journal.

        A mark whose window goes on is named in it too, and that window is kept.
        """
        is_said = bool(self.identifier or self.details or self.dependencies)
        words = [self.to_entry()] if is_said else []
        marks = self._marks_at(now_boot_ns)
        pins = [Pin(None, max(map(end_of, marks))).to_entry()] if marks else []
        return [*words, *({**one, "entry": "mark"} for one in marks), *pins]

    def left(self) -> Said:
        """Return what goes over to a recording that is started anew: marks whose windows go on."""
        return Said(marks=self.marks)


def end_of(mark: Mapping[str, Any]) -> int:
    """Return where the window of a mark ends, CLOCK_BOOTTIME."""
    return int(mark["boot_ns"] + round(mark.get("after_s", 0) * _S_NS))


def join(named: dict[str, list[str]], more: Mapping[str, Sequence[str]]) -> None:
    """Add dependencies to others, type by type, each once."""
    for kind, ids in more.items():
        there = named.setdefault(kind, [])
        there += [one for one in ids if one not in there]


def check_text(what: str, text: object, least: int = 0) -> None:
    """Refuse what is no text to be kept with a recording.

    A control character would steer the terminal of whoever looks at it, and bytes that are no UTF-8
    (surrogates, once they are Python's) come back from a server as something else.

    Args:
        what: it is of.
        text: to be checked.
        least: characters, of at most `MOST_CHARACTERS`.

    Raises:
        RecorderError: it is none.
    """
    if not isinstance(text, str) or not least <= len(text) <= MOST_CHARACTERS:
        raise RecorderError(f"{what} must be a text of {least} to {MOST_CHARACTERS} characters")
    if _UNSAID.search(text):
        raise RecorderError(f"{what} must be UTF-8 without control characters")
