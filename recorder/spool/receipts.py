"""What the uploader's journals say about delivery; the only thing that flows back to the spool.

The journal of a session is the file ``upload/<session id>`` (lines as in `recorder.spool.journal`).
Only the uploader writes it. Of its entries the spooler reads one kind, ``receipt``: the server was
asked and holds these samples; the others are the uploader's own. An entry ``final`` holds the
session's terminal record.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from recorder.session.session import Session
from recorder.spool import journal

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


@dataclass(frozen=True)
class Receipt:
    """Samples that the destination was asked for and holds.

    Args:
        lane: their lane.
        epoch: ring epoch of their records.
        from_seqno: number of the first.
        to_seqno: number behind the last.
        rows: how many; less than the difference where numbers are missing.
    """

    lane: str
    epoch: int
    from_seqno: int
    to_seqno: int
    rows: int


def receipts(file: Path) -> list[Receipt]:
    """Return every receipt of an uploader's journal; an absent journal has none."""
    return [
        Receipt(**{key: entry[key] for key in Receipt.__dataclass_fields__})
        for entry in journal.read(file)
        if entry["entry"] == "receipt"
    ]


def final_session(file: Path) -> Session | None:
    """Return the terminal record that the uploader wrote, or None if it has not come so far."""
    for entry in reversed(journal.read(file)):
        if entry["entry"] == "final":
            return Session.from_dict(entry["session"])
    return None


def covers(given: Iterable[Receipt], lane: str, epoch: int, from_seqno: int, to_seqno: int) -> bool:
    """Tell whether receipts, together, cover all samples of a lane between two numbers.

    >>> parts = [Receipt("imu", 7, 0, 10, 10), Receipt("imu", 7, 10, 30, 20)]
    >>> covers(parts, "imu", 7, 5, 25), covers(parts, "imu", 7, 5, 31)
    (True, False)
    """
    mine = [one for one in given if (one.lane, one.epoch) == (lane, epoch)]
    for one in sorted(mine, key=lambda one: one.from_seqno):
        if one.from_seqno <= from_seqno:
            from_seqno = max(from_seqno, one.to_seqno)
    return from_seqno >= to_seqno


def delivered(found: Iterable[Receipt], lane: str) -> int:
    """Return how many samples of a lane are delivered."""
    return sum(one.rows for one in found if one.lane == lane)
