"""Recordings that lose samples everywhere, sent to a real ground station, and audited at both ends.

A run is one recording without processes: real rings, a real recording, a real uploader. Lanes lose
samples in the device, in the ring, to evictions, and on a disk whose bytes change; the server may
refuse a lane.
"""

from __future__ import annotations

import random
import struct
import zlib
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from drivers.base import Sample
from recorder import record
from recorder.audit import audit_server, audit_spool
from recorder.booking import Booking
from recorder.mosaico import MosaicoClient
from recorder.ring_files import attach
from recorder.spool.segment import SegmentReader
from recorder.uploader import upload_once
from tests.recorder.upload.made import CAMERA, FIX, GPS, IMU, Drive

if TYPE_CHECKING:
    from pathlib import Path

    from recorder.audit import Audit
    from recorder.schema import LaneSchema

S = 1_000_000_000
#: So small that it is full when nothing was taken for some samples.
RING_BYTES = 4096
BURST = 10


class LossyDrive(Drive):
    """A recording whose lanes lose samples; the books are kept by the real `Booking`.

    Args:
        folder: for spool, rings and journals.
        dice: say what is lost.
        refuses_imu: whether no server takes the IMU's rows.
    """

    def __init__(self, folder: Path, dice: random.Random, *, refuses_imu: bool = False) -> None:
        imu = replace(IMU, ontology="NoSuchThing", on_error="ignore") if refuses_imu else IMU
        super().__init__(folder, (GPS, imu, CAMERA))
        self._dice = dice
        self._bookings: dict[str, Booking] = {}
        self._slots: Counter[str] = Counter()

    def acquire(self, schema: LaneSchema) -> None:
        """Let a lane acquire one burst, row or picture, and the spool take it or not."""
        ring = attach(self.folder / "run" / "rings", schema, RING_BYTES)
        if schema.lane not in self._bookings:
            self._bookings[schema.lane] = Booking(
                ring.state, schema.period_ns, self.start_ns, required=True, tolerance=0.03
            )
        booking = self._bookings[schema.lane]
        booking.state = ring.state
        lost = self._dice.randint(1, 5) if self._dice.random() < 0.1 else 0
        slot = self._slots[schema.lane] + lost
        booking.is_away = lost > 3
        rows, payload = self._rows(schema)
        at_ns = self.start_ns + slot * schema.period_ns
        burst_ns = schema.period_ns if rows > 1 else 0
        number = None if schema.lane == "imu" else slot
        booked = booking.sample(Sample(at_ns, rows, payload, burst_ns, number, gap=lost > 0))
        ring.put(record.DATA, rows, booked, payload, at_ns)
        self._slots[schema.lane] = slot + rows
        if self._dice.random() < 0.3:
            self._take(ring)
        else:
            ring.close()

    def _rows(self, schema: LaneSchema) -> tuple[int, list[bytes]]:
        if schema.lane == "imu":
            counts = [self._dice.randint(-32768, 32767) for _ in range(6 * BURST)]
            return BURST, [struct.pack(f">{6 * BURST}h", *counts)]
        if schema is GPS:
            place = [self._dice.random() for _ in range(4)]
            return 1, [FIX.pack(-(2**63), *place, self._dice.randrange(2), 3, 4)]
        picture = self._dice.randbytes(self._dice.randrange(1, 2000))
        known = {"frame": self._slots["camera"], "crc32": zlib.crc32(picture)}
        (row,) = CAMERA.row_structs()
        return 1, [row.pack(*(known.get(one.name, 1) for one in CAMERA.fields)), picture]

    def evict(self, share: float) -> int:
        """Give up a share of the segments that are sealed; return how many samples that is."""
        rows = 0
        gone = {one["file"] for one in self._entries("evicted")}
        for one in self._entries("sealed"):
            if one["file"] in gone or self._dice.random() >= share:
                continue
            stone = {key: one[key] for key in ("lane", "file", "rows")}
            self.recording.bury({"entry": "evicted", **stone, "delivered": False})
            self.recording.sync()
            (self.spool.session_dir(self.id) / one["lane"] / one["file"]).unlink()
            rows += one["rows"]
        return rows

    def rot(self) -> int:
        """Flip a byte of a record in some of the segments; return in how many."""
        rotten = 0
        for path in sorted(self.spool.session_dir(self.id).glob("*/*.seg")):
            if self._dice.random() < 0.2:
                with SegmentReader(path) as segment:
                    offsets = [offset for offset, _ in segment.scan()]
                at = self._dice.choice(offsets) + self._dice.randrange(120)
                with path.open("r+b") as file:
                    file.seek(at)
                    (byte,) = file.read(1)
                    file.seek(at)
                    file.write(bytes([byte ^ 0x10]))
                rotten += 1
        return rotten

    def _entries(self, kind: str) -> list[dict[str, Any]]:
        return [one for one in self.spool.entries(self.id) if one["entry"] == kind]


def live(drive: LossyDrive, dice: random.Random) -> int:
    """Record for a while; return how many samples were given up."""
    drive.tell_time()
    evicted = 0
    for _ in range(dice.randint(2, 6)):
        for schema in drive.schemas.values():
            for _ in range(dice.randint(1, 60)):
                drive.acquire(schema)
        for lane in drive.recording.lanes.values():
            if dice.random() < 0.5:
                lane.seal()
        drive.commit()
        drive.recording.settle()
        drive.beat()
        evicted += drive.evict(0.2) if dice.random() < 0.3 else 0
    reason = dice.choice(["shutdown", "operator", "power_loss"])
    if reason == "power_loss":
        session = drive.recording.session
        session.unaccounted_max_ns = round(session.heartbeat_s * S)
    drive.end(reason)
    return evicted


def run(folder: Path, url: str, number: int, tally: Counter[str]) -> list[str]:
    """Record, audit, upload and audit at both ends.

    Args:
        folder: an empty one.
        url: of a ground station.
        number: the seed.
        tally: gets what happened.

    Returns:
        What the audits found, one sentence each.
    """
    dice = random.Random(number)
    drive = LossyDrive(folder, dice, refuses_imu=dice.random() < 0.25)
    try:
        tally["evicted"] += live(drive, dice)
    finally:
        drive.recording.close()
    found = [audit_spool(drive.spool.directory, drive.id)]
    tally["rotten segments"] += drive.rot() if dice.random() < 0.3 else 0
    done = upload_once(drive.config(url, part_bytes=dice.choice([20_000, 1 << 20]))).done
    assert done == [drive.id]
    found.append(audit_spool(drive.spool.directory, drive.id))
    with MosaicoClient.connect_url(url) as client:
        found.append(audit_server(client, drive.id))
    for one in found:
        _count(one, tally)
    return [text for one in found for text in one.all_differences]


def _count(found: Audit, tally: Counter[str]) -> None:
    tally["audits"] += 1
    for lane in found.lanes:
        tally["samples"] += lane.recorded["stored"]
        for key, count in lane.recorded.items():
            if key.startswith("lost_"):
                tally[key] += count
