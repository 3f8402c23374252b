"""The audit of a recording in a spool: its segments, its journal, the uploader's beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recorder import record
from recorder.audit import claims, witnesses
from recorder.audit.books import INVALID, quality
from recorder.audit.clockwork import Clockwork
from recorder.audit.deliveries import Deliveries
from recorder.audit.finding import Audit, LaneAudit
from recorder.audit.settling import settle_tail, settle_then, settle_ways
from recorder.audit.walk import Buried, Point, Walk
from recorder.errors import DamagedError, SpoolError
from recorder.spool import journal
from recorder.spool.names import epoch_of, first_seqno_of, segments_in
from recorder.spool.segment import SegmentHead, SegmentReader

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from recorder.schema import LaneSchema

    Entries = list[dict[str, Any]]


@dataclass(frozen=True)
class Told:
    """What a spool says of one recording.

    Args:
        folder: where it lies.
        entries: its journal.
        record: its newest record: the uploader's where that closed it.
        newest: the line of the spool's own newest record in the journal.
        sent: the uploader's journal.
        anchors: what time it was in its boot.
    """

    folder: Path
    entries: Entries
    record: dict[str, Any]
    newest: int
    sent: Deliveries
    anchors: Entries

    @property
    def own(self) -> dict[str, Any]:
        """The spool's own newest record."""
        whole: dict[str, Any] = self.entries[self.newest]["session"]
        return whole

    @property
    def is_running(self) -> bool:
        """Whether its recording was never ended: its record is a heartbeat, and rows follow."""
        return bool(self.record["recording"] == "running")

    def of_lane(self, lane: str, *kinds: str) -> Entries:
        """Return the journal's entries of some kinds about a lane."""
        return [one for one in self.entries if one["entry"] in kinds and one.get("lane") == lane]

    def epochs(self, lane: str) -> list[int]:
        """Return the lane's ring epochs in the order of their making."""
        known = [one["epoch"] for one in self.of_lane(lane, "epoch")]
        files = [one["file"] for one in self.of_lane(lane, "segment", "evicted")]
        files += [path.name for path in segments_in(self.folder / lane)]
        return list(dict.fromkeys([*known, *map(epoch_of, files)]))

    def schemas(self, lane: str) -> list[LaneSchema]:
        """Return what the heads of a lane's segments declare, also those that were given up."""
        heads = [bytes.fromhex(one["head"]) for one in self.of_lane(lane, "segment")]
        return [found.schema for one in heads if (found := SegmentHead.unpack(one))]

    def is_gone(self, lane: str, file: str) -> bool:
        """Tell whether a segment has a tombstone, of its own or with others; it may be there."""
        return any(
            epoch_of(one["file"]) == epoch_of(file)
            and one["file"] <= file <= str(one.get("last_file", one["file"]))
            for one in self.of_lane(lane, "evicted")
        )


def told(spool: Path, session_id: str) -> Told:
    """Read what a spool says of a recording.

    Args:
        spool: the spool.
        session_id: the recording, or the first characters of its id.

    Raises:
        SpoolError: there is no such recording, or several; or its journal holds no whole record.
    """
    folders = sorted(one for one in (spool / "sessions").glob("*") if (one / "journal").is_file())
    found = [one for one in folders if one.name.startswith(session_id) and one.name != "draft"]
    if len(found) != 1:
        what = f"{len(found)} recordings begin" if found else "no recording begins"
        raise SpoolError(f"{spool}: {what} with {session_id!r}")
    folder = found[0]
    entries = journal.read(folder / "journal")
    records = [number for number, one in enumerate(entries) if one["entry"] == "session"]
    if not records:
        raise SpoolError(f"{folder}: its journal holds no whole record")
    uploader = spool.parent / "upload" / folder.name
    sent = Deliveries(journal.read(uploader), uploader.exists())
    whole = sent.final or entries[records[-1]]["session"]
    anchors = journal.read(spool / "boots" / str(whole["boot_id"]) / "anchors")
    return Told(folder, entries, whole, records[-1], sent, anchors)


def audit_spool(spool: Path, session_id: str) -> Audit:
    """Add up one recording of a spool, and compare; nothing is changed.

    Of a recording that runs, or whose process died, the newest heartbeat is held against the rows
    that it tells of; more may have come since.

    Args:
        spool: the spool.
        session_id: the recording, or the first characters of its id.

    Raises:
        SpoolError: there is no such recording, or several; or its journal holds no whole record.
        OSError: something of it cannot be read.
    """
    known = told(spool, session_id)
    audit = Audit(known.record["id"], known.record["state"])
    records = [one["session"] for one in known.entries if one["entry"] == "session"]
    is_destination = claims.is_terminal(known.own)  # the spool itself: uploads are off
    is_sent = not is_destination and any(one["delivered"] for one in known.record["lanes"])
    if is_sent and not known.sent.is_there:
        audit.notes.append("the uploader's journal is not there: what was sent cannot be checked")
    audit.heartbeats(records)
    audit.survived(known.record, records)
    audit.differences += dict.fromkeys(_contradicted(known, records))
    shares = []
    for recorded in known.record["lanes"]:
        lane, have = _lane(known, recorded, audit)
        audit.lanes.append(lane)
        due = lane.found.bounds("expected")
        expected = int(recorded["expected"])
        shares.append((recorded, expected if due[0] <= expected <= due[1] else int(due[0]), have))
    audit.found_quality = quality(known.record, shares)
    audit.compare(known.record)
    _stand(known, audit, shares)
    return audit


def _contradicted(known: Told, records: Entries) -> Iterator[str]:
    """Yield what is wrong with a record beside its counts."""
    own, final = known.own, known.sent.final
    if own["id"] != known.folder.name:
        yield f"id {own['id']}, by its folder {known.folder.name}"
    yield from claims.in_order(records)
    for one in {id(one): one for one in (own, known.record)}.values():
        yield from claims.by_itself(one)
    yield from witnesses.journal_says(own, known.entries, known.newest)
    yield from witnesses.anchors_say(own, known.anchors)
    if claims.is_terminal(own):
        yield from claims.ending(own)
    if final is not None:
        yield from claims.concluded(final, own)
        yield from witnesses.parts_say(final, known.sent.held_parts())


def _stand(known: Told, audit: Audit, shares: list[tuple[dict[str, Any], int, int]]) -> None:
    """Say what of a recording is left where samples of it were given up behind its record."""
    gone = {
        str(contract["name"]): sum(
            one["rows"]
            for one in known.entries[known.newest + 1 :]
            if one["entry"] == "evicted" and one["lane"] == contract["name"]
        )
        for contract, _, _ in shares
    }
    if not any(gone.values()):
        return
    for name, rows in gone.items():
        if rows:
            audit.notes.append(f"{name}: {rows} samples were given up after its record")
    if known.sent.final is None and claims.is_terminal(known.record):
        audit.held = {one["name"]: have - gone[one["name"]] for one, _, have in shares}
        left = [(one, due, audit.held[one["name"]]) for one, due, _ in shares]
        audit.standing = quality(known.record, left)


def _lane(known: Told, recorded: dict[str, Any], audit: Audit) -> tuple[LaneAudit, int]:
    """Add up one lane; return it, and the samples that count as held or delivered."""
    name = recorded["name"]
    ahead = (recorded["stored"], recorded["in_ring"]) if known.is_running else (None, 0)
    walk = Walk(*ahead)
    due_by_time: int | None = None
    differences: list[str] = []
    for epoch in known.epochs(name):
        by_time, problem = _epoch(known, name, epoch, walk, audit)
        due_by_time = by_time if due_by_time is None else due_by_time + (by_time or 0)
        differences += [problem] if problem else []
    found = LaneAudit(name, recorded, walk.books, due_by_time)
    found.differences = [f"{name}: {text}" for text in (*differences, *walk.problems)]
    if known.is_running:
        settle_then(found, walk, audit)
    else:
        found.span_ns = walk.span_ns
        settle_tail(found, known.of_lane(name, "told"), known.of_lane(name, "closing")[-1:])
    rest = int(recorded["stored"]) - walk.rows  # of what is gone nobody knows
    walk.books.most.setdefault(INVALID, walk.books.counts[INVALID] + max(rest, 0))
    schemas = known.schemas(name)
    found.differences += [f"{name}: {text}" for text in witnesses.rows_say(found, walk, schemas)]
    have = settle_ways(found, walk, known, ends_here=known.sent.final is None)
    return found, have


def _epoch(known: Told, lane: str, epoch: int, walk: Walk, audit: Audit) -> tuple[int | None, str]:
    """Add up one ring epoch; return what was due by its times, and what is wrong with that."""
    mine = [one for one in known.of_lane(lane, "epoch", "evicted") if _is_of(one, epoch)]
    begins = [Point.of_entry(one) for one in mine if one["entry"] == "epoch"]
    buried = [
        Buried(first_seqno_of(one["file"]), one["rows"])
        for one in mine
        if one["entry"] == "evicted"
    ]
    walk.begin(begins[-1] if begins else None, buried)
    clock: Clockwork | None = None
    for schema, header, invalid in _records(known, lane, epoch, audit):
        clock = clock or Clockwork(schema)
        walk.record(header, invalid)
        clock.record(header)
    closing = known.of_lane(lane, "closing")[-1:]
    left = [each for one in closing for each in one["left"] if each["epoch"] == epoch]
    _reach_the_end(known, epoch, walk, left)
    by_time, _, problem = clock.due() if clock else (0, 0, "")
    return by_time or None, problem


def _is_of(entry: dict[str, Any], epoch: int) -> bool:
    own = epoch_of(entry["file"]) if entry["entry"] == "evicted" else entry["epoch"]
    return bool(own == epoch)


def _reach_the_end(known: Told, epoch: int, walk: Walk, left: Entries) -> None:
    """Pass what lies behind the last record, as the recording's end journalled it."""
    ends = [one for one in known.entries if one["entry"] == "behind" and one["epoch"] == epoch]
    if not ends or (not walk.is_begun and not left):
        return
    if left:
        walk.reach(Point.of_entry(left[-1]))
        walk.reach(Point.of_entry(ends[-1]), "lost_write", left[-1]["rows"])
    else:
        walk.reach(Point.of_entry(ends[-1]))


def _records(
    known: Told, lane: str, epoch: int, audit: Audit
) -> Iterator[tuple[LaneSchema, record.Header, int]]:
    """Yield every valid record of a lane's ring epoch, in order, with how many rows are invalid.

    What cannot be read is noted.
    """
    for path in _segments(known.folder / lane, epoch):
        if known.is_gone(lane, path.name):
            continue
        try:
            with SegmentReader(path) as segment:
                schema = segment.head.schema
                for _, header, payload in segment.records():
                    invalid = invalid_rows(schema, header, payload)
                    payload.release()
                    yield schema, header, invalid
        except (DamagedError, FileNotFoundError) as error:
            audit.notes.append(f"cannot be read: {error}")


def invalid_rows(schema: LaneSchema, header: record.Header, payload: memoryview) -> int:
    """Count the rows of a record that say that the device knew nothing: a GPS without a fix."""
    if schema.ontology != "GPS" or not header.rows:
        return 0
    names = [one.name for one in schema.fields]
    if "status.status" not in names:
        return 0
    before = schema.fields[: names.index("status.status")]
    begin = sum(int(one.type[2:]) for one in before)
    states = payload[begin :: schema.row_bytes]
    return sum(state == 0 for state in states)


def _segments(folder: Path, epoch: int) -> Sequence[Path]:
    return [path for path in segments_in(folder) if epoch_of(path.name) == epoch]
