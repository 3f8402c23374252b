"""One thing that is wrong with a box: what was found, what is wanted, and what mends it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """What a person should know of a box, and can do something about.

    Args:
        about: the part of it, such as ``lane gps`` or ``disk``.
        found: what is so.
        wanted: what should be.
        mend: the command or the line of a configuration that makes it so.
        is_error: whether it keeps the box from what it promises; else it is advice.
    """

    about: str
    found: str
    wanted: str
    mend: str
    is_error: bool = False

    def __str__(self) -> str:
        return f"{self.about}: found {self.found}; wanted {self.wanted}; mend: {self.mend}"
