"""What lies in the spool, kept up to date by reading on in the journals, never anew.

Only sealed segments count: their ``sealed`` line proves them, and nobody writes to them any more.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recorder.errors import DamagedError
from recorder.spool.leases import Deliveries
from recorder.spool.names import epoch_of, first_seqno_of
from recorder.spool.pins import Pin
from recorder.spool.places import is_file
from recorder.spool.segment import read_head
from recorder.spool.tail import Tail

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from recorder.config import Config
    from recorder.schema import LaneSchema
    from recorder.spool.spool import Spool

    Key = tuple[str, str, str]
    Rank = tuple[int, int, float]

_BLOCK_BYTES = 512


@dataclass(slots=True)
class Segment:
    """One sealed segment that is there.

    Args:
        session_id: its session.
        lane: its lane.
        file: its name.
        order: its place in the spool, by age: the session's number, the place in its journal.
        rank: its lane's (`lane_rank`); the smallest goes first.
        behind_seqno: number behind its last sample.
        rows: samples in it.
        disk_bytes: blocks that it occupies.
        first_boot_ns: time of its first sample, or None.
        last_boot_ns: time of its last sample, or None.
        is_delivered: whether receipts cover all of it.
    """

    session_id: str
    lane: str
    file: str
    order: tuple[int, int]
    rank: Rank
    behind_seqno: int
    rows: int
    disk_bytes: int
    first_boot_ns: int | None
    last_boot_ns: int | None
    is_delivered: bool

    @property
    def key(self) -> Key:
        """What tells it from every other: session, lane, file."""
        return self.session_id, self.lane, self.file

    def tombstone(self, *, is_leased: bool, is_pinned: bool = False) -> dict[str, Any]:
        """Return the journal's entry that gives it up."""
        return {
            "entry": "evicted",
            "lane": self.lane,
            "file": self.file,
            "rows": self.rows,
            "delivered": self.is_delivered,
            "leased": is_leased,
            **({"pinned": True} if is_pinned else {}),
        }


def lane_rank(config: Config, schema: LaneSchema) -> Rank:
    """Return what a lane's recordings are worth; the smallest goes first when space is short.

    First the configured priority (0 for a lane that is not configured any more), then pictures
    before rows, then the lane with the most samples per second.
    """
    priorities = {one.name: one.priority for one in config.lanes}
    return priorities.get(schema.lane, 0), int(schema.blob is None), -schema.rate_hz


def disk_bytes(path: Path) -> int | None:
    """Return how many bytes of the disk a file occupies, or None if it is not there to be had."""
    return path.stat().st_blocks * _BLOCK_BYTES if is_file(path) else None


class SessionStock:
    """What the spool holds of one session.

    Args:
        spool: the spool.
        session_id: a session in it.
        config: says where the uploader's journals are, and the lanes' priorities.
    """

    def __init__(self, spool: Spool, session_id: str, config: Config) -> None:
        self.id = session_id
        self.folder = spool.session_dir(session_id)
        self.deliveries = Deliveries(config.upload_dir / session_id)
        self._config = config
        #: Its running number in the spool.
        self.number = spool.number(session_id)
        self._tail = Tail(spool.journal_path(session_id))
        self._forget()

    def _forget(self) -> None:
        #: By lane and name.
        self.segments: dict[tuple[str, str], Segment] = {}
        #: By lane and name: samples in segments that were given up undelivered.
        self.evicted: dict[tuple[str, str], int] = {}
        #: Files that are there although they have a tombstone; a loss of power brings them back.
        self.leftovers: list[Path] = []
        self.pins: list[Pin] = []
        #: What all segments that were ever sealed held, by lane.
        self.written_bytes: dict[str, int] = {}
        self._ranks: dict[tuple[str, int], Rank] = {}
        self._sealed = 0
        #: Heartbeats in its journal, their bytes, and the heads of segments in it.
        self.beats = self.beat_bytes = self.heads = 0

    @property
    def journal_bytes(self) -> int:
        """Length of its journal."""
        return self._tail.end_bytes

    def look(self) -> int:
        """Take note of what the recording did; return how much had to be read."""
        news = self._tail.news()
        if news.is_anew:
            self._forget()
        self.beats += news.beats
        self.beat_bytes += news.beat_bytes
        for entry in news.entries:
            kind = entry["entry"]
            self.heads += kind == "segment"
            if kind == "sealed":
                self._take_in(entry)
            elif kind == "evicted":
                self._take_out(entry)
            elif kind == "pin":
                self.pins.append(Pin.from_entry(entry))
            elif kind == "unpin":
                self.pins.clear()
        return news.read_bytes

    def look_at_deliveries(self) -> None:
        """Take note of what the uploader did."""
        if self.deliveries.look():
            for one in self.segments.values():
                one.is_delivered = one.is_delivered or self._is_delivered(one)

    def _take_in(self, entry: dict[str, Any]) -> None:
        lane, file = sys.intern(entry["lane"]), entry["file"]
        if (lane, file) in self.segments:
            return  # said once more, for it is to go (`proofs_of`); as old as it was
        self._sealed += 1
        self.written_bytes[lane] = self.written_bytes.get(lane, 0) + entry["bytes"]
        path = self.folder / lane / file
        size_bytes = disk_bytes(path)
        if size_bytes is None:
            return  # it was given up; its tombstone comes
        one = self.segments[lane, file] = Segment(
            session_id=self.id,
            lane=lane,
            file=file,
            order=(self.number, self._sealed),
            rank=self._rank(path),
            behind_seqno=entry["seqno"],
            rows=entry["rows"],
            disk_bytes=size_bytes,
            first_boot_ns=entry["first_boot_ns"],
            last_boot_ns=entry["last_boot_ns"],
            is_delivered=False,
        )
        one.is_delivered = self._is_delivered(one)

    def _take_out(self, entry: dict[str, Any]) -> None:
        key = entry["lane"], entry["file"]
        self.segments.pop(key, None)
        if not entry["delivered"]:
            self.evicted[key] = entry["rows"]
        path = self.folder / key[0] / key[1]
        if is_file(path):
            self.leftovers.append(path)

    def forget_what_went(self) -> None:
        """Give back the memory of what is not there any more, once nobody settles its account."""
        self.evicted.clear()
        self.deliveries.rows.clear()

    def _is_delivered(self, one: Segment) -> bool:
        epoch, first_seqno = epoch_of(one.file), first_seqno_of(one.file)
        return self.deliveries.covers(one.lane, epoch, first_seqno, one.behind_seqno)

    def _rank(self, path: Path) -> Rank:
        key = path.parent.name, epoch_of(path.name)
        if key not in self._ranks:
            try:
                self._ranks[key] = lane_rank(self._config, read_head(path).schema)
            except (DamagedError, FileNotFoundError):
                return 0, 1, 0.0  # as worthy as rows can be: what cannot be read is kept long
        return self._ranks[key]

    def pinned(self) -> Iterator[Segment]:
        """Yield every segment that a pin holds."""
        for one in self.segments.values() if self.pins else ():
            if any(pin.holds(one.first_boot_ns, one.last_boot_ns) for pin in self.pins):
                yield one


class Stock:
    """What the spool holds of all sessions.

    Args:
        spool: the spool.
        config: says where the uploader's journals are, and the lanes' priorities.
    """

    def __init__(self, spool: Spool, config: Config) -> None:
        self._spool = spool
        self._config = config
        self.sessions: dict[str, SessionStock] = {}
        self._unread: list[str] = spool.session_ids()

    @property
    def is_complete(self) -> bool:
        """Whether every session was read."""
        return not self._unread

    def learn(self, most_bytes: int) -> list[SessionStock]:
        """Read the journals of sessions that were not read yet, oldest first.

        Args:
            most_bytes: about how much to read at most; the rest is for the next call.

        Returns:
            Those that were read.
        """
        learnt: list[SessionStock] = []
        while self._unread and most_bytes > 0:
            found = self._session(self._unread.pop(0))
            most_bytes -= found.look()
            found.look_at_deliveries()
            learnt.append(found)
        return learnt

    def follow(self, session_id: str) -> SessionStock:
        """Return what a session holds now; one that is new to the stock is taken in."""
        if session_id in self._unread:
            self._unread.remove(session_id)
        found = self._session(session_id)
        found.look()
        return found

    def _session(self, session_id: str) -> SessionStock:
        if session_id not in self.sessions:
            self.sessions[session_id] = SessionStock(self._spool, session_id, self._config)
        return self.sessions[session_id]

    def look_at_deliveries(self) -> None:
        """Take note of what the uploader did to any session."""
        for one in self.sessions.values():
            one.look_at_deliveries()

    def segments(self) -> Iterator[Segment]:
        """Yield every sealed segment."""
        for one in self.sessions.values():
            yield from one.segments.values()

    def pinned(self) -> list[Segment]:
        """Return every segment that a pin holds."""
        return [segment for one in self.sessions.values() for segment in one.pinned()]

    def leased(self) -> set[Key]:
        """Return the keys of every segment that is about to be sent."""
        return {
            (name, *key) for name, one in self.sessions.items() for key in one.deliveries.leased()
        }

    def disk_bytes(self) -> int:
        """Return what all of it occupies, without what is being written."""
        journals = sum(one.journal_bytes for one in self.sessions.values())
        return journals + sum(one.disk_bytes for one in self.segments())
