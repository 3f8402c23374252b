"""Which sequence of a recording counts, where a server holds several.

A recording that is sent anew (`recorder upload ID --anew`) gets a sequence of its own, whose
metadata names those that it replaces. It takes their place when it is whole, which its commit mark
says; until then one of them that is whole goes on to count. Where none is whole the new one counts
at once, since nothing more comes to the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


@dataclass(frozen=True)
class Issue:
    """One sequence of a recording.

    Args:
        sequence: its name.
        replaces: names of the sequences that it was sent to replace.
        is_whole: whether it has its commit mark.
    """

    sequence: str
    replaces: tuple[str, ...]
    is_whole: bool

    @classmethod
    def read(cls, sequence: str, recording: Mapping[str, Any], *, is_whole: bool) -> Issue:
        """Read what a sequence's metadata says of its `recording`."""
        told = recording.get("replaces")
        replaces = [one for one in told if isinstance(one, str)] if isinstance(told, list) else []
        return cls(sequence, tuple(replaces), is_whole)


def recording_of(user_metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a sequence's metadata says of the recording in it; empty if it is none of ours.

    Others write to a server too, and what they call a recording may be anything.
    """
    told = user_metadata.get("recording")
    return told if isinstance(told, dict) and isinstance(told.get("id"), str) else {}


def counting(issues: Sequence[Issue]) -> set[str]:
    """Return the names of the sequences that count.

    Of each recording one; several only if none of them says that it replaces the others.

    >>> old = Issue("a", (), is_whole=True)
    >>> counting([old, Issue("a-2", ("a",), is_whole=False)])
    {'a'}
    >>> counting([old, Issue("a-2", ("a",), is_whole=True)])
    {'a-2'}
    """
    whole = {one.sequence for one in issues if one.is_whole}
    able = [one for one in issues if one.is_whole or whole.isdisjoint(one.replaces)]
    return {one.sequence for one in able} - {name for one in able for name in one.replaces}


def successor(issues: Iterable[Issue], sequence: str) -> str:
    """Return the sequence that is being sent to replace one that still counts, or empty."""
    anew = [one.sequence for one in issues if sequence in one.replaces]
    return anew[-1] if anew else ""


def note(sequence: str, anew: str) -> str:
    """Return what is to be told of a sequence that counts and of its `successor`, or empty."""
    return f"{sequence} counts until {anew}, which replaces it, is whole" if anew else ""
