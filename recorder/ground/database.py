"""One SQLite file with everything the station knows but the rows themselves.

Each change is one transaction, durable on return (write-ahead log, synchronous=FULL).
"""

from __future__ import annotations

import sqlite3
import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from recorder.errors import ConfigError
from recorder.ground.refusals import UnknownError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FORMAT = 2
# AUTOINCREMENT: no id comes back, so an upload whose topic was deleted never hits the next one.
_TABLES = """
CREATE TABLE sequences (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE NOT NULL, user_metadata TEXT NOT NULL,
    created_at_ns INTEGER NOT NULL
);
CREATE TABLE sessions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    sequence_id INTEGER NOT NULL REFERENCES sequences ON DELETE CASCADE,
    uuid TEXT UNIQUE NOT NULL, locator TEXT UNIQUE NOT NULL,
    created_at_ns INTEGER NOT NULL, completed_at_ns INTEGER
);
CREATE TABLE topics (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session_id INTEGER NOT NULL REFERENCES sessions ON DELETE CASCADE,
    uuid TEXT UNIQUE NOT NULL, locator TEXT UNIQUE NOT NULL,
    ontology_tag TEXT NOT NULL, serialization_format TEXT NOT NULL, user_metadata TEXT NOT NULL,
    folder TEXT, arrow_schema BLOB,
    created_at_ns INTEGER NOT NULL, completed_at_ns INTEGER
);
CREATE TABLE chunks (
    topic_id INTEGER NOT NULL REFERENCES topics ON DELETE CASCADE,
    number INTEGER NOT NULL, row_count INTEGER NOT NULL, size_bytes INTEGER NOT NULL,
    first_ns INTEGER, last_ns INTEGER,
    PRIMARY KEY (topic_id, number)
);
CREATE TABLE notes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    sequence_id INTEGER REFERENCES sequences ON DELETE CASCADE,
    topic_id INTEGER REFERENCES topics ON DELETE CASCADE,
    text TEXT NOT NULL, created_at_ns INTEGER NOT NULL
);
CREATE TABLE keys (
    fingerprint TEXT PRIMARY KEY, token_sha256 TEXT NOT NULL, permissions TEXT NOT NULL,
    description TEXT NOT NULL, created_at_ns INTEGER NOT NULL, revoked_at_ns INTEGER
);
CREATE INDEX sessions_of_sequence ON sessions (sequence_id);
CREATE INDEX topics_of_session ON topics (session_id);
"""


class Database:
    """The file and its one connection; made on first use.

    Args:
        path: of the SQLite file; its folder must exist.

    Raises:
        ConfigError: the file cannot be opened, or is no catalogue of this format.
    """

    def __init__(self, path: Path) -> None:
        # Flight calls from many threads; one connection and this lock keep transactions apart.
        self._lock = threading.RLock()
        try:
            with ExitStack() as opened:
                self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
                opened.callback(self._db.close)
                self._open(path)
                opened.pop_all()
        except sqlite3.Error as error:
            raise ConfigError(f"{path}: {error}") from error

    def _open(self, path: Path) -> None:
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA foreign_keys = ON")
        found = self._db.execute("PRAGMA user_version").fetchone()[0]
        if found == 0:
            self._db.executescript(f"BEGIN;{_TABLES}PRAGMA user_version = {FORMAT};COMMIT")
        elif found != FORMAT:
            raise ConfigError(f"{path}: catalogue of format {found}, not {FORMAT}")

    def close(self) -> None:
        """Close the file; may be called twice."""
        with self._lock:
            self._db.close()

    @contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it durable on leaving, or nothing on an exception."""
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def ask(self, question: str, *values: str | float) -> list[sqlite3.Row]:
        """All rows that answer an SQL question."""
        with self._lock:
            return self._db.execute(question, values).fetchall()

    def one(self, kind: str, question: str, value: str) -> sqlite3.Row:
        """The one row that answers.

        Raises:
            UnknownError: none does; the message names the kind and the value.
        """
        found = self.ask(question, value)
        if not found:
            raise UnknownError(f"{kind} '{value}' not found")
        return found[0]
