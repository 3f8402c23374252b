"""Search in the rows of topics, for queries that ask for values."""

from __future__ import annotations

import operator
import re
from functools import reduce
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recorder.ground.conditions import BOOLEAN, NUMBER, TEXT, Condition, pattern_pieces
from recorder.ground.merge import TIME, Run, in_order
from recorder.ground.refusals import RefusedError
from recorder.ground.store import clip

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping

    from recorder.ground.store import Store
    from recorder.ground.topics import Chunk, Topics

_COMPARE = {
    "$eq": operator.eq,
    "$neq": operator.ne,
    "$lt": operator.lt,
    "$leq": operator.le,
    "$gt": operator.gt,
    "$geq": operator.ge,
}


class RowSearch:
    """Looks for rows that meet conditions.

    Args:
        topics: tells a topic's chunks.
        store: where their files are.
    """

    def __init__(self, topics: Topics, store: Store) -> None:
        self._topics = topics
        self._store = store

    def holds(self, topic: sqlite3.Row, wanted: Mapping[str, Condition]) -> bool:
        """True if one row of the topic meets all conditions.

        Args:
            topic: from the catalogue.
            wanted: by the dotted path below the tag, such as ``acceleration.z``.

        Raises:
            RefusedError: a path goes into a list.
        """
        return next(self.times(topic, wanted), None) is not None

    def times(
        self,
        topic: sqlite3.Row,
        wanted: Mapping[str, Condition],
        start_ns: int | None = None,
        end_ns: int | None = None,
    ) -> Iterator[int]:
        """The times of the topic's rows that meet all conditions, rising.

        Args:
            topic: from the catalogue.
            wanted: as for `holds`.
            start_ns: first time, inclusive, or None.
            end_ns: last time, exclusive, or None.

        Raises:
            RefusedError: a path goes into a list.
        """
        if topic["arrow_schema"] is None:
            return
        schema = pa.ipc.read_schema(pa.py_buffer(topic["arrow_schema"]))
        terms = [_term(schema, path, one) for path, one in wanted.items()]
        if any(term is None for term in terms):
            return
        all_of_them = reduce(operator.and_, terms)
        runs = [
            self._run(topic["folder"], chunk, all_of_them, start_ns, end_ns)
            for chunk in self._topics.chunks(topic["id"])
            if chunk.meets(start_ns, end_ns)
        ]
        for table in in_order(runs):
            yield from table.column(TIME).to_pylist()

    def _run(
        self,
        folder: str,
        chunk: Chunk,
        wanted: pc.Expression,
        start_ns: int | None,
        end_ns: int | None,
    ) -> Run:
        def windows() -> Iterator[pa.Table]:
            found = pq.read_table(
                self._store.file(folder, chunk.number),
                columns=[TIME],
                filters=wanted,
                use_threads=False,
            )
            yield clip(found, start_ns, end_ns)

        assert chunk.first_ns is not None
        assert chunk.last_ns is not None
        return Run(chunk.first_ns, chunk.last_ns, windows)


def _term(schema: pa.Schema, path: str, wanted: Condition) -> pc.Expression | None:
    """A condition as Arrow reckons with it; None if no row of this schema can meet it."""
    if "[" in path:
        raise RefusedError(f"{path}: unsupported operation: conditions on elements of a list")
    kind = _kind(schema, path.split("."))
    field = pc.field(*path.split("."))
    if not wanted.values:
        return (
            None
            if not kind
            else field.is_valid()
            if wanted.operator == "$ex"
            else ~field.is_valid()
        )
    return _expression(field, wanted) if kind == wanted.kind else None


def _kind(schema: pa.Schema, parts: list[str]) -> str:
    """Of which kind a column is; empty if there is none of this name or it is of no kind."""
    fields: Any = schema
    for part in parts:
        index = (
            fields.get_field_index(part) if isinstance(fields, (pa.Schema, pa.StructType)) else -1
        )
        if index < 0:
            return ""
        fields = fields.field(index).type
    tests = {
        BOOLEAN: pa.types.is_boolean,
        NUMBER: lambda found: pa.types.is_integer(found) or pa.types.is_floating(found),
        TEXT: pa.types.is_string,
    }
    return next((kind for kind, is_one in tests.items() if is_one(fields)), "")


def _expression(field: pc.Expression, wanted: Condition) -> pc.Expression:
    values = wanted.values
    if wanted.operator in _COMPARE:
        return _COMPARE[wanted.operator](field, values[0])
    if wanted.operator == "$match":
        return pc.match_substring_regex(field, _regex(values[0]))
    if wanted.operator == "$in":
        return reduce(operator.or_, (field == value for value in values))
    within = (field >= values[0]) & (field <= values[1])
    return within if wanted.operator == "$between" else ~within


def _regex(pattern: str) -> str:
    plain = {"*": ".*", "?": ".", "#": "[0-9]"}
    pieces = (
        piece if len(piece) > 1 else plain.get(piece, re.escape(piece))
        for piece in pattern_pieces(pattern)
    )
    return f"(?s)^{''.join(pieces)}$"
