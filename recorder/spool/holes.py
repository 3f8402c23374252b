"""Missing numbers of a lane, and who accounts for them: the records, a tombstone, or nobody."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recorder.spool.names import epoch_of, first_seqno_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from recorder.record import Header


@dataclass(frozen=True)
class Gap:
    """Numbers between two records of one ring epoch that follow each other in the spool.

    Args:
        epoch: the ring's epoch.
        begin: number that was due, or None if no record of the epoch comes before.
        end: number that came; smaller than `begin` if numbers came twice.
        lost_ring: the cumulative count of samples that found the ring full, in the record before.
        lost_ring_end: the same count in the record that came.
    """

    epoch: int
    begin: int | None
    end: int
    lost_ring: int
    lost_ring_end: int

    @classmethod
    def between(cls, before: Header | None, header: Header) -> Gap | None:
        """Return the gap before a record, or None if it bears the number that was due."""
        if before is None:
            return cls(header.epoch, None, header.seqno, 0, header.losses.ring)
        if before.next_seqno == header.seqno:
            return None
        lost = before.losses.ring, header.losses.ring
        return cls(header.epoch, before.next_seqno, header.seqno, *lost)


@dataclass(frozen=True)
class Explained:
    """What became of the numbers of a gap, in samples.

    Args:
        begin: the number that was due.
        lost_ring: the ring was full, as the records say.
        evicted: given up with a tombstone.
        torn: power was lost while they were written, and recovery noted so.
        missing: nobody says why they are missing.
        doubled: they came twice.
    """

    begin: int
    lost_ring: int = 0
    evicted: int = 0
    torn: int = 0
    missing: int = 0
    doubled: int = 0


def explain(gaps: Iterable[Gap], entries: Sequence[dict[str, Any]]) -> list[Explained]:
    """Say of each gap of a lane what became of its numbers.

    Args:
        gaps: the lane's gaps in one session.
        entries: what the session's journal says of this lane.
    """
    bases = {one["epoch"]: one for one in entries if one["entry"] == "epoch"}
    tombstones = [one for one in entries if one["entry"] == "evicted"]
    noted = [gap for one in entries if one["entry"] == "recovered" for gap in one["gaps"]]
    found: list[Explained] = []
    for gap in gaps:
        begin, lost_ring = gap.begin, gap.lost_ring
        if begin is None:
            base = bases.get(gap.epoch)
            if base is None:
                continue  # a power cut took the line; where the session began is not known
            begin, lost_ring = base["seqno"], base["losses"][3]
        size = gap.end - begin
        evicted = min(_evicted(tombstones, gap.epoch, begin, gap.end), max(size, 0))
        full = min(gap.lost_ring_end - lost_ring, max(size, 0) - evicted)
        missing = max(size, 0) - evicted - full
        torn = missing if [gap.epoch, begin, gap.end] in noted else 0
        found.append(Explained(begin, full, evicted, torn, missing - torn, max(-size, 0)))
    return found


def _evicted(tombstones: Iterable[dict[str, Any]], epoch: int, begin: int, end: int) -> int:
    count = 0
    for one in tombstones:
        if epoch_of(one["file"]) == epoch and begin <= first_seqno_of(one["file"]) < end:
            count += one["rows"]
    return count
