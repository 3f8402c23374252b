"""What an uploader's journal says of one recording: which samples were sent, and which refused."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

_HELD = ("put_ok", "receipt")


@dataclass
class _Part:
    lane: str
    rows: int
    files: Counter[str]
    state: str = "planned"
    too_large: int = 0


@dataclass
class Deliveries:
    """Parts of an upload, and the terminal record that closed it.

    Args:
        entries: the whole journal, oldest first.
        is_there: whether there is a journal: a spool may be copied without it.
    """

    entries: Iterable[dict[str, Any]]
    is_there: bool = True
    final: dict[str, Any] | None = None
    #: Every ``planned`` entry, by part.
    _planned: dict[int, dict[str, Any]] = field(default_factory=dict)
    _parts: dict[int, _Part] = field(default_factory=dict)
    _received: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        for entry in self.entries:
            self._apply(entry)

    def _apply(self, entry: dict[str, Any]) -> None:
        kind = entry["entry"]
        if kind == "receipt":
            self._received[entry["lane"]] += entry["rows"]
        if kind == "planned":
            files: Counter[str] = Counter()
            for file, _, _, rows in entry["pieces"]:
                files[file] += rows
            self._parts[entry["part"]] = _Part(entry["lane"], entry["rows"], files)
            self._planned[entry["part"]] = entry
        elif kind == "final":
            self.final = entry["session"]
        elif kind == "deleted":
            for one in self._parts.values():
                one.state = one.state if one.state in ("parked", "dropped") else "planned"
        elif entry.get("part") in self._parts:
            part = self._parts[entry["part"]]
            part.state = "planned" if kind in ("abandoned", "resumed") else kind
            part.too_large = entry.get("too_large", part.too_large)

    def held_parts(self) -> list[dict[str, Any]]:
        """``planned`` entries of the parts that the server holds."""
        return [self._planned[key] for key, one in self._parts.items() if one.state in _HELD]

    def received(self, lane: str) -> int:
        """Samples of a lane that receipts tell of."""
        return self._received[lane]

    def _of(self, lane: str) -> list[_Part]:
        return [one for one in self._parts.values() if one.lane == lane and one.state != "dropped"]

    def delivered(self, lane: str) -> int:
        """Samples of a lane that the server holds."""
        return sum(one.rows - one.too_large for one in self._of(lane) if one.state in _HELD)

    def rejected(self, lane: str) -> int:
        """Samples of a lane that the server refused."""
        return sum(
            one.rows if one.state == "parked" else one.too_large
            for one in self._of(lane)
            if one.state in ("parked", *_HELD)
        )

    def planned(self, lane: str) -> Counter[str]:
        """Samples of a lane by segment, of every part that was not given up."""
        return sum((one.files for one in self._of(lane)), Counter())

    def held(self, lane: str) -> Counter[str]:
        """Those of them that the server holds."""
        return sum((one.files for one in self._of(lane) if one.state in _HELD), Counter())
