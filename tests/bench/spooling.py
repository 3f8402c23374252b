"""The spool's process in this one: its real commits of what several rings hold."""

from __future__ import annotations

import dataclasses
import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from drivers.nmea_gps import NmeaGps
from recorder import record
from recorder.clock import anchor_now, boot_ns
from recorder.config import Config, Lane, Session, Spool, Upload
from recorder.lane import BLOB_RING_BYTES, RING_BYTES
from recorder.ring_files import attach
from recorder.schema import LaneSchema
from recorder.spooler import Spooler
from tests.bench.shelf import CAMERA, IMU, MEMORY, SEGMENT_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from recorder.ring import RingWriter

GPS = LaneSchema("gps", "nmea_gps", "GPS", 10.0, 0.01, NmeaGps.fields)
_LANES = {
    "gps": Lane(name="gps", driver="nmea_gps", rate_hz=10.0, options={"device": "none"}),
    "imu": Lane(name="imu", driver="mpu6050", rate_hz=1000.0),
    "camera": Lane(name="camera", driver="frame_source", options={"device": "unix:none"}),
}


#: Commits between two heartbeats, and between two anchors: both come every ten seconds.
COMMITS_PER_BEAT = 20


@dataclass(frozen=True)
class Flow:
    """What one lane gives from commit to commit.

    Args:
        schema: the lane's.
        rows: samples in a record.
        records: in a commit.
        blob_bytes: behind the one row of a record.
    """

    schema: LaneSchema
    rows: int
    records: int
    blob_bytes: int = 0

    @property
    def commit_bytes(self) -> int:
        """What it gives to one commit."""
        payload_bytes = self.rows * self.schema.row_bytes + self.blob_bytes
        return self.records * (record.HEADER_BYTES + payload_bytes)


#: Half a second of GPS at 10 Hz, of an MPU-6050 at 1 kHz, and of a camera at 30 Hz.
GPS_FLOW = Flow(GPS, 1, 5)
ALL_FLOWS = (Flow(CAMERA, 1, 15, 300_000), Flow(IMU, 50, 10), GPS_FLOW)


def spool_config(
    directory: Path, run_dir: Path, flows: Sequence[Flow], interval_s: float = 0.5
) -> Config:
    """Return the settings of a recorder that uploads nothing.

    Args:
        directory: the recorder's directory on disk.
        run_dir: where its rings are.
        flows: one for each lane.
        interval_s: from one commit to the next; heartbeats are as far apart in commits as in life.
    """
    return Config(
        lanes=[_LANES[one.schema.lane] for one in flows],
        session=Session(heartbeat_s=interval_s * COMMITS_PER_BEAT),
        spool=Spool(
            directory=directory,
            run_dir=run_dir,
            segment_bytes=SEGMENT_BYTES,
            free_floor_bytes=0,
        ),
        upload=Upload(mode="off"),
    )


class Spooling:
    """A spooler of this process, and the rings that it reads; a context manager.

    Args:
        directory: the recorder's directory on disk.
        flows: one for each lane.
        interval_s: from one commit to the next; heartbeats are as far apart in commits as in life.
    """

    def __init__(self, directory: Path, flows: Sequence[Flow], interval_s: float = 0.5) -> None:
        self._memory = Path(tempfile.mkdtemp(dir=MEMORY, prefix="recorder-bench-"))
        self.config = spool_config(directory, self._memory, flows, interval_s)
        self._flows = flows
        self._spooler = Spooler(self.config)
        self._rings = [_ring(self.config.rings_dir, one.schema) for one in flows]
        self._parts = [_parts(one) for one in flows]
        self._commits = 0

    def put(self) -> None:
        """Put what the lanes gather between two commits."""
        for flow, ring, payload in zip(self._flows, self._rings, self._parts, strict=True):
            for _ in range(flow.records):
                state = ring.state
                booked = dataclasses.replace(
                    state, expected=state.expected + flow.rows, period_ns=flow.schema.period_ns
                )
                fits = ring.put(record.DATA, flow.rows, booked, payload, boot_ns())
                assert fits, "the ring is full"
            if flow.schema is GPS and self._commits % COMMITS_PER_BEAT == 0:
                anchor = anchor_now(boot_ns(), time.time_ns(), 1000, "gps").pack()
                assert ring.put(record.ANCHOR, 0, ring.state, [anchor], boot_ns())
        self._commits += 1

    def commit(self) -> None:
        """Do what the spool's process does every half second."""
        self._spooler.commit()

    def remove(self) -> None:
        """Let go of everything and remove what is on the disk."""
        self.close()
        shutil.rmtree(self.config.spool_dir)

    def close(self) -> None:
        """Let go of everything; what is on the disk stays. May be called twice."""
        self._spooler.close()
        for ring in self._rings:
            ring.close()
        shutil.rmtree(self._memory, ignore_errors=True)

    def __enter__(self) -> Spooling:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _ring(directory: Path, schema: LaneSchema) -> RingWriter:
    return attach(directory, schema, BLOB_RING_BYTES if schema.blob else RING_BYTES)


def _parts(flow: Flow) -> list[bytes]:
    row = os.urandom(flow.rows * flow.schema.row_bytes)
    return [row, os.urandom(flow.blob_bytes)] if flow.blob_bytes else [row]
