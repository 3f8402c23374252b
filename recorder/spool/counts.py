"""A lane's cumulative counts at one point of a ring epoch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from recorder import record

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable


@dataclass(frozen=True)
class Counts:
    """Where a lane stood at one point of a ring epoch: between two records.

    Args:
        epoch: the ring's epoch; 0: nowhere.
        position: of the record behind the point.
        seqno: number of the next sample.
        expected: samples that were due since the epoch began.
        losses: samples that were lost since the epoch began.
    """

    epoch: int = 0
    position: int = 0
    seqno: int = 0
    expected: int = 0
    losses: record.Losses = field(default_factory=record.Losses)

    @classmethod
    def before(cls, header: record.Header) -> Counts:
        """Return the counts as they stood before a record, the losses before it included."""
        expected = header.expected - header.rows
        return cls(header.epoch, header.position, header.seqno, expected, header.losses)

    @classmethod
    def behind(cls, header: record.Header) -> Counts:
        """Return the counts behind a record."""
        end, seqno = header.end_position, header.next_seqno
        return cls(header.epoch, end, seqno, header.expected, header.losses)

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as they stand in a journal's entry."""
        lost = self.losses
        return {
            "epoch": self.epoch,
            "position": self.position,
            "seqno": self.seqno,
            "expected": self.expected,
            "losses": [lost.source, lost.absent, lost.broken, lost.ring],
        }

    @classmethod
    def from_dict(cls, entry: dict[str, Any]) -> Counts:
        """Read what `to_dict` made, whatever else the entry holds."""
        epoch, position, seqno, expected = (
            entry[key] for key in ("epoch", "position", "seqno", "expected")
        )
        return cls(epoch, position, seqno, expected, record.Losses(*entry["losses"]))


def counts_in(entries: Iterable[dict[str, Any]], kinds: Collection[str]) -> dict[int, Counts]:
    """Return, by ring epoch, what a journal's entries of some kinds say last."""
    return {one["epoch"]: Counts.from_dict(one) for one in entries if one["entry"] in kinds}
