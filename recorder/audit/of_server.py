"""The audit of a recording on a server: the rows of its topics against the record beside them.

A server holds no bytes of a ring, so it cannot tell one cause of a missing number from another; it
shows how many numbers are missing in all, and what was delivered.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from recorder.audit.books import EQUATIONS, KEYS, Books, quality
from recorder.audit.finding import Audit, LaneAudit
from recorder.errors import RemoteRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from recorder.mosaico import MosaicoClient, SequenceInfo, TopicInfo

    Record = dict[str, Any]

SUMMARY, HEARTBEATS = "recorder/summary", "recorder/session"
#: Losses of samples that had a number: they are holes in the numbers of the rows.
_HOLES = (*EQUATIONS["acquired"][2:], *EQUATIONS["stored"][2:])
_COUNTER = ("header", "sample_counter")


@dataclass
class _Run:
    """The rows of one topic: part of a lane's numbers in one ring epoch."""

    epoch: str
    begin: int
    end: int
    rows: int
    numbers: int

    @property
    def holes(self) -> int:
        """Numbers that are missing inside it."""
        return self.end - self.begin - self.numbers


@dataclass
class _Rows:
    """The rows of one lane."""

    runs: list[_Run] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def topic(self, info: TopicInfo, batches: Iterator[pa.RecordBatch]) -> None:
        """Take one topic, whatever is told of it."""
        facts = info.user_metadata["recorder"]
        begin, end = facts["from_seqno"], facts["to_seqno"]
        rows, numbers = 0, set[int]()
        for batch in batches:
            rows += batch.num_rows
            numbers.update(_numbers(batch))
        self.runs.append(_Run(facts["epoch"], begin, end, rows, len(numbers)))
        outside = sum(not begin <= one < end for one in numbers)
        if len(numbers) != rows or outside:
            told = f"{rows - len(numbers)} rows twice, {outside} outside of {begin} to {end}"
            self.problems.append(f"{info.locator}: {told}")

    @property
    def delivered(self) -> int:
        """Rows that are there."""
        return sum(one.rows for one in self.runs)

    def missing(self) -> int:
        """Return how many numbers are missing between an epoch's first part and its last."""
        found = sum(one.holes for one in self.runs)
        ordered = sorted(self.runs, key=lambda one: (one.epoch, one.begin))
        for one, after in itertools.pairwise(ordered):
            if one.epoch != after.epoch:
                continue
            found += after.begin - one.end
            if after.begin < one.end:
                self.problems.append(f"numbers {after.begin} to {one.end} are in two topics")
        return found


def _numbers(batch: pa.RecordBatch) -> list[int]:
    column: pa.Array = batch.column(_COUNTER[0])
    found: list[int] = column.field(_COUNTER[1]).to_pylist()
    return found


def audit_server(client: MosaicoClient, recording_id: str) -> Audit:
    """Add up one recording of a server, and compare.

    Args:
        client: a connection with the read permission.
        recording_id: the recording, or the first characters of its id.

    Raises:
        RemoteError: it cannot be read; there is no such recording, or several; or nothing but its
            announcement came in.
    """
    info = _sequence(client, recording_id)
    beats = [json.loads(text) for text in _texts(client, info, HEARTBEATS)]
    closing = [json.loads(text) for text in _texts(client, info, SUMMARY)]
    records = closing or beats
    if not records:
        raise RemoteRefusedError(f"{info.name}: nothing but its announcement came in so far")
    record = records[-1]
    audit = Audit(record["id"], record["state"])
    audit.heartbeats(beats)
    audit.survived(record, beats)
    audit.notes.append("a server cannot tell one cause of a missing number from another")
    shares = []
    for recorded in record["lanes"]:
        lane, have = _lane(client, info, recorded, is_closed=bool(closing))
        audit.lanes.append(lane)
        shares.append((recorded, int(recorded["expected"]), have))
    audit.found_quality = quality(record, shares)
    audit.compare(record)
    return audit


def _sequence(client: MosaicoClient, recording_id: str) -> SequenceInfo:
    found = []
    for name in client.sequences():
        info = client.describe_sequence(name)
        facts = info.user_metadata.get("recording") if info else None
        if info is not None and facts and str(facts["id"]).startswith(recording_id):
            found.append(info)
    if len(found) != 1:
        what = f"{len(found)} recordings begin" if found else "no recording begins"
        raise RemoteRefusedError(f"{what} with {recording_id!r}")
    return found[0]


def _texts(client: MosaicoClient, info: SequenceInfo, path: str) -> list[str]:
    """Return the rows of one of the recorder's own topics, all its parts in order."""
    start = f"{info.name}/{path}"
    topics = [one for one in info.topics if one.locator.startswith(start) and one.last_ns]
    rows: list[tuple[int, str]] = []
    for one in topics:
        for batch in client.read(one.locator):
            times, texts = batch.column("timestamp_ns"), batch.column("data")
            rows += zip(times.to_pylist(), texts.to_pylist(), strict=True)
    return [text for _, text in sorted(rows, key=lambda row: row[0])]


def _lane(
    client: MosaicoClient, info: SequenceInfo, recorded: Record, *, is_closed: bool
) -> tuple[LaneAudit, int]:
    rows = _Rows()
    for topic in _topics(client, info, recorded["name"], is_closed=is_closed):
        rows.topic(topic, client.read(topic.locator))
    told = Books({key: int(recorded[key]) for key in KEYS})  # a server's rows cannot tell these
    lane = LaneAudit(recorded["name"], recorded, told)
    missing, lost = rows.missing(), sum(recorded[key] for key in _HOLES)
    if is_closed:
        told.counts["delivered"] = rows.delivered
        told.counts["acquired"] = rows.delivered + lost
        told.counts["pending"] = told.counts["in_ring"] = 0
        if missing > lost:
            rows.problems.append(f"{missing} numbers are missing, and {lost} told as lost")
    elif rows.delivered < recorded["delivered"]:
        told.counts["delivered"] = rows.delivered
    else:
        told.most["delivered"] = rows.delivered
    lane.differences = [f"{lane.name}: {text}" for text in rows.problems]
    have = rows.delivered if is_closed else _held(recorded)
    return lane, have


def _held(recorded: Record) -> int:
    return int(recorded["delivered"] + recorded["pending"] + recorded["in_ring"])


def _topics(
    client: MosaicoClient, info: SequenceInfo, lane: str, *, is_closed: bool
) -> list[TopicInfo]:
    """Return the topics of a lane that count: those of the manifest, or the finalized ones."""
    known = _manifest(client, info) if is_closed else None
    found: dict[tuple[str, int], TopicInfo] = {}
    for one in info.topics:
        path = one.locator.removeprefix(f"{info.name}/")
        if not one.locked or (known is not None and known.get(path) != lane):
            continue
        topic = client.describe_topic(one.locator)
        facts = topic.user_metadata.get("recorder", {}) if topic else {}
        if topic is not None and facts.get("lane") == lane:
            found[facts["epoch"], facts["from_seqno"]] = topic
    return list(found.values())


def _manifest(client: MosaicoClient, info: SequenceInfo) -> dict[str, str]:
    """Return lane by topic, as the commit mark lists them."""
    start = f"{info.name}/{SUMMARY}"
    marks = [one for one in info.topics if one.locator.startswith(start) and one.last_ns]
    newest = max(marks, key=lambda one: one.last_ns or 0)
    topic = client.describe_topic(newest.locator)
    listed = topic.user_metadata["manifest"]["topics"] if topic else []
    return {one["topic"]: one["lane"] for one in listed}
