"""The audit of a recording on a server: the rows of its topics against the record beside them.

A server holds no bytes of a ring, so it cannot tell one cause of a missing number from another; it
shows how many numbers are missing in all, and what was delivered.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from recorder.audit import claims
from recorder.audit.books import EQUATIONS, KEYS, Books, quality
from recorder.audit.finding import Audit, LaneAudit
from recorder.errors import RemoteRefusedError
from recorder.replaced import Issue, counting, note, recording_of, successor

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
    part: int
    first_ns: int
    facts: Record

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
        rows, numbers, first_ns = 0, set[int](), 0
        for batch in batches:
            first_ns = first_ns or batch.column("timestamp_ns")[0].as_py()
            rows += batch.num_rows
            numbers.update(_numbers(batch))
        counted = facts["epoch"], begin, end, rows, len(numbers)
        self.runs.append(_Run(*counted, facts["part"], first_ns, facts))
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
    info, remark = _sequence(client, recording_id)
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
    audit.notes += [remark] if remark else []
    shares = []
    runs: dict[str, list[_Run]] = {}
    for recorded in record["lanes"]:
        lane, rows, have = _lane(client, info, recorded, is_closed=bool(closing))
        audit.lanes.append(lane)
        runs[lane.name] = rows.runs
        shares.append((recorded, int(recorded["expected"]), have))
    told = [*_contradicted(record, info, beats), *_declared(record, runs)]
    if closing:
        told += [*_repeated(client, info, record, beats), *_timed(record, runs)]
    audit.differences += dict.fromkeys(told)
    audit.found_quality = quality(record, shares)
    audit.compare(record)
    return audit


def _contradicted(record: Record, info: SequenceInfo, beats: list[Record]) -> Iterator[str]:
    """Yield what is wrong with a record beside its counts."""
    yield from claims.by_itself(record)
    yield from claims.fixed(record, info.user_metadata["recording"], "as announced")
    yield from claims.in_order(beats)


def _repeated(
    client: MosaicoClient, info: SequenceInfo, record: Record, beats: list[Record]
) -> Iterator[str]:
    """Yield where the terminal record is not the same at each of the places that it stands at."""
    places = {"among the heartbeats": beats[-1] if beats else {}}
    places["in the commit mark"] = _mark(client, info).get("session", {})
    for where, other in places.items():
        for key in record.keys() - {"details"}:  # its names may not be legal as metadata
            if other.get(key) != record[key]:
                yield f"{key} {record[key]}, {where} {other.get(key)}"
    stopped = [one for one in beats[:-1] if one["recording"] == "stopped"]
    if stopped:
        yield from claims.concluded(record, stopped[-1])
    else:
        yield from claims.ending(record)


def _declared(record: Record, runs: dict[str, list[_Run]]) -> Iterator[str]:
    """Yield in which lanes the topics declare something else."""
    for lane in record["lanes"]:
        for one in runs[lane["name"]]:
            for key in ("rate_hz", "required"):
                if one.facts.get(key, lane[key]) != lane[key]:
                    yield f"{lane['name']}: {key} {lane[key]}, by its rows {one.facts[key]}"


def _timed(record: Record, runs: dict[str, list[_Run]]) -> Iterator[str]:
    """Yield where the times of a terminal record are not those of the rows."""
    begins = {one["name"]: one for one in record["lanes"] if one["first_boot_ns"]}
    sent = [(begins[name], one) for name, each in runs.items() if name in begins for one in each]
    if not sent:
        return
    bounds = [one.facts["clock_uncertainty_ns"] for _, one in sent]
    sources = [one.facts["clock_source"] for _, one in sent]
    right = {
        "clock_source": min(sources, key=claims.trust),
        "utc_uncertainty_ns": None if None in bounds else max(bounds),
    }
    lane, first = min(sent, key=lambda one: (one[0]["first_boot_ns"], one[1].part))
    # A lane that began before may have been refused, or given up: its first row is not here.
    is_first = lane["first_boot_ns"] == min(one["first_boot_ns"] for one in begins.values())
    if is_first and not any(lane[key] for key in EQUATIONS["stored"][2:]):
        right["start_utc_ns"] = first.first_ns
    for key, value in right.items():
        if record[key] != value:
            yield f"{key} {record[key]}, by the rows {value}"


def _sequence(client: MosaicoClient, recording_id: str) -> tuple[SequenceInfo, str]:
    """Return the sequence of a recording that counts, and what is to be told of it."""
    found: dict[str, SequenceInfo] = {}
    issues: list[Issue] = []
    for name in client.sequences():
        info = client.describe_sequence(name)
        facts = recording_of(info.user_metadata) if info else {}
        if info is not None and facts and facts["id"].startswith(recording_id):
            found[name] = info
            is_whole = bool(_filled(info, SUMMARY))
            issues.append(Issue.read(name, facts, is_whole=is_whole))
    names = counting(issues)
    if len(names) != 1:
        what = f"{len(names)} recordings begin" if names else "no recording begins"
        raise RemoteRefusedError(f"{what} with {recording_id!r}")
    (name,) = names
    return found[name], note(name, successor(issues, name))


def _filled(info: SequenceInfo, path: str) -> list[TopicInfo]:
    """Return the finalized topics with rows of one of the recorder's own paths."""
    start = f"{info.name}/{path}"
    return [one for one in info.topics if one.locator.startswith(start) and one.last_ns]


def _texts(client: MosaicoClient, info: SequenceInfo, path: str) -> list[str]:
    """Return the rows of one of the recorder's own topics, all its parts in order."""
    rows: list[tuple[int, str]] = []
    for one in _filled(info, path):
        for batch in client.read(one.locator):
            times, texts = batch.column("timestamp_ns"), batch.column("data")
            rows += zip(times.to_pylist(), texts.to_pylist(), strict=True)
    return [text for _, text in sorted(rows, key=lambda row: row[0])]


def _lane(
    client: MosaicoClient, info: SequenceInfo, recorded: Record, *, is_closed: bool
) -> tuple[LaneAudit, _Rows, int]:
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
    return lane, rows, have


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
    listed = _mark(client, info).get("manifest", {}).get("topics", [])
    return {one["topic"]: one["lane"] for one in listed}


def _mark(client: MosaicoClient, info: SequenceInfo) -> Record:
    """Return the metadata of the commit mark."""
    newest = max(_filled(info, SUMMARY), key=lambda one: one.last_ns or 0)
    topic = client.describe_topic(newest.locator)
    return dict(topic.user_metadata) if topic else {}
