"""What a recorder must hold, kept in memory beside it; and what is wrong with what it holds.

A row is known by lane, ring epoch and number. The model is told what a lane acquired, what it
dropped at a full ring, up to where the ring was freed, what was shown to the outside, and what was
given up; from the disk it is told only what is read there.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from recorder.session.session import Session


class Row(NamedTuple):
    """The identity of a sample within a spool."""

    lane: str
    epoch: int
    number: int


@dataclass(frozen=True)
class Verdict:
    """What is wrong, in rows."""

    lost: int = 0
    doubled: int = 0
    wrong: int = 0
    unaccounted: int = 0

    def __add__(self, other: Verdict) -> Verdict:
        """Return the sums."""
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return Verdict(*(a + b for a, b in pairs))

    def __bool__(self) -> bool:
        """Tell whether anything is wrong."""
        return any(vars(self).values())

    def __str__(self) -> str:
        """Return the figures as one line."""
        names = ("committed rows lost", "rows doubled", "rows wrong", "rows unaccounted")
        return ", ".join(f"{one} {n}" for one, n in zip(names, vars(self).values(), strict=True))


@dataclass(frozen=True)
class Gone:
    """What was told of a session that is not there any more, and the rows that it gave up."""

    session: Session
    buried: set[Row]


@dataclass
class Model:
    """What was acquired and what became of it."""

    #: Bytes of every row that got a number and found room in the ring.
    acquired: dict[Row, bytes] = field(default_factory=dict)
    #: Those that only the ring holds for sure: where in it each ends.
    in_ring: dict[Row, int] = field(default_factory=dict)
    committed: set[Row] = field(default_factory=set)
    #: Rows that found the ring full and that a later record in the ring tells of.
    dropped: set[Row] = field(default_factory=set)
    untold: set[Row] = field(default_factory=set)

    def put(self, rows: dict[Row, bytes], end_position: int) -> None:
        """A record came into the ring; it tells of every row that was dropped before it."""
        self.acquired.update(rows)
        self.in_ring.update(dict.fromkeys(rows, end_position))

    def drop(self, rows: set[Row]) -> None:
        """The ring was full."""
        self.untold |= rows

    def tell(self, lane: str, epoch: int) -> None:
        """A record came into a ring, of any kind: with it the counts of what was dropped."""
        told = {one for one in self.untold if one[:2] == (lane, epoch)}
        self.untold -= told
        self.dropped |= told

    def free(self, lane: str, epoch: int, position: int) -> None:
        """A ring was given back up to a position: what was there is promised to be durable."""
        self.acknowledge(
            {
                one
                for one, end in self.in_ring.items()
                if one[:2] == (lane, epoch) and end <= position
            }
        )

    def acknowledge(self, rows: set[Row]) -> None:
        """The outside was told that these are durable, or has read them."""
        self.committed |= rows
        for one in rows:
            self.in_ring.pop(one, None)

    def cut_power(self) -> None:
        """What was only in memory is gone."""
        self.in_ring.clear()
        self.untold.clear()

    def judge(self, found: list[tuple[Row, bytes]], buried: set[Row]) -> Verdict:
        """Hold against the model every row that the spool holds.

        Args:
            found: those that it holds.
            buried: those that a tombstone gave up, whether their file is removed already or not.
        """
        times = Counter(row for row, _ in found)
        return Verdict(
            lost=len(self.committed - buried - set(times)),
            doubled=sum(times.values()) - len(times) + len(buried & set(times)),
            wrong=sum(self.acquired.get(row) != data for row, data in found),
        )
