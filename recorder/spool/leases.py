"""Which segments the uploader is about to send, and what the server holds of them.

The uploader's journal of a session (`recorder.spool.receipts`) says more than its receipts: a part
is ``planned`` with the pieces of segments it is made of, and every later entry about it bears its
number. From ``planned`` until ``receipt``, ``parked`` (the server refused it) or ``dropped`` (its
segments were given up) the part is under way, and its segments are leased: they are given up last.
Whether what was given up then was delivered is settled when the receipt comes, or does not.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recorder.spool.receipts import Receipt, covers, delivered
from recorder.spool.tail import Tail

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from recorder.session.ledger import LaneLedger

_NONE = -1
_NOT_UNDER_WAY = ("parked", "dropped")


@dataclass
class _Part:
    lane: str
    #: Samples by segment.
    rows: dict[str, int]
    state: str = "planned"


class Deliveries:
    """What the uploader's journal says of one session's segments.

    Args:
        path: that journal; an absent one says nothing.
    """

    def __init__(self, path: Path) -> None:
        self._tail = Tail(path)
        self._forget()

    def _forget(self) -> None:
        self._receipts: list[Receipt] = []
        self._parts: dict[int, _Part] = {}
        #: By lane and segment: samples in parts that the server holds.
        self.rows: Counter[tuple[str, str]] = Counter()
        #: Whether the server holds everything that it will ever get.
        self.is_done = False
        #: Whether anything was planned, or a person asked for it to be.
        self.is_begun = False

    def look(self) -> bool:
        """Take note of what was added; return whether anything was."""
        news = self._tail.news()
        if news.is_anew:
            self._forget()
        for entry in news.entries:
            self._apply(entry)
        return news.is_anew or bool(news.entries)

    def _apply(self, entry: dict[str, Any]) -> None:
        kind: str = entry["entry"]
        part: int = entry.get("part", _NONE)
        self.is_done = self.is_done or kind == "done"
        self.is_begun = self.is_begun or kind in ("planned", "anew")
        if kind == "planned":
            rows: Counter[str] = Counter()
            for file, _, _, count in entry["pieces"]:
                rows[file] += count
            self._parts[part] = _Part(entry["lane"], dict(rows))
        elif kind == "receipt":
            self._receipts.append(Receipt(**{key: entry[key] for key in _RECEIPT}))
            held = self._parts.pop(part, None)
            for file, count in held.rows.items() if held else ():
                self.rows[entry["lane"], file] += count
        elif part in self._parts:
            self._parts[part].state = kind

    def leased(self) -> set[tuple[str, str]]:
        """Return lane and name of every segment of a part that is under way."""
        under_way = [one for one in self._parts.values() if one.state not in _NOT_UNDER_WAY]
        return {(one.lane, file) for one in under_way for file in one.rows}

    def covers(self, lane: str, epoch: int, from_seqno: int, to_seqno: int) -> bool:
        """Tell whether receipts cover all samples of a lane between two numbers."""
        return covers(self._receipts, lane, epoch, from_seqno, to_seqno)

    def delivered(self, lane: str) -> int:
        """Return how many samples of a lane the server holds for certain."""
        return delivered(self._receipts, lane)


_RECEIPT = tuple(Receipt.__dataclass_fields__)


def evicted_rows(
    evicted: Mapping[tuple[str, str], int], held: Mapping[tuple[str, str], int]
) -> Counter[str]:
    """Return, by lane, how many samples were given up that the server does not hold.

    A tombstone is provisional: it says what was known when the segment went. A receipt that comes
    later for samples of it, or that covered a part of it, makes them delivered.

    Args:
        evicted: by lane and segment, the rows of tombstones that say it was not delivered.
        held: by lane and segment, how many of its samples the server holds (`Deliveries.rows`).

    >>> evicted_rows({("imu", "0.seg"): 30, ("imu", "1.seg"): 5}, {("imu", "0.seg"): 20})
    Counter({'imu': 15})
    """
    lost: Counter[str] = Counter()
    for key, rows in evicted.items():
        lost[key[0]] += max(rows - held.get(key, 0), 0)
    return lost


def evicted_by(entries: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], int]:
    """Return the rows of a journal's tombstones that say it was not delivered, by lane and segment.

    Args:
        entries: of a session's journal, of any kind.
    """
    return {
        (one["lane"], one["file"]): one["rows"]
        for one in entries
        if one["entry"] == "evicted" and not one["delivered"]
    }


def settle(ledger: LaneLedger, delivered: int, evicted: int) -> None:
    """Move samples of a lane from pending to where they went, or back.

    Args:
        ledger: the lane's account; kept in balance.
        delivered: samples that the server holds for certain now.
        evicted: samples that were given up and that it does not hold (`evicted_rows`).
    """
    ledger.pending -= delivered - ledger.delivered + evicted - ledger.lost_evicted
    ledger.delivered, ledger.lost_evicted = delivered, evicted
