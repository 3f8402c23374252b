"""A ring in memory and a recording on the disk, made of the recorder's own parts."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from drivers import camera
from drivers.base import Field
from recorder import record
from recorder.clock import anchor_now, boot_id, boot_ns
from recorder.lane import BLOB_RING_BYTES, RING_BYTES
from recorder.ring_files import ReaderSet, attach
from recorder.schema import LaneSchema
from recorder.session.ledger import LaneLedger
from recorder.session.session import Session
from recorder.spool.journal import Journal
from recorder.spool.recording import Recording
from recorder.spool.session_time import tell_time
from recorder.spool.spool import Spool
from recorder.time_model import TimeModel
from tests.bench.measure import seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from recorder.ring import RingReader, RingWriter
    from tests.bench.measure import Clock

#: A tmpfs, as on the vehicle.
MEMORY = Path("/dev/shm")
SEGMENT_BYTES = 16 << 20
AXES = ("acceleration", "angular_velocity")
IMU = LaneSchema(
    "imu",
    "mpu6050",
    "IMU",
    1000.0,
    0.03,
    tuple(Field(f"{name}.{axis}", ">i2", "1", scale=0.001) for name in AXES for axis in "xyz"),
)
CAMERA = LaneSchema(
    "camera", "frame_source", "CompressedImage", 30.0, 0.01, camera.FIELDS, camera.BLOB
)


@dataclasses.dataclass(frozen=True)
class Pace:
    """How a disk is written to.

    Args:
        device_bytes_per_s: how fast it is at most, or None: as it is. A slower one is made up by
            waiting until it could have taken the bytes.
        interval_s: time from the begin of one commit to that of the next.
    """

    device_bytes_per_s: float | None = None
    interval_s: float = 0.0

    def hold(self, begin_s: float, size_bytes: int) -> None:
        """Wait, from a sync's begin on, until the disk could have taken so many bytes."""
        if self.device_bytes_per_s is not None:
            outlast(begin_s, size_bytes / self.device_bytes_per_s)


UNPACED = Pace()


class Shelf:
    """One lane's ring, of the size that the lane gives it, and a recording that takes from it.

    The ring is on its second lap: what a page costs when it is touched first is paid once in the
    hours that a lane runs.

    Args:
        disk: a folder on the disk; the spool is made in a fresh one in it.
        schema: the lane's.
        payload: of one record, the like of which will be put.
        rows: samples in it.
    """

    def __init__(
        self, disk: Path, schema: LaneSchema, payload: Sequence[bytes], rows: int = 1
    ) -> None:
        self.memory = Path(tempfile.mkdtemp(dir=MEMORY, prefix="recorder-bench-"))
        self.disk = Path(tempfile.mkdtemp(dir=disk))
        size_bytes = BLOB_RING_BYTES if schema.blob else RING_BYTES
        self.ring: RingWriter = attach(self.memory, schema, size_bytes)
        self._readers = ReaderSet(self.memory)
        self._readers.look()
        self.reader: RingReader = next(iter(self._readers))
        self._payload, self._rows = payload, rows
        self._seqno = 0
        self._first_lap()
        self.begun_ns = self._next_ns = boot_ns()
        self._period_ns = schema.period_ns
        session = Session(
            id=str(uuid.uuid4()),
            boot_id=boot_id().hex(),
            type="Bench",
            identifier="bench",
            vehicle="bench",
            announced_boot_ns=self.begun_ns,
            lanes=[LaneLedger(schema.lane, rate_hz=schema.rate_hz)],
        )
        self.spool = Spool.make(self.disk / "spool")
        self.recording = Recording.announce(self.spool, session, {}, SEGMENT_BYTES)

    def _first_lap(self) -> None:
        size_bytes = record.HEADER_BYTES + sum(map(len, self._payload))
        for _ in range(-(-self.ring.capacity_bytes // size_bytes)):
            assert self.ring.put(record.DATA, self._rows, self.ring.state, self._payload, boot_ns())
            for _ in self.reader.records():
                pass
            self.reader.free(self.reader.position)

    def put(self, records: int) -> None:
        """Put so many records, booked as a lane books them."""
        for _ in range(records):
            self.put_payload(self._payload)

    def put_payload(self, payload: Sequence[bytes]) -> None:
        """Put one record of another payload, of as many samples."""
        state = self.ring.state
        booked = dataclasses.replace(
            state, expected=state.expected + self._rows, period_ns=self._period_ns
        )
        fits = self.ring.put(record.DATA, self._rows, booked, payload, self._next_ns)
        assert fits, "the ring is full"
        self._next_ns += self._rows * self._period_ns

    def commit(self, pace: Pace = UNPACED, clock: Clock = time.perf_counter) -> float:
        """Bring the ring to disk, durably, and free it.

        Args:
            pace: what the disk is held to.
            clock: what is told: passing time, or CPU time.

        Returns:
            The seconds that it took.
        """
        return seconds(lambda: self._commit(pace), clock)

    def _commit(self, pace: Pace) -> None:
        freed = self.reader.position
        self.recording.take(self.reader, None)
        begin_s = time.perf_counter()
        self.recording.commit()
        pace.hold(begin_s, self.reader.position - freed)
        self.reader.free(self.reader.position)
        self.recording.settle()

    def end(self) -> None:
        """End the session and tell what time it was, so that it can be uploaded."""
        anchor = anchor_now(self.begun_ns, time.time_ns(), 1000, "gps")
        log = Journal(self.spool.anchors_path(boot_id().hex()))
        log.record(vars(anchor))
        log.close()
        model = TimeModel([anchor])
        tell_time(self.recording.session, model, "bench")
        self.recording.beat(model)
        self.recording.end("shutdown", is_destination=False)

    def close(self) -> None:
        """Remove everything; may be called twice."""
        self.recording.close()
        self.spool.volume.close()
        self._readers.close()
        self.ring.close()
        for folder in (self.memory, self.disk):
            shutil.rmtree(folder, ignore_errors=True)

    def __enter__(self) -> Shelf:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def outlast(begin_s: float, least_s: float) -> None:
    """Wait until so long after the begin, in `time.perf_counter`."""
    left_s = begin_s + least_s - time.perf_counter()
    if left_s > 0:
        time.sleep(left_s)
