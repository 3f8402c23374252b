"""What can be seen of recordings at a server, from outside: any Mosaico server, not only ours.

A recording tells of itself in three ways: its sequence's metadata (the announcement), rows in
`recorder/session` (each the whole session record, in parts that declare how often they come), and
`recorder/summary`, the commit mark. How long it has been silent is reckoned from when the server
got the newest of them, by the server's clock: a vehicle's clock may be wrong.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.flight as fl

from recorder.errors import RemoteRefusedError
from recorder.ground.keys import HEADER
from recorder.ground.seen import Seen, related
from recorder.mosaico import MosaicoClient, SequenceInfo, codec, read_key
from recorder.mosaico.wire import open_flight, remote_errors
from recorder.replaced import Issue, recording_of
from recorder.session.ledger import LaneLedger
from recorder.session.session import Session
from recorder.upload.naming import abandoned_mark

if TYPE_CHECKING:
    from pathlib import Path

    from recorder.mosaico import TopicInfo

log = logging.getLogger(__name__)

SUMMARY, HEARTBEATS, MARKS = "recorder/summary", "recorder/session", "recorder/marks"
#: Of a recording that declared none: the time that a part of heartbeats may span.
UNTOLD_PERIOD_S = 60.0
_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Address:
    """How a server is reached.

    Args:
        url: ``grpc://host:port`` or ``grpc+tls://host:port``.
        key_file: with the API key, which only its owner may read, or None.
        certificate: PEM file of root certificates, or None.
    """

    url: str
    key_file: Path | None = None
    certificate: Path | None = None

    @property
    def api_key(self) -> str | None:
        """The key; `ConfigError` if its file is open to others."""
        return None if self.key_file is None else read_key(self.key_file)

    @property
    def roots(self) -> bytes | None:
        """The certificates."""
        return None if self.certificate is None else self.certificate.read_bytes()

    def connect(self) -> MosaicoClient:
        """Connect; raises `RemoteError` if that cannot be."""
        return MosaicoClient.connect_url(
            self.url, api_key=self.api_key, tls_root_certs=self.roots, timeout_s=_TIMEOUT_S
        )


class Observer:
    """Looks at the recordings of a server; a context manager.

    Args:
        address: of the server; the key needs the read permission.

    Raises:
        RemoteError: it cannot be reached, or refuses.
    """

    def __init__(self, address: Address) -> None:
        key = address.api_key
        headers = [] if key is None else [(HEADER.encode(), key.encode())]
        self._options = fl.FlightCallOptions(timeout=_TIMEOUT_S, headers=headers)
        self._unread: set[str] = set()
        with ExitStack() as opened:
            self.client = opened.enter_context(address.connect())
            # The client leaves out the times at which the server got things.
            self._flight = open_flight(address.url, address.roots)
            opened.callback(self._flight.close)
            self._opened = opened.pop_all()

    def sequences(self) -> list[str]:
        """Names of all sequences."""
        return self.client.sequences()

    def look(self, name: str, ended_within_s: float | None = None) -> Seen | None:
        """Look at one recording.

        Args:
            name: of the sequence.
            ended_within_s: leave it out if it has been complete for longer than this.

        Returns:
            None if it is no recording or none that can be read, is left out, or is gone.
        """
        found = self._describe(name)
        if found is None or not recording_of(found.info.user_metadata):
            return None
        silent_s = max(time.time() - found.received_utc_ns / 1e9, 0.0)
        is_old = ended_within_s is not None and silent_s > ended_within_s
        if is_old and _newest(found.info, SUMMARY) is not None:
            return None
        try:
            record, is_announcement = self._record(found.info)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            if name not in self._unread:  # it must not hide all others; once is enough
                log.warning("%s: its record cannot be read: %r", name, error)
                self._unread.add(name)
            return None
        seen = Seen(
            sequence=name,
            record=record,
            is_announcement=is_announcement,
            begun_utc_ns=found.begun_utc_ns,
            received_utc_ns=found.received_utc_ns,
            period_s=_period_s(found.info),
            silent_s=silent_s,
            is_abandoned=False,
            issue=issue(found.info),
        )
        if seen.has_ended:
            return seen
        mark = abandoned_mark(seen.id)
        is_noted = any(mark in one.text for one in self.client.notifications(name))
        return dataclasses.replace(seen, is_abandoned=is_noted)

    def recordings(self, ended_within_s: float | None = None) -> list[Seen]:
        """Look at all recordings, by name; arguments as for `look`."""
        looks = (self.look(name, ended_within_s) for name in self.sequences())
        return related([seen for seen in looks if seen is not None])

    def marks(self, name: str) -> list[dict[str, Any]]:
        """Return a recording's marks (`recorder.spool.marks`), as far as they came, oldest first.

        Args:
            name: of the sequence.

        Raises:
            RemoteError: the server is away or refuses, or a row is no mark.
        """
        found = self._describe(name)
        texts = [
            text
            for topic in (_finalized(found.info, MARKS) if found is not None else ())
            for batch in self.client.read(topic.locator)
            for text in batch.column("data").to_pylist()
        ]
        try:
            marks: list[dict[str, Any]] = [json.loads(one) for one in texts]
            return sorted(marks, key=lambda one: int(one["boot_ns"]))
        except (LookupError, TypeError, ValueError) as error:
            raise RemoteRefusedError(f"{name}/{MARKS}: holds a row that is no mark") from error

    def close(self) -> None:
        """Hang up; may be called twice."""
        self._opened.close()

    def __enter__(self) -> Observer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- inside

    def _describe(self, name: str) -> _Described | None:
        command = fl.FlightDescriptor.for_command(codec.request({"resource_locator": name}))
        with remote_errors(f"get_flight_info {name}"):
            try:
                flight = self._flight.get_flight_info(command, self._options)
            except pa.ArrowKeyError:
                return None
        topics = tuple(codec.topic_info(each.app_metadata, {}) for each in flight.endpoints)
        info = codec.sequence_info(flight.app_metadata, flight.schema.metadata or {}, topics)
        begun = int(json.loads(flight.app_metadata)["created_at_ns"])
        completed = [json.loads(one.app_metadata)["completed_at_ns"] for one in flight.endpoints]
        return _Described(info, begun, max([one for one in completed if one], default=begun))

    def _record(self, info: SequenceInfo) -> tuple[dict[str, Any], bool]:
        """The newest record, and whether it is only what was announced."""
        for path in (SUMMARY, HEARTBEATS):
            newest = _newest(info, path)
            if newest is not None:
                return self._last_row(newest), False
        facts = info.user_metadata["recording"]
        known = {key: facts[key] for key in Session.__dataclass_fields__ if key in facts}
        known["lanes"] = [LaneLedger.from_dict(one) for one in facts["lanes"]]
        known["start_utc_ns"] = facts["start_ns"]
        return Session(**known).to_dict(), True

    def _last_row(self, topic: TopicInfo) -> dict[str, Any]:
        text = None
        for batch in self.client.read(topic.locator, start_ns=topic.last_ns):
            text = batch.column("data")[-1].as_py()
        if text is None:
            raise ValueError(f"{topic.locator} gives no last row")
        return Session.from_dict(json.loads(text)).to_dict()


@dataclass(frozen=True)
class _Described:
    info: SequenceInfo
    begun_utc_ns: int
    received_utc_ns: int


def issue(info: SequenceInfo) -> Issue:
    """What a recording's sequence says of the recording's other ones."""
    is_whole = bool(_finalized(info, SUMMARY))
    return Issue.read(info.name, recording_of(info.user_metadata), is_whole=is_whole)


def _newest(info: SequenceInfo, path: str) -> TopicInfo | None:
    """The newest finalized topic with rows of one of the recorder's own paths."""
    return max(_finalized(info, path), key=lambda one: one.last_ns or 0, default=None)


def _finalized(info: SequenceInfo, path: str) -> list[TopicInfo]:
    """All finalized topics with rows of one of the recorder's own paths."""
    start = f"{info.name}/{path}"
    return [one for one in info.topics if one.locator.startswith(start) and one.last_ns]


def _period_s(info: SequenceInfo) -> float:
    """How often signs are promised: heartbeats come in parts, so by the part's period."""
    newest = _newest(info, HEARTBEATS)
    told = newest.user_metadata.get("recorder", {}) if newest else {}
    return float(told.get("part_s", told.get("heartbeat_s", UNTOLD_PERIOD_S)))
