"""The action `query`: which topics of which sequences meet all conditions.

A request has up to three objects, and what it does not have does not restrict:

    sequence   name, created_at_ns, user_metadata
    topic      name (the path below the sequence), created_at_ns, ontology_tag,
               serialization_format, user_metadata
    ontology   "IMU.acceleration.z" and so on: some row of a topic with that tag meets all
               conditions on the tag; of several tags, a sequence must have topics for each

A key of `user_metadata` may have dots: each part goes one object deeper. Topics in any state count.
Only topics are found: a sequence without any is never among the answers.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from recorder.ground.conditions import (
    COMPARISONS,
    NUMBER,
    TEXT,
    Condition,
    condition,
    pattern_pieces,
)
from recorder.ground.names import check_metadata_path
from recorder.ground.refusals import RefusedError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping

    from recorder.ground.database import Database
    from recorder.ground.rows import RowSearch

_FOUND = """
SELECT topics.*, sequences.name AS sequence, substr(topics.locator, length(sequences.name) + 2)
    AS path FROM topics JOIN sessions ON sessions.id = session_id
    JOIN sequences ON sequences.id = sessions.sequence_id
"""
#: Column and kind of what can be asked, by the field's name in the request.
_FIELDS = {
    "sequence": {
        "name": ("sequences.name", TEXT),
        "created_at_ns": ("sequences.created_at_ns", NUMBER),
    },
    "topic": {
        "name": ("path", TEXT),
        "created_at_ns": ("topics.created_at_ns", NUMBER),
        "ontology_tag": ("ontology_tag", TEXT),
        "serialization_format": ("serialization_format", TEXT),
    },
}
_SQL = {
    **{operator: f"{sql} ?" for operator, sql in COMPARISONS.items()},
    "$match": "GLOB ?",
    "$between": "BETWEEN ? AND ?",
    "$outside": "NOT BETWEEN ? AND ?",
    "$ex": "IS NOT NULL",
    "$nex": "IS NULL",
}
_JSON_TYPES = {TEXT: "'text'", NUMBER: "'integer', 'real'", "boolean": "'true', 'false'"}


class Query:
    """Answers queries.

    Args:
        database: the catalogue's.
        rows: searches the rows of topics.
    """

    def __init__(self, database: Database, rows: RowSearch) -> None:
        self._db = database
        self._rows = rows

    def run(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Carry out a query.

        Raises:
            RefusedError: it asks for what there is not, or with values that do not fit.
        """
        clauses = [clause for kind in _FIELDS for clause in _clauses(kind, _part(asked, kind))]
        found = self._ask(clauses)
        by_tag: dict[str, dict[str, Condition]] = {}
        for key, wanted in _part(asked, "ontology").items():
            tag, _, path = key.partition(".")
            by_tag.setdefault(tag, {})[path] = condition(key, wanted)
        if by_tag:
            found = self._with_rows(found, by_tag)
        return {"items": [_item(name, topics) for name, topics in _by_sequence(found)]}

    def _ask(self, clauses: list[tuple[str, list[Any]]]) -> list[sqlite3.Row]:
        where = " AND ".join(f"({sql})" for sql, _ in clauses) or "TRUE"
        values = [value for _, some in clauses for value in some]
        return self._db.ask(
            f"{_FOUND} WHERE {where} ORDER BY sequences.name, topics.locator", *values
        )

    def _with_rows(
        self, topics: Iterable[sqlite3.Row], by_tag: Mapping[str, Mapping[str, Condition]]
    ) -> list[sqlite3.Row]:
        kept = [
            topic
            for topic in topics
            if topic["ontology_tag"] in by_tag
            and self._rows.holds(topic, by_tag[topic["ontology_tag"]])
        ]
        tags: dict[str, set[str]] = {}
        for topic in kept:
            tags.setdefault(topic["sequence"], set()).add(topic["ontology_tag"])
        return [topic for topic in kept if tags[topic["sequence"]] == set(by_tag)]


def _part(asked: Mapping[str, Any], name: str) -> dict[str, Any]:
    part = asked.get(name, {})
    if not isinstance(part, dict):
        raise RefusedError(f"{name!r} of a query is an object")
    return part


def _clauses(kind: str, asked: Mapping[str, Any]) -> Iterable[tuple[str, list[Any]]]:
    for name, wanted in asked.items():
        if name == "user_metadata":
            column = f"{kind}s.user_metadata"
            yield from (_metadata(column, *one) for one in _part(asked, name).items())
            continue
        if name not in _FIELDS[kind]:
            raise RefusedError(f"a {kind} has no {name!r} that can be asked for")
        column, needed = _FIELDS[kind][name]
        found = condition(f"{kind}.{name}", wanted)
        if found.kind not in ("", needed):
            raise RefusedError(f"{kind}.{name}: wrong type: it is a {needed}")
        yield _sql(column, _plain(found) if column == "path" else found)


def _plain(wanted: Condition) -> Condition:
    """The same without leading slashes, with which the SDK shows topics."""
    return Condition(
        wanted.operator, tuple(value.removeprefix("/") for value in wanted.values), wanted.kind
    )


def _metadata(column: str, key: str, asked: object) -> tuple[str, list[Any]]:
    wanted = condition(f"user_metadata.{key}", asked)
    path = "$" + "".join(f'."{part}"' for part in check_metadata_path(key))
    kind = f"json_type({column}, ?)"
    if not wanted.values:
        there = f"coalesce({kind}, 'null') != 'null'"
        return (there if wanted.operator == "$ex" else f"NOT {there}"), [path]
    sql, values = _sql(f"json_extract({column}, ?)", wanted)
    extracts = sql.count("json_extract")
    return f"{kind} IN ({_JSON_TYPES[wanted.kind]}) AND ({sql})", [path] + [
        path
    ] * extracts + values


def _sql(column: str, wanted: Condition) -> tuple[str, list[Any]]:
    values = list(wanted.values)
    if wanted.operator == "$in":
        return f"{column} IN ({', '.join('?' for _ in values)})", values
    if wanted.operator == "$match":
        values = [_glob(values[0])]
    return f"{column} {_SQL[wanted.operator]}", values


def _glob(pattern: str) -> str:
    """The pattern as SQLite's GLOB wants it, which knows no ``#`` and no lone bracket."""
    special = {"#": "[0-9]", "[": "[[]"}
    return "".join(special.get(piece, piece) for piece in pattern_pieces(pattern))


def _by_sequence(
    topics: Iterable[sqlite3.Row],
) -> Iterable[tuple[str, Iterable[sqlite3.Row]]]:
    return groupby(topics, key=lambda topic: str(topic["sequence"]))


def _item(name: str, topics: Iterable[sqlite3.Row]) -> dict[str, Any]:
    return {
        "sequence": name,
        "topics": [
            {"locator": topic["locator"], "ontology_tag": topic["ontology_tag"]} for topic in topics
        ],
    }
