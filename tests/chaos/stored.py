"""What a station holds, read from its SQLite file and its Parquet files and by no code of its own.

It may be read while the station runs: the catalogue is read in one transaction, and a file that the
catalogue knows never changes, but goes with a topic that is deleted meanwhile.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from tests.recorder.upload.made import flat


class StoredError(Exception):
    """A file is not as the catalogue says."""


@dataclass
class StoredTopic:
    """One topic.

    Args:
        number: the catalogue's, rising with time.
        path: its name in the sequence.
        session: the locator of its writing session.
        metadata: what its maker said of it.
        completed_at_ns: when it was finalized, None: it is unfinished.
        files: its Parquet files that count, in order, with the rows and times they should have.
    """

    number: int
    path: str
    session: str
    metadata: dict[str, Any]
    completed_at_ns: int | None
    files: list[tuple[Path, int, int, int]] = field(default_factory=list)

    @property
    def is_finalized(self) -> bool:
        return self.completed_at_ns is not None

    @property
    def row_count(self) -> int:
        return sum(rows for _, rows, _, _ in self.files)

    @property
    def lane(self) -> str:
        """The lane or own topic that it says it is of."""
        return str(self.metadata.get("recorder", {}).get("lane", ""))

    def rows(self) -> list[dict[str, Any]]:
        """Return every row, flat, without what is null; files must be as the catalogue says."""
        found: list[dict[str, Any]] = []
        for path, count, first_ns, last_ns in self.files:
            if not path.exists():
                raise StoredError(f"{self.path}, {path.name}: not there")
            rows = [flat(one) for one in pq.read_table(path).to_pylist()]
            times = [one["timestamp_ns"] for one in rows]
            told = (count, first_ns, last_ns)
            if (len(rows), min(times), max(times)) != told:
                raise StoredError(f"{self.path}, {path.name}: not as the catalogue says: {told}")
            found += [{k: v for k, v in one.items() if v is not None} for one in rows]
        return found


@dataclass
class StoredSequence:
    """One sequence.

    Args:
        name: its name.
        recording: the id of the recording that its metadata name.
        topics: in the order in which they were made.
        sessions: whether each writing session is finalized, by its locator.
        notes: the texts left on it or on its topics.
    """

    name: str
    recording: str
    topics: list[StoredTopic] = field(default_factory=list)
    sessions: dict[str, bool] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def read(station: Path) -> list[StoredSequence]:
    """Read everything; nothing if the station never ran."""
    file = station / "catalogue.sqlite"
    if not file.exists():
        return []
    with contextlib.closing(sqlite3.connect(file, timeout=10)) as db:
        db.row_factory = sqlite3.Row
        db.execute("BEGIN")
        return [_sequence(db, station / "rows", row) for row in _ask(db, "sequences")]


def _ask(db: sqlite3.Connection, table: str, where: str = "1", *values: int) -> list[sqlite3.Row]:
    order = "number" if table == "chunks" else "id"
    return db.execute(f"SELECT * FROM {table} WHERE {where} ORDER BY {order}", values).fetchall()


def _sequence(db: sqlite3.Connection, folder: Path, row: sqlite3.Row) -> StoredSequence:
    recording = json.loads(row["user_metadata"]).get("recording", {}).get("id", "")
    found = StoredSequence(row["name"], recording)
    for session in _ask(db, "sessions", "sequence_id = ?", row["id"]):
        found.sessions[session["locator"]] = session["completed_at_ns"] is not None
        for topic in _ask(db, "topics", "session_id = ?", session["id"]):
            found.topics.append(_topic(db, folder, topic, session["locator"]))
            notes = _ask(db, "notes", "topic_id = ?", topic["id"])
            found.notes += [one["text"] for one in notes]
    found.notes += [one["text"] for one in _ask(db, "notes", "sequence_id = ?", row["id"])]
    found.topics.sort(key=lambda one: one.number)
    return found


def _topic(db: sqlite3.Connection, folder: Path, row: sqlite3.Row, session: str) -> StoredTopic:
    path = row["locator"].partition("/")[2]
    metadata, completed = json.loads(row["user_metadata"]), row["completed_at_ns"]
    found = StoredTopic(row["id"], path, session, metadata, completed)
    for one in _ask(db, "chunks", "topic_id = ?", row["id"]):
        file = folder / row["folder"] / f"{one['number']:06d}.parquet"
        found.files.append((file, one["row_count"], one["first_ns"], one["last_ns"]))
    return found
