"""What people said of the recording that runs: its name, details, dependencies, and marks.

It is journalled with the session as it is said, comes back from there when the process that
records has died, and goes over to the next session when one is rolled over: it is still the same
drive. A recording that is started anew begins without it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from recorder.spool.pins import Pin

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from recorder.session.session import Session

_S_NS = 1_000_000_000


@dataclass
class Said:
    """All of it.

    Args:
        identifier: template of the name, or empty: the configuration's.
        details: facts beside those of the configuration.
        dependencies: type to ids, beside those of the configuration.
        marked_to_boot_ns: end of the marks' windows, CLOCK_BOOTTIME; 0: there is none.
    """

    identifier: str = ""
    details: dict[str, Any] = field(default_factory=dict)
    dependencies: dict[str, list[str]] = field(default_factory=dict)
    marked_to_boot_ns: int = 0

    @classmethod
    def of(cls, entries: Iterable[dict[str, Any]]) -> Said:
        """Read it back from a session's journal."""
        found = cls()
        for one in entries:
            if one["entry"] == "mark":
                found.note_mark(one)
            elif one["entry"] == "command" and one.get("command") == "set":
                found.take(one)
        return found

    def take(self, words: dict[str, Any]) -> None:
        """Take further words, as `to_entry` makes them, every key optional."""
        self.identifier = words.get("identifier") or self.identifier
        self.details.update(words.get("details") or {})
        join(self.dependencies, words.get("dependencies") or {})
        self.marked_to_boot_ns = max(self.marked_to_boot_ns, words.get("marked_to_boot_ns") or 0)

    def note_mark(self, mark: dict[str, Any]) -> None:
        """Take a mark, as it is journalled."""
        end_boot_ns = mark["boot_ns"] + round(mark.get("after_s", 0) * _S_NS)
        self.marked_to_boot_ns = max(self.marked_to_boot_ns, end_boot_ns)

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
            "marked_to_boot_ns": self.marked_to_boot_ns,
        }

    def opening(self, now_boot_ns: int) -> list[dict[str, Any]]:
        """Return what a session that follows another begins with, for its journal.

        A mark's window that goes on is kept in it too.
        """
        words = [] if self == Said() else [self.to_entry()]
        is_on = self.marked_to_boot_ns > now_boot_ns
        return [*words, Pin(None, self.marked_to_boot_ns).to_entry()] if is_on else words


def join(named: dict[str, list[str]], more: Mapping[str, Sequence[str]]) -> None:
    """Add dependencies to others, type by type, each once."""
    for kind, ids in more.items():
        there = named.setdefault(kind, [])
        there += [one for one in ids if one not in there]
