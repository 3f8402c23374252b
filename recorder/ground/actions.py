"""The actions, by name: what permission each needs, what it takes, what it answers."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

from recorder.ground import answers, names
from recorder.ground.keys import DELETE, READ, WRITE
from recorder.ground.refusals import RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from recorder.ground.catalogue import Catalogue
    from recorder.ground.clusters import Clusters
    from recorder.ground.query import Query
    from recorder.ground.store import Store
    from recorder.ground.topics import Topics

_Answer = dict[str, Any] | list[dict[str, Any]] | None
FORMATS = ("default", "ragged", "image")


def _refuse_constant(word: str) -> None:
    raise ValueError(f"{word} is no value of JSON")


class Request:
    """The JSON object of a request; fields nobody asks for are ignored.

    All methods raise `RefusedError` for what is missing or of another kind.
    """

    def __init__(self, fields: object) -> None:
        if not isinstance(fields, dict):
            raise RefusedError("the request is no JSON object")
        self._fields: dict[str, Any] = fields

    @classmethod
    def read(cls, body: bytes) -> Request:
        """Read what came over the wire."""
        try:
            return cls(json.loads(body or b"{}", parse_constant=_refuse_constant))
        except ValueError as error:
            raise RefusedError(f"the request is no JSON: {error}") from error

    def text(self, key: str) -> str:
        """A text that must be there."""
        value = self._fields.get(key)
        if not isinstance(value, str):
            raise RefusedError(f"the request has no text {key!r}")
        return value

    def locator(self, key: str = "locator") -> str:
        """A locator, without the SDK's leading slashes."""
        return names.locator(self.text(key))

    def metadata(self) -> dict[str, Any]:
        """User metadata, which must be there and may be null."""
        if "user_metadata" not in self._fields:
            raise RefusedError("the request has no 'user_metadata'")
        return names.check_metadata(self._fields["user_metadata"])

    def uuid(self, key: str) -> str:
        """The text of a UUID, which must be there."""
        value = self.text(key)
        try:
            return str(uuid.UUID(value))
        except ValueError as error:
            raise RefusedError(f"Bad UUID '{value}': are you sure it's a valid UUID?") from error

    def time_ns(self, key: str) -> int | None:
        """An optional time, which fits 64 bits."""
        value = self._fields.get(key)
        if value is None:
            return None
        if not isinstance(value, int) or not -(2**63) <= value < 2**63:
            raise RefusedError(f"{key!r} is no 64-bit integer")
        return value

    def part(self, key: str) -> Request:
        """An object inside; empty if it is not there or null."""
        return Request(self._fields.get(key) or {})

    def parts(self, key: str) -> list[Request]:
        """A list of objects, which must be there."""
        value = self._fields.get(key)
        if not isinstance(value, list):
            raise RefusedError(f"the request has no list {key!r}")
        return [Request(one) for one in value]

    def everything(self) -> dict[str, Any]:
        """The whole object."""
        return self._fields


class Actions:
    """Carries actions out.

    Args:
        catalogue: sequences, sessions, notes.
        topics: topics and chunks.
        store: where rows of deleted topics are removed.
        query: answers queries.
        clusters: tells when rows met conditions.
    """

    def __init__(
        self,
        *,
        catalogue: Catalogue,
        topics: Topics,
        store: Store,
        query: Query,
        clusters: Clusters,
    ) -> None:
        self._catalogue = catalogue
        self._topics = topics
        self._store = store
        self._table: dict[str, tuple[str | None, Callable[[Request], _Answer]]] = {
            "info": (None, lambda _: answers.info()),
            "version": (None, lambda _: answers.version()),
            "sequence_create": (WRITE, self._sequence_create),
            "session_create": (WRITE, self._session_create),
            "session_finalize": (WRITE, self._session_finalize),
            "topic_create": (WRITE, self._topic_create),
            "topic_delete": (DELETE, self._topic_delete),
            "session_delete": (DELETE, self._session_delete),
            "sequence_delete": (DELETE, self._sequence_delete),
            "query": (READ, lambda request: query.run(request.everything())),
            "topic_filter_clusterize": (READ, clusters.clusterize),
            "topic_filter_intersect": (READ, clusters.intersect),
        }
        for kind in ("sequence", "topic"):
            self._table[f"{kind}_notification_create"] = (WRITE, self._note)
            self._table[f"{kind}_notification_list"] = (READ, self._notes)
            self._table[f"{kind}_notification_purge"] = (DELETE, self._purge_notes)

    def permission(self, action: str) -> str | None:
        """The permission that an action needs; None where any valid key will do."""
        return self._table[action][0] if action in self._table else None

    def names(self) -> list[str]:
        """All actions."""
        return list(self._table)

    def run(self, action: str, body: bytes) -> list[bytes]:
        """Carry out an action and encode its answers; what it changed is durable on return.

        Raises:
            RefusedError: there is no such action, or it is refused.
        """
        if action not in self._table:
            raise RefusedError(f"no available action '{action}'")
        answer = self._table[action][1](Request.read(body))
        each = answer if isinstance(answer, list) else [answer]
        return [json.dumps({"action": action, "response": one}).encode() for one in each]

    def _sequence_create(self, request: Request) -> None:
        self._catalogue.create_sequence(request.locator(), request.metadata())

    def _sequence_delete(self, request: Request) -> None:
        self._store.remove(self._catalogue.delete_sequence(request.locator()))

    def _session_create(self, request: Request) -> dict[str, Any]:
        uuid, locator = self._catalogue.create_session(request.locator())
        return {"uuid": uuid, "locator": locator}

    def _session_finalize(self, request: Request) -> None:
        self._catalogue.finalize_session(request.uuid("session_uuid"))

    def _session_delete(self, request: Request) -> None:
        self._store.remove(self._catalogue.delete_session(request.locator()))

    def _topic_create(self, request: Request) -> dict[str, Any]:
        facts = {
            "ontology_tag": request.text("ontology_tag"),
            "serialization_format": request.text("serialization_format"),
            "user_metadata": request.metadata(),
        }
        if facts["serialization_format"] not in FORMATS:
            raise RefusedError(f"unknown serialization format {facts['serialization_format']!r}")
        locator = request.locator()
        return {"uuid": self._topics.create_topic(request.uuid("session_uuid"), locator, facts)}

    def _topic_delete(self, request: Request) -> None:
        self._store.remove(self._topics.delete(request.locator()))

    def _note(self, request: Request) -> None:
        if request.text("notification_type") != "error":
            raise RefusedError("the only notification type is 'error'")
        self._catalogue.note(request.locator(), request.text("msg"))

    def _notes(self, request: Request) -> dict[str, Any]:
        locator = request.locator()
        return answers.notifications(locator, self._catalogue.notes(locator))

    def _purge_notes(self, request: Request) -> None:
        self._catalogue.purge_notes(request.locator())
