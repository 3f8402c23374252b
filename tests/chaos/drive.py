"""A known spool: what was acquired, and what of it the spool holds for certain.

Several sessions of one boot with roll-over, losses in the ring, a segment that was given up,
records that do not verify any more, marks and an orphan. What must be on the server is worked out
from what was acquired and from the segments, by a reader of their bytes that knows nothing of the
recorder.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from recorder import record
from recorder.ring import RingWriter
from recorder.ring_files import attach
from recorder.schema import LaneSchema
from recorder.spool.journal import Journal, read
from tests.recorder.spool.independent_reader import RECORD, read_segment
from tests.recorder.upload.made import CAMERA, NAN, PERIOD_NS, UTC_NS, Drive, picture_row

LANES = ("gps", "imu", "camera")
#: Small rings, so that one that nobody reads is full soon.
RING_BYTES = {"gps": 1 << 14, "imu": 1 << 14, "camera": 1 << 16}
PICTURE_BYTES = 6_000


@dataclass
class Recorded:
    """One session, as the server must hold it.

    Args:
        id: its id.
        folder: its folder in the spool, from the vehicle's directory on.
        rows: by lane, every row that was acquired and got into the spool.
        start_utc_ns: UTC of boot time 0.
    """

    id: str
    folder: str
    rows: dict[str, list[dict[str, Any]]]
    start_utc_ns: int

    def expected(self, data: Path, lane: str, also: Collection[int] = ()) -> list[dict[str, Any]]:
        """Return the lane's rows that the spool holds, as the server must have them.

        Args:
            data: the vehicle's directory.
            lane: which.
            also: numbers of rows that it held once.
        """
        held = held_seqnos(data / self.folder / lane) | set(also)
        found: list[dict[str, Any]] = []
        for row in self.rows[lane]:
            if row["header.sample_counter"] in held:
                plain = {key: value for key, value in row.items() if key != "boot_ns"}
                found.append({"timestamp_ns": row["boot_ns"] + self.start_utc_ns, **plain})
        return found


@dataclass
class Known:
    """Everything that a vehicle recorded; `data` is its directory."""

    data: Path
    sessions: list[Recorded] = field(default_factory=list)


def held_seqnos(folder: Path) -> set[int]:
    """Return the numbers of all samples that a lane's segments hold."""
    found: set[int] = set()
    for path in sorted(folder.glob("*.seg")):
        segment = read_segment(path)
        for one in segment.records if segment else ():
            found.update(range(one.seqno, one.seqno + one.rows))
    return found


class ChaosDrive(Drive):
    """A drive on which things go wrong."""

    def _ring(self, schema: LaneSchema) -> RingWriter:
        return attach(self.folder / "run" / "rings", schema, RING_BYTES[schema.lane])

    def _book(self, lane: str, at_ns: int, seqno: int, values: dict[str, Any]) -> None:
        also: dict[str, Any] = {}
        if lane == "gps":
            # What is not known of a vector that is there is NaN.
            known = {"velocity.y": NAN, "velocity.z": NAN} if values["status.status"] else {}
            also = {"status.service": 3, **known}
        super()._book(lane, at_ns, seqno, {**values, **also})

    def pictures(self, frames: int) -> None:
        """Acquire small pictures."""
        self.camera(frames, self.random.randint(PICTURE_BYTES // 2, PICTURE_BYTES))

    def overflow(self, frames: int) -> None:
        """Acquire pictures that nobody takes from the ring until it was full."""
        ring = self._ring(CAMERA)
        for _ in range(frames):
            at_ns, number = self._next_ns("camera"), len(self.rows["camera"])
            picture = self.random.randbytes(PICTURE_BYTES)
            row = picture_row(number, picture)
            seqno = ring.state.seqno
            booked = replace(
                ring.state,
                expected=ring.state.expected + 1,
                boot_ns=at_ns,
                period_ns=PERIOD_NS,
            )
            if ring.put(record.DATA, 1, booked, [row, picture], at_ns):
                self._book("camera", at_ns, seqno, {"data": picture, "format": "jpeg"})
        self._take(ring)

    def mark(self, label: str) -> None:
        """Let somebody mark an instant."""
        self.recording.note({"entry": "mark", "label": label, "boot_ns": self.start_ns + 5})

    def recorded(self, utc_of_boot_ns: int) -> Recorded:
        """Return what the session holds."""
        folder = self.spool.session_dir(self.id).relative_to(self.folder / "data")
        return Recorded(self.id, str(folder), dict(self.rows), utc_of_boot_ns)


def give_up(data: Path, session: Recorded, lane: str, index: int) -> set[int]:
    """Give a sealed segment up as the quota does; return the numbers of its rows."""
    folder = data / session.folder
    paths = sorted((folder / lane).glob("*.seg"))
    sealed = {one["file"]: one for one in read(folder / "journal") if one["entry"] == "sealed"}
    known = [path for path in paths if path.name in sealed]
    if index >= len(known):
        return set()
    path = known[index]
    segment = read_segment(path)
    records = segment.records if segment else []
    tombstone = {"entry": "evicted", "lane": lane, "file": path.name, "delivered": False}
    log = Journal(folder / "journal")
    log.record({**tombstone, "rows": sealed[path.name]["rows"], "leased": True})
    log.close()
    path.unlink()
    return {number for one in records for number in range(one.seqno, one.seqno + one.rows)}


def damage(data: Path, session: Recorded, lane: str, which: float) -> set[int]:
    """Spoil one byte in one record of a lane, if it has any; return the numbers of its rows."""
    paths = sorted((data / session.folder / lane).glob("*.seg"))
    segment = read_segment(paths[int(which * len(paths))]) if paths else None
    records = [one for one in segment.records if one.rows] if segment else []
    if not records:
        return set()
    one = records[len(records) // 2]
    with paths[int(which * len(paths))].open("r+b") as file:  # others may read it meanwhile
        at = one.offset + RECORD.size + len(one.payload) // 2
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 0x40]))
    return set(range(one.seqno, one.seqno + one.rows))


def make(folder: Path, seed: int) -> Known:
    """Record three sessions."""
    drive = ChaosDrive(folder)
    drive.random.seed(seed)
    known = Known(folder / "data")
    drive.tell_time()
    utc_of_boot_ns = UTC_NS - drive.start_ns
    for number, reason in enumerate(("roll_over", "shutdown", "power_loss")):
        if number:
            drive.begin()
        _fill(drive, number)
        drive.end(reason)
        known.sessions.append(drive.recorded(utc_of_boot_ns))
    give_up(known.data, known.sessions[1], "camera", 0)
    damage(known.data, known.sessions[1], "imu", 0.0)
    damage(known.data, known.sessions[2], "camera", 0.5)
    return known


def _fill(drive: ChaosDrive, number: int) -> None:
    for turn in range(2):
        drive.imu(10 + drive.random.randint(0, 8))
        drive.gps(6)
        drive.pictures(14)
        drive.beat()
        if turn == number == 0:
            drive.overflow(14)
            drive.mark("pothole")
