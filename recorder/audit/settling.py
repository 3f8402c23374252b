"""From what a walk over the rows found to a whole ledger: its end, and where the stored went."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recorder.audit.books import INVALID, LANE_LOSSES, UNBOUNDED
from recorder.spool.names import epoch_of, first_seqno_of

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Sequence

    from recorder.audit.finding import Audit, LaneAudit
    from recorder.audit.of_spool import Told
    from recorder.audit.walk import Walk

    Entries = Sequence[dict[str, Any]]

_MOVING = ("expected", "acquired", *LANE_LOSSES)


def settle_then(lane: LaneAudit, walk: Walk, audit: Audit) -> None:
    """Cut what was found to what was there when the heartbeat was written.

    What a heartbeat counts of the ring can only be held against the records that came of it later.
    """
    books, recorded = lane.found, lane.recorded
    books.most["lost_damaged"] = UNBOUNDED  # what a ring cannot show now, its next look may
    if walk.then.least is None:
        missing = recorded["stored"] - books.counts["stored"]
        if missing < 0:
            text = f"{lane.name}: stored {recorded['stored']}, and no record ends there"
            lane.differences.append(text)
        elif missing:
            audit.notes.append(
                f"{lane.name}: {missing} samples that its heartbeat told of are lost"
            )
        for key in ("stored", *_MOVING, "lost_crc"):
            books.most[key] = UNBOUNDED
        books.counts["in_ring"], books.most["in_ring"] = 0, UNBOUNDED
        return
    least, reached = walk.then.least, walk.soon.least
    lane.span_ns = walk.then.span_ns
    for key in (*_MOVING, "stored", "lost_crc", INVALID):
        books.counts[key], books.most[key] = least[key], walk.then.most[key]
    in_ring = recorded["in_ring"]
    if reached is not None:
        books.counts.update({key: reached[key] for key in _MOVING})
        ends = walk.soon.most
        books.most.update({key: ends[key] if walk.soon.is_closed else UNBOUNDED for key in _MOVING})
        books.counts["in_ring"] = in_ring
        _settle_late(lane, 0)
        return
    books.most.update(dict.fromkeys(_MOVING, UNBOUNDED))
    if walk.soon.is_closed:
        text = f"{lane.name}: in_ring {in_ring}, and no record ends there"
        lane.differences.append(text)
    books.counts["in_ring"], books.most["in_ring"] = 0, UNBOUNDED
    _settle_late(lane, in_ring)


def _settle_late(lane: LaneAudit, unseen: int) -> None:
    """Widen bounds by what may have come late and is in no record that was read.

    Args:
        lane: the lane.
        unseen: samples in the ring; those that found it full are told.
    """
    books = lane.found
    books.settle_overdue()
    counts, most = books.counts, books.most
    late = unseen + max(lane.recorded["lost_ring"] - counts["lost_ring"], 0)
    counts["lost_absent"] = max(counts["lost_absent"] - late, 0)
    for key in ("lost_absent", "expected"):
        most[key] += late


def settle_tail(lane: LaneAudit, told: Entries, closing: Entries) -> None:
    """Count what no row tells: what a lost power took, and what was due from a lane that died."""
    books = lane.found
    books.counts["in_ring"] = 0
    for one in told:
        _lose(lane, one["ledger"])
    for one in closing:
        books.add("expected", one["absent"])
        books.add("lost_absent", one["absent"])
    books.settle_overdue()


def _lose(lane: LaneAudit, heartbeat: dict[str, Any]) -> None:
    counts = lane.found.counts
    if heartbeat["expected"] < counts["expected"]:
        text = f"expected {counts['expected']} by the rows, less by a heartbeat that told of more"
        lane.differences.append(f"{lane.name}: {text}")
    if heartbeat["acquired"] < counts["acquired"]:
        # It told of an end that did not come, and of what was due by then; the lane gave more.
        for key in LANE_LOSSES[:3]:
            counts[key] = max(counts[key], heartbeat[key])
        counts["expected"] = counts["acquired"] + sum(counts[key] for key in LANE_LOSSES[:3])
        return
    for key in ("expected", "acquired", "lost_damaged", *LANE_LOSSES[:3]):
        counts[key] = heartbeat[key]
    lost_on_disk = max(heartbeat["stored"] - counts["stored"], 0)
    counts["stored"] += lost_on_disk
    counts["lost_crc"] += lost_on_disk
    lost_else = counts["lost_damaged"] + counts["lost_write"]
    counts["lost_ring"] = counts["acquired"] - counts["stored"] - lost_else


def settle_ways(lane: LaneAudit, walk: Walk, known: Told, *, ends_here: bool) -> int:
    """Say where stored samples went; return those that count as held, or delivered at the end.

    Args:
        lane: gets delivered, pending and what was lost of the stored.
        walk: over its rows.
        known: what the spool says.
        ends_here: whether the uploader has not closed the recording.
    """
    stones = [
        (number, one)
        for number, one in enumerate(known.entries)
        if one["entry"] == "evicted" and one["lane"] == lane.name
    ]
    if ends_here:
        return _held(lane, walk, known, stones)
    counts, sent = lane.found.counts, known.sent
    planned = sent.planned(lane.name)
    counts["delivered"], counts["pending"] = sent.delivered(lane.name), 0
    counts["lost_rejected"] = sent.rejected(lane.name)
    counts["lost_evicted"] = sum(_unsent(one, planned) for _, one in stones)
    ways = counts["delivered"] + counts["lost_rejected"] + counts["lost_evicted"]
    # What was stored and is neither there, nor refused, nor given up, did not verify any more.
    unread = counts["stored"] - ways
    if unread > counts["lost_crc"]:
        text = f"{unread - counts['lost_crc']} samples are there and were neither sent nor refused"
        lane.differences.append(f"{lane.name}: {text}")
    counts["lost_crc"] = unread
    return counts["delivered"]


def _held(
    lane: LaneAudit, walk: Walk, known: Told, stones: list[tuple[int, dict[str, Any]]]
) -> int:
    """Count a recording that is not closed by the uploader: what waits, and what was given up."""
    counts, most = lane.found.counts, lane.found.most
    rows = {"before": 0, "later": 0, "delivered": 0, "sent": 0}
    held = known.sent.held(lane.name)
    for number, one in stones:
        unsent = _unsent(one, held)
        if number > known.newest:
            rows["later"] += one["rows"]
        elif one["delivered"]:
            rows["delivered"] += one["rows"]
        else:
            rows["before"] += one["rows"]
            rows["sent"] += one["rows"] - unsent
    counts["lost_rejected"] = 0
    counts["lost_evicted"] = rows["before"] - rows["sent"]
    most["lost_evicted"] = rows["before"]
    stored = lane.recorded["stored"] if known.is_running else counts["stored"]
    evicted = min(max(lane.recorded["lost_evicted"], counts["lost_evicted"]), rows["before"])
    have = stored - counts["lost_crc"] - evicted
    is_terminal = known.record["state"] not in ("waiting", "open")
    told = lane.recorded["delivered"] + lane.recorded["pending"]
    if told != have:
        lane.differences.append(f"{lane.name}: held {told}, by the rows {have}")
    there = walk.rows + rows["later"] + rows["delivered"] + rows["before"] - evicted
    if not known.is_running and there != have:
        lane.differences.append(f"{lane.name}: held {told}, there are {there}")
    counts["delivered"] = have if is_terminal else 0
    can_be_known = known.sent.is_there and not is_terminal
    most["delivered"] = known.sent.received(lane.name) if can_be_known else have
    counts["pending"] = have - most["delivered"]
    most["pending"] = have - counts["delivered"]
    return int(have + (lane.recorded["in_ring"] if known.is_running else 0))


def _unsent(stone: dict[str, Any], sent: Counter[str]) -> int:
    """Return how many samples of a tombstone are not among those that were sent, by segment.

    One tombstone may stand for several segments of a ring, from `file` to `last_file`.
    """
    first, last = stone["file"], stone.get("last_file", stone["file"])
    begin, end = first_seqno_of(first), first_seqno_of(last)
    mine = sum(
        rows
        for file, rows in sent.items()
        if epoch_of(file) == epoch_of(first) and begin <= first_seqno_of(file) <= end
    )
    return max(int(stone["rows"]) - mine, 0)
