"""Topics and their chunks.

A topic goes Empty → Uploading → Finalized and never back: `folder` is null, then set by the one
stream that may fill it, then `completed_at_ns` is set when that stream ended cleanly. Nothing else
leaves Uploading, no timeout and no restart. A chunk is one batch; its row is written after its file
is durable.
"""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recorder.ground import names
from recorder.ground.refusals import ForbiddenError, RefusedError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from recorder.ground.database import Database

# Every topic with its sequence and what its chunks add up to.
_TOPICS = """
SELECT topics.*, sequences.name AS sequence, sessions.locator AS session,
    (SELECT count(*) FROM chunks WHERE topic_id = topics.id) AS chunk_count,
    (SELECT coalesce(sum(row_count), 0) FROM chunks WHERE topic_id = topics.id) AS row_count,
    (SELECT coalesce(sum(size_bytes), 0) FROM chunks WHERE topic_id = topics.id) AS size_bytes,
    (SELECT min(first_ns) FROM chunks WHERE topic_id = topics.id) AS first_ns,
    (SELECT max(last_ns) FROM chunks WHERE topic_id = topics.id) AS last_ns
FROM topics JOIN sessions ON sessions.id = session_id
    JOIN sequences ON sequences.id = sessions.sequence_id
"""


@dataclass(frozen=True)
class Chunk:
    """One stored batch: its number in the stream, its size and the time range of its rows.

    Args:
        number: from 0.
        row_count: at least 0.
        size_bytes: of the file.
        first_ns: smallest `timestamp_ns`, None without rows.
        last_ns: largest `timestamp_ns`, None without rows.
    """

    number: int
    row_count: int
    size_bytes: int
    first_ns: int | None
    last_ns: int | None

    def meets(self, start_ns: int | None, end_ns: int | None) -> bool:
        """True if some of its time range lies from `start_ns` on and before `end_ns`."""
        if self.first_ns is None or self.last_ns is None:
            return False
        after = start_ns is None or self.last_ns >= start_ns
        return after and (end_ns is None or self.first_ns < end_ns)

    def lies_within(self, start_ns: int | None, end_ns: int | None) -> bool:
        """True if all of its time range lies from `start_ns` on and before `end_ns`."""
        if self.first_ns is None or self.last_ns is None:
            return False
        after = start_ns is None or self.first_ns >= start_ns
        return after and (end_ns is None or self.last_ns < end_ns)


class Topics:
    """The topics of all sequences.

    Args:
        database: shared with `Catalogue`.
    """

    def __init__(self, database: Database) -> None:
        self._db = database

    def get(self, locator: str) -> sqlite3.Row:
        """A topic with its sequence, session and sums; `UnknownError` if there is none."""
        return self._db.one("topic", f"{_TOPICS} WHERE topics.locator = ?", locator)

    def of_sequence(self, name: str) -> list[sqlite3.Row]:
        """All topics of a sequence in any state, oldest first."""
        return self._db.ask(f"{_TOPICS} WHERE sequences.name = ? ORDER BY topics.id", name)

    def create_topic(self, session_uuid: str, locator: str, facts: Mapping[str, Any]) -> str:
        """Make an Empty topic in an open session of its own sequence.

        Args:
            session_uuid: of the session.
            locator: ``sequence/path``; new on this server.
            facts: `ontology_tag`, `serialization_format`, `user_metadata`.

        Returns:
            The topic's uuid.
        """
        sequence, _ = names.check_topic(locator)
        with self._db.change() as db:
            session = self._db.one("session", "SELECT * FROM sessions WHERE uuid = ?", session_uuid)
            if session["locator"].partition(":")[0] != sequence:
                raise ForbiddenError(f"session is not of sequence '{sequence}'")
            if session["completed_at_ns"] is not None:
                raise RefusedError(f"session '{session['locator']}' is already finalized")
            if db.execute("SELECT 1 FROM topics WHERE locator = ?", (locator,)).fetchone():
                raise RefusedError(f"topic '{locator}' already exists")
            db.execute(
                "INSERT INTO topics (session_id, uuid, locator, ontology_tag,"
                " serialization_format, user_metadata, created_at_ns) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    session["id"],
                    topic := str(uuid.uuid4()),
                    locator,
                    facts["ontology_tag"],
                    facts["serialization_format"],
                    json.dumps(facts["user_metadata"]),
                    time.time_ns(),
                ),
            )
        return topic

    def delete(self, locator: str) -> list[str]:
        """Forget a topic in any state; returns the folder of its rows, if it has one."""
        with self._db.change() as db:
            found = self.get(locator)
            db.execute("DELETE FROM topics WHERE id = ?", (found["id"],))
        return [] if found["folder"] is None else [found["folder"]]

    def begin_upload(self, locator: str, topic_uuid: str, arrow_schema: bytes) -> tuple[int, str]:
        """Give an Empty topic to the one stream that may fill it.

        Returns:
            The topic's id and the folder for its rows: a topic of the same name that is made later
            has others, so a stream that outlives its topic touches nothing.

        Raises:
            ForbiddenError: the uuid is not this topic's.
            RefusedError: it is Uploading or Finalized.
        """
        with self._db.change() as db:
            found = self.get(locator)
            if found["uuid"] != topic_uuid:
                raise ForbiddenError(f"wrong topic uuid for '{locator}'")
            if found["completed_at_ns"] is not None:
                raise RefusedError(f"topic '{locator}' has already been uploaded and finalized")
            if found["folder"] is not None:
                raise RefusedError(f"topic '{locator}' is already uploading data")
            db.execute(
                "UPDATE topics SET folder = uuid, arrow_schema = ? WHERE id = ?",
                (arrow_schema, found["id"]),
            )
        return int(found["id"]), topic_uuid

    def add_chunk(self, topic_id: int, chunk: Chunk) -> None:
        """Register a chunk whose file is durable; `sqlite3.IntegrityError` if the topic is gone."""
        with self._db.change() as db:
            db.execute(
                "INSERT INTO chunks VALUES (?, ?, ?, ?, ?, ?)",
                (
                    topic_id,
                    chunk.number,
                    chunk.row_count,
                    chunk.size_bytes,
                    chunk.first_ns,
                    chunk.last_ns,
                ),
            )

    def chunks(self, topic_id: int) -> list[Chunk]:
        """Chunks with rows, by their first time."""
        found = self._db.ask(
            "SELECT number, row_count, size_bytes, first_ns, last_ns FROM chunks"
            " WHERE topic_id = ? AND row_count > 0 ORDER BY first_ns, number",
            topic_id,
        )
        return [Chunk(*row) for row in found]

    def finish_upload(self, topic_id: int) -> None:
        """Finalize a topic whose stream ended cleanly.

        Raises:
            RefusedError: the topic was deleted meanwhile.
        """
        with self._db.change() as db:
            done = db.execute(
                "UPDATE topics SET completed_at_ns = ? WHERE id = ? AND completed_at_ns IS NULL",
                (time.time_ns(), topic_id),
            )
            if done.rowcount != 1:
                raise RefusedError("the topic was deleted while its data came in")

    def folders(self) -> set[str]:
        """Folders of all topics that have rows."""
        found = self._db.ask("SELECT folder FROM topics WHERE folder IS NOT NULL")
        return {each["folder"] for each in found}
