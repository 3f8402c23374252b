"""Recordings of hours made in a moment: real rings, a real recording; stamps are data."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drivers.base import Field, Sample
from recorder import record
from recorder.booking import Booking
from recorder.clock import boot_id, boot_ns
from recorder.ring import RingReader, RingWriter
from recorder.ring_files import attach
from recorder.schema import LaneSchema
from recorder.session.ledger import LaneLedger
from recorder.session.session import Session
from recorder.spool.left_in_ring import counted
from recorder.spool.recording import Recording
from recorder.spool.spool import Spool

S = 1_000_000_000
ID = "5d0c6a0e-1111-4222-8333-444455556666"
RING_BYTES = 64 * 1024
ROW = (Field("value", "<u1", "1"),)
Stretch = tuple[int, int]


@dataclass
class Lane:
    """A lane with a device that numbers its samples.

    Args:
        rate_hz: samples per second.
        ring: the lane's side of the ring.
        reader: the spool's.
        booking: its books.
        begin_ns: when slot 0 was.
    """

    rate_hz: float
    ring: RingWriter
    reader: RingReader
    booking: Booking
    begin_ns: int

    def put(self, first: int, rows: int) -> None:
        """Acquire a burst of samples from a slot on."""
        period_ns = round(S / self.rate_hz)
        at_ns = self.begin_ns + round(first * S / self.rate_hz)
        self.booking.state = self.ring.state
        booked = self.booking.sample(Sample(at_ns, rows, [], period_ns, counter=first))
        assert self.ring.put(record.DATA, rows, booked, [bytes(rows)], at_ns)


class Filled:
    """A recording whose lanes are filled to order.

    Args:
        folder: for rings and spool.
        rates: lane to samples per second.
        boot: the boot that it says it was recorded in, or empty: this one.
        begin_ns: when it was announced, on that boot's clock.
        segment_bytes: of its segments.
    """

    def __init__(
        self,
        folder: Path,
        rates: dict[str, float],
        *,
        boot: str = "",
        begin_ns: int = 0,
        segment_bytes: int = 1 << 20,
    ) -> None:
        self.folder = folder
        self.begin_ns = begin_ns or boot_ns()
        self.spool = Spool.make(folder / "data" / "spool")
        session = Session(
            ID,
            boot or boot_id().hex(),
            "EdgeRecording",
            "",
            "car",
            announced_boot_ns=self.begin_ns,
            lanes=[LaneLedger(name, rate_hz=rate_hz) for name, rate_hz in rates.items()],
        )
        self.recording = Recording.announce(self.spool, session, {}, segment_bytes)
        (folder / "rings").mkdir()
        self.lanes = {name: self._lane(name, rate_hz) for name, rate_hz in rates.items()}

    def renew(self, name: str, begin_ns: int) -> None:
        """Change a lane's set-up, so that it begins another ring; its slot 0 is then."""
        old = self.lanes[name]
        old.reader.close()
        old.ring.close()
        self.lanes[name] = self._lane(name, old.rate_hz, {"renewed": begin_ns})
        self.lanes[name].begin_ns = begin_ns

    def _lane(self, name: str, rate_hz: float, metadata: dict[str, int] | None = None) -> Lane:
        facts = metadata or {}
        schema = LaneSchema(name, "numbered", "Numbered", rate_hz, 0.01, ROW, metadata=facts)
        ring = attach(self.folder / "rings", schema, RING_BYTES)
        booking = Booking(
            ring.state, schema.period_ns, self.begin_ns, required=True, tolerance=0.01
        )
        return Lane(rate_hz, ring, RingReader(ring.path), booking, self.begin_ns)

    @property
    def session(self) -> Session:
        """Its record."""
        return self.recording.session

    def ledger(self, lane: str) -> LaneLedger:
        """A lane's account."""
        return next(one for one in self.session.lanes if one.name == lane)

    def fill(
        self,
        name: str,
        seconds: float,
        *,
        lost: Sequence[Stretch] = (),
        away: Sequence[Stretch] = (),
        seal_s: int = 0,
    ) -> None:
        """Record a lane for so long, in bursts of a second at most.

        Args:
            name: the lane.
            seconds: how long, from slot 0 on.
            lost: stretches of slots, first and behind the last, that the device loses.
            away: likewise, for which it is unplugged.
            seal_s: seconds of a segment; 0: as many as fit.
        """
        lane = self.lanes[name]
        count = round(seconds * lane.rate_hz)
        per_s = round(lane.rate_hz)
        ends_away = {end for _, end in away}
        for begin, end in _without(count, sorted([*lost, *away])):
            lane.booking.is_away = lane.booking.is_away or begin in ends_away
            for first in (begin, *range((begin // per_s + 1) * per_s, end, per_s)):
                whole = min((first // per_s + 1) * per_s, end)
                lane.put(first, whole - first)
                self.take(name)
                if seal_s and whole % (seal_s * per_s) == 0:
                    self.recording.lanes[name].seal()

    def take(self, name: str) -> None:
        """Bring to disk what a lane's ring holds."""
        reader = self.lanes[name].reader
        self.recording.take(reader, None)
        reader.free(reader.position)

    def commit(self) -> None:
        """Make it durable, and journal what that made true."""
        self.recording.commit()
        self.recording.settle()

    def beat(self) -> None:
        """Give a heartbeat that counts what the rings hold; durable on return."""
        with counted(self.recording.lanes, [one.reader for one in self.lanes.values()]):
            self.recording.note_session()
        self.recording.commit()

    def evict(self, lane: str, segments: int) -> int:
        """Give the oldest sealed segments of a lane up; return how many samples that is."""
        sealed = [one for one in self.entries("sealed") if one["lane"] == lane][:segments]
        for one in sealed:
            stone = {key: one[key] for key in ("lane", "file", "rows")}
            self.recording.bury({"entry": "evicted", **stone, "delivered": False})
            self.recording.sync()
            (self.spool.session_dir(ID) / lane / one["file"]).unlink()
        return sum(one["rows"] for one in sealed)

    def entries(self, kind: str) -> list[dict[str, Any]]:
        """Entries of the journal."""
        return [one for one in self.spool.entries(ID) if one["entry"] == kind]

    def end(self, reason: str = "operator") -> None:
        """End it; the spool is where it was to go."""
        self.recording.end(reason, is_destination=True)

    def recover(self) -> None:
        """Take it up as after a loss of power, and end it so."""
        self.recording.close()
        session = self.spool.session(ID)
        self.recording = Recording.resume(self.spool, session, 1 << 20, None)
        session.unaccounted_max_ns = round(session.heartbeat_s * S)
        self.end("power_loss")

    def close(self) -> None:
        """Let go of everything."""
        self.recording.close()
        for one in self.lanes.values():
            one.reader.close()
            one.ring.close()
        self.spool.volume.close()


def _without(count: int, gaps: Sequence[Stretch]) -> Iterator[Stretch]:
    begin = 0
    for first, end in gaps:
        if first > begin:
            yield begin, first
        begin = end
    if count > begin:
        yield begin, count


@contextlib.contextmanager
def filled(folder: Path, rates: dict[str, float], **options: Any) -> Iterator[Filled]:
    one = Filled(folder, rates, **options)
    try:
        yield one
    finally:
        one.close()
