"""Sequences, their writing sessions, and the notes left on them.

A session is a bracket around topics: it gates their making and nothing else. Whatever exists can be
deleted in any state; deleting forgets first, and the rows' folders go afterwards, so that a power
cut between leaves folders without a topic, which the next start removes.
"""

from __future__ import annotations

import json
import time
import uuid
from typing import TYPE_CHECKING, Any

from recorder.ground import names
from recorder.ground.refusals import RefusedError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from recorder.ground.database import Database


class Catalogue:
    """What the station holds above the topics.

    Args:
        database: shared with `Topics`.
    """

    def __init__(self, database: Database) -> None:
        self._db = database

    def create_sequence(self, name: str, metadata: Mapping[str, Any]) -> None:
        """Make a sequence; its name must be new."""
        names.check_sequence(name)
        with self._db.change() as db:
            if db.execute("SELECT 1 FROM sequences WHERE name = ?", (name,)).fetchone():
                raise RefusedError(f"sequence '{name}' already exists")
            db.execute(
                "INSERT INTO sequences (name, user_metadata, created_at_ns) VALUES (?, ?, ?)",
                (name, json.dumps(metadata), time.time_ns()),
            )

    def sequence(self, name: str) -> sqlite3.Row:
        """A sequence's row; `UnknownError` if there is none."""
        return self._db.one("sequence", "SELECT * FROM sequences WHERE name = ?", name)

    def sequences(self) -> list[sqlite3.Row]:
        """All sequences by name; one cheap query, with each one's user metadata as JSON text."""
        return self._db.ask("SELECT * FROM sequences ORDER BY name")

    def delete_sequence(self, name: str) -> list[str]:
        """Forget a sequence in any state; returns the folders of rows that may go now."""
        found = self.sequence(name)
        return self._delete("sequences", "sequence_id", found["id"])

    def create_session(self, sequence: str) -> tuple[str, str]:
        """Open a session; returns its uuid and its locator ``sequence:id``."""
        with self._db.change() as db:
            found = self.sequence(sequence)
            locator = f"{sequence}:{time.time_ns():013X}{uuid.uuid4().hex[:10].upper()}"
            db.execute(
                "INSERT INTO sessions (sequence_id, uuid, locator, created_at_ns)"
                " VALUES (?, ?, ?, ?)",
                (found["id"], session := str(uuid.uuid4()), locator, time.time_ns()),
            )
        return session, locator

    def sessions(self, sequence_id: int) -> list[sqlite3.Row]:
        """A sequence's sessions, oldest first."""
        return self._db.ask("SELECT * FROM sessions WHERE sequence_id = ? ORDER BY id", sequence_id)

    def finalize_session(self, session_uuid: str) -> None:
        """Close a session; it must be open, have topics, and all of them finalized."""
        with self._db.change() as db:
            found = self._db.one("session", "SELECT * FROM sessions WHERE uuid = ?", session_uuid)
            if found["completed_at_ns"] is not None:
                raise RefusedError(f"session '{found['locator']}' is already finalized")
            topics = self._db.ask("SELECT * FROM topics WHERE session_id = ?", found["id"])
            if not topics:
                raise RefusedError(f"session '{found['locator']}' has no topics")
            for topic in topics:
                if topic["folder"] is None:
                    raise RefusedError(f"topic '{topic['locator']}' has no data uploaded")
                if topic["completed_at_ns"] is None:
                    raise RefusedError(f"topic '{topic['locator']}' is still uploading data")
            db.execute(
                "UPDATE sessions SET completed_at_ns = ? WHERE id = ?",
                (time.time_ns(), found["id"]),
            )

    def delete_session(self, locator: str) -> list[str]:
        """Forget a session in any state; returns the folders of rows that may go now."""
        found = self._db.one("session", "SELECT * FROM sessions WHERE locator = ?", locator)
        return self._delete("sessions", "sessions.id", found["id"])

    def _delete(self, table: str, key: str, row_id: int) -> list[str]:
        with self._db.change() as db:
            folders = db.execute(
                "SELECT folder FROM topics JOIN sessions ON sessions.id = session_id"
                f" WHERE folder IS NOT NULL AND {key} = ?",
                (row_id,),
            ).fetchall()
            db.execute(f"DELETE FROM {table} WHERE id = ?", (row_id,))
        return [each["folder"] for each in folders]

    # --- notes

    def note(self, locator: str, text: str) -> None:
        """Leave a note on a sequence or a topic."""
        with self._db.change() as db:
            column, row_id = self._target(locator)
            db.execute(
                f"INSERT INTO notes ({column}, text, created_at_ns) VALUES (?, ?, ?)",
                (row_id, text, time.time_ns()),
            )

    def notes(self, locator: str) -> list[sqlite3.Row]:
        """Notes on a sequence or a topic, oldest first."""
        column, row_id = self._target(locator)
        return self._db.ask(f"SELECT * FROM notes WHERE {column} = ? ORDER BY id", row_id)

    def purge_notes(self, locator: str) -> None:
        """Forget all notes on a sequence or a topic."""
        with self._db.change() as db:
            column, row_id = self._target(locator)
            db.execute(f"DELETE FROM notes WHERE {column} = ?", (row_id,))

    def _target(self, locator: str) -> tuple[str, int]:
        kind = "topic" if "/" in locator else "sequence"
        name = "locator" if kind == "topic" else "name"
        found = self._db.one(kind, f"SELECT id FROM {kind}s WHERE {name} = ?", locator)
        return f"{kind}_id", found["id"]
