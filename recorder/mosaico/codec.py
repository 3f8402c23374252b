"""What goes over the wire to a Mosaico server, as JSON, and what its answers mean.

One interface for the generations 0.5 to 0.7. A request is one JSON object; an answer is
`{"action": name, "response": object or null}`. Whatever differs between generations is settled
here: since 0.7 a topic tells its rows, its tag and its user metadata in the end point's JSON,
before that the tag and the user metadata are Arrow schema metadata and rows are not told at all.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from recorder.errors import RemoteRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

USER_METADATA_KEY = b"mosaico:user_metadata"
PROPERTIES_KEY = b"mosaico:properties"


@dataclass(frozen=True)
class ServerInfo:
    """Who answers.

    Args:
        version: the server's own text, for people.
        semver: major, minor, patch.
        most_message_bytes: largest gRPC message it accepts, or None if it does not tell (≤ 0.6).
    """

    version: str
    semver: tuple[int, int, int]
    most_message_bytes: int | None


@dataclass(frozen=True)
class Session:
    """Handle of a writing session; the server tells the uuid once, when the session is made."""

    uuid: str
    locator: str


@dataclass(frozen=True)
class SessionInfo:
    """A writing session as the server lists it; `topics` are full locators."""

    locator: str
    locked: bool
    topics: tuple[str, ...]


@dataclass(frozen=True)
class TopicInfo:
    """A topic as the server lists it.

    Args:
        locator: ``sequence/topic/path``.
        locked: True when its one stream ended cleanly.
        ontology_tag: empty if the server tells it only with the topic itself (≤ 0.6).
        row_count: rows stored, or None from servers that do not count (≤ 0.6).
        chunks: batches stored; 0 from servers ≤ 0.6 until the topic is locked.
        first_ns: smallest `timestamp_ns`, or None while unfinished or empty.
        last_ns: largest `timestamp_ns`, or None while unfinished or empty.
        user_metadata: as given at creation.
    """

    locator: str
    locked: bool
    ontology_tag: str
    row_count: int | None
    chunks: int
    first_ns: int | None
    last_ns: int | None
    user_metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SequenceInfo:
    """A sequence with its sessions and topics, in the server's order."""

    name: str
    user_metadata: dict[str, Any]
    sessions: tuple[SessionInfo, ...]
    topics: tuple[TopicInfo, ...]


@dataclass(frozen=True)
class Notification:
    """An error note on a sequence or a topic; `created` is the server's own text, UTC."""

    locator: str
    text: str
    created: str


def request(fields: Mapping[str, Any]) -> bytes:
    """Encode the body of an action or the command of a descriptor.

    Raises:
        ValueError: a value is none of JSON (nan, inf, half of a surrogate pair), which Python would
            write and a server refuses.
        TypeError: likewise, of another type.
    """
    try:
        plain = json.dumps(fields, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
        return plain.encode()
    except ValueError as error:
        raise ValueError(f"no JSON: {error}") from error


def response(action: str, body: bytes) -> dict[str, Any]:
    """Decode an action's answer; an action with nothing to say gives an empty dictionary.

    Raises:
        RemoteRefusedError: the answer is no JSON or belongs to another action.
    """
    if not body:
        return {}
    answer = _object(body, action)
    if answer.get("action") not in (action, "empty"):
        raise RemoteRefusedError(f"{action}: the server answered {answer.get('action')!r} instead")
    return answer.get("response") or {}


def text(action: str, answer: Mapping[str, Any], key: str) -> str:
    """Take a text out of an answer.

    Raises:
        RemoteRefusedError: it is missing.
    """
    value = answer.get(key)
    if not isinstance(value, str):
        raise RemoteRefusedError(f"{action}: the server's answer has no {key!r}")
    return value


def server_info(answer: Mapping[str, Any]) -> ServerInfo:
    """Decode the answer of `info` (0.7) or `version` (before)."""
    semver = answer.get("semver") or {}
    config = answer.get("config") or {}
    return ServerInfo(
        version=str(answer.get("version", "")),
        semver=(
            int(semver.get("major", 0)),
            int(semver.get("minor", 0)),
            int(semver.get("patch", 0)),
        ),
        most_message_bytes=config.get("grpc_max_decode_message_size"),
    )


def sequence_info(
    app_metadata: bytes, schema_metadata: Mapping[bytes, bytes], topics: tuple[TopicInfo, ...]
) -> SequenceInfo:
    """Decode what get_flight_info tells of a sequence."""
    facts = _object(app_metadata, "get_flight_info")
    with _understood("get_flight_info"):
        return SequenceInfo(
            name=str(facts["resource_locator"]),
            user_metadata=_user_metadata(facts, schema_metadata),
            sessions=tuple(
                SessionInfo(str(each["locator"]), bool(each["locked"]), tuple(each["topics"]))
                for each in facts.get("sessions") or ()
            ),
            topics=topics,
        )


def topic_info(app_metadata: bytes, schema_metadata: Mapping[bytes, bytes]) -> TopicInfo:
    """Decode one end point of get_flight_info.

    Args:
        app_metadata: the end point's JSON.
        schema_metadata: of the topic's own FlightInfo (≤ 0.6 keep the tag there), or empty.
    """
    facts = _object(app_metadata, "get_flight_info")
    old = facts.get("info") or {}  # up to 0.6, null until the topic is locked
    data = facts.get("data_info") or {}  # since 0.7
    interval = data.get("interval") or old.get("timestamp") or {}
    with _understood("get_flight_info"):
        properties = json.loads(schema_metadata.get(PROPERTIES_KEY, b"{}"))
        return TopicInfo(
            locator=str(facts["resource_locator"]),
            locked=bool(facts["locked"]),
            ontology_tag=facts.get("ontology_tag") or properties.get("ontology_tag", ""),
            row_count=data.get("total_row_count"),
            chunks=data.get("total_chunks_count", old.get("chunks_number", 0)),
            first_ns=interval.get("start_ns"),
            last_ns=interval.get("end_ns"),
            user_metadata=_user_metadata(facts, schema_metadata),
        )


def notifications(answer: Mapping[str, Any]) -> list[Notification]:
    """Decode the answer of a notification list."""
    with _understood("notification list"):
        return [
            Notification(each["name"], each["msg"], each["created_datetime"])
            for each in answer.get("notifications") or ()
        ]


@contextmanager
def _understood(what: str) -> Iterator[None]:
    """A fact that is missing or of another kind is an answer that we do not understand."""
    try:
        yield
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise RemoteRefusedError(f"{what}: the server's answer was not understood") from error


def _user_metadata(
    facts: Mapping[str, Any], schema_metadata: Mapping[bytes, bytes]
) -> dict[str, Any]:
    told: dict[str, Any] | None = facts.get("user_metadata")
    if told is None:
        told = json.loads(schema_metadata.get(USER_METADATA_KEY, b"null"))
    return told or {}


def _object(body: bytes, what: str) -> dict[str, Any]:
    try:
        decoded = json.loads(body)
    except ValueError as error:
        raise RemoteRefusedError(f"{what}: the server's answer is no JSON") from error
    if not isinstance(decoded, dict):
        raise RemoteRefusedError(f"{what}: the server's answer is no JSON object")
    return decoded
