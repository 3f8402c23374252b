"""Where a recording comes from: its sources, their sources, and so on, as a tree."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from recorder.cli import words
from recorder.cli.console import console

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Find = Callable[[str], tuple[Mapping[str, Any], str] | None]


@dataclass
class Node:
    """One recording of the tree.

    Args:
        id: its id.
        state: ``known``, ``missing`` (nobody who was asked knows it) or ``cycle`` (it comes from
            itself, by way of what stands above it).
        where: where it was found, empty if it is missing.
        record: its session record, empty if it is missing.
        sources: what it comes from; those of a cycle are not repeated.
    """

    id: str
    state: str
    where: str = ""
    record: Mapping[str, Any] = field(default_factory=dict)
    sources: list[Node] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return the tree as plain values."""
        return {
            "id": self.id,
            "state": self.state,
            "where": self.where,
            "identifier": self.record.get("identifier", ""),
            "sources": [one.to_dict() for one in self.sources],
        }

    @property
    def is_whole(self) -> bool:
        """Whether nothing of the tree is missing, or comes from itself."""
        return self.state == "known" and all(one.is_whole for one in self.sources)


def walk(session_id: str, find: Find, above: Sequence[str] = ()) -> Node:
    """Return the tree of a recording's sources.

    Args:
        session_id: its id.
        find: gives the record of an id and where it was found, or None.
        above: ids on the way from the root to it.
    """
    found = find(session_id)
    if found is None:
        return Node(session_id, "missing")
    record, where = found
    if session_id in above:
        return Node(session_id, "cycle", where, record)
    way = [*above, session_id]
    sources = [walk(one, find, way) for one in record["sources"]]
    return Node(session_id, "known", where, record, sources)


def finder(places: Sequence[tuple[str, Callable[[], list[dict[str, Any]]]]]) -> Find:
    """Return what finds a record by its id, place by place; a place is asked when it is needed.

    Args:
        places: the name of each, and what gives its records.
    """
    told: dict[str, dict[str, dict[str, Any]]] = {}

    def find(session_id: str) -> tuple[Mapping[str, Any], str] | None:
        for name, records in places:
            if name not in told:
                told[name] = {one["id"]: one for one in records()}
            if session_id in told[name]:
                return told[name][session_id], name
        return None

    return find


def print_tree(node: Node) -> None:
    """Print the tree, one line for each recording."""
    out = console()
    for line in _lines(node):
        out.print(line)


def _lines(node: Node, lead: str = "", branch: str = "") -> list[str]:
    lines = [f"{lead}{branch}{_told(node)}"]
    inner = lead + {"": "", "├── ": "│   ", "└── ": "    "}[branch]
    for number, one in enumerate(node.sources, 1):
        lines += _lines(one, inner, "└── " if number == len(node.sources) else "├── ")
    return lines


def _told(node: Node) -> str:
    if node.state == "missing":
        return f"{node.id}: missing"
    record = node.record
    if node.state == "cycle":
        return f"{node.id}: a cycle, it stands above"
    start = words.utc(record["start_utc_ns"]) or "-"
    return f"{node.id}: {record['identifier'] or '-'}, {record['state']}, {start} ({node.where})"
