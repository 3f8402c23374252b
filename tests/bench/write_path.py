"""From the ring to the disk, beside those who do the same with the same bytes."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sqlite3
import tempfile
import time
import uuid
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from mcap.writer import Writer

from drivers.base import Field
from recorder import record
from recorder.clock import boot_id, boot_ns
from recorder.ring_files import ReaderSet, attach
from recorder.schema import LaneSchema
from recorder.session.ledger import LaneLedger
from recorder.session.session import Session
from recorder.spool.recording import Recording
from recorder.spool.spool import Spool
from tests.bench.measure import Figure, interleaved, seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from recorder.ring import RingReader, RingWriter

RUNS = 7
FRAME_BYTES, FRAMES_PER_COMMIT, COMMITS = 300_000, 15, 20
BURST_ROWS, BURSTS_PER_COMMIT = 10, 50
AXES = ("acceleration", "angular_velocity")
IMU = LaneSchema(
    "imu",
    "mpu6050",
    "IMU",
    1000.0,
    0.03,
    tuple(Field(f"{name}.{axis}", ">i2", "1") for name in AXES for axis in "xyz"),
)
CAMERA = LaneSchema(
    "camera", "frame_source", "CompressedImage", 30.0, 0.01, (Field("frame", "<u8", "1"),), "jpeg"
)


class Bench:
    """A ring and a recording in a fresh folder; the ring lies in memory, the spool on the disk."""

    def __init__(self, schema: LaneSchema, capacity_bytes: int) -> None:
        self.memory = Path(tempfile.mkdtemp(dir="/dev/shm", prefix="recorder-bench-"))
        self.disk = Path(tempfile.mkdtemp(prefix="recorder-bench-", dir=Path.cwd()))
        self.ring: RingWriter = attach(self.memory, schema, capacity_bytes)
        readers = ReaderSet(self.memory)
        readers.look()
        self.reader: RingReader = next(iter(readers))
        session = Session(
            id=str(uuid.uuid4()),
            boot_id=boot_id().hex(),
            type="Bench",
            identifier="bench",
            vehicle="bench",
            announced_boot_ns=boot_ns(),
            lanes=[LaneLedger(schema.lane, rate_hz=schema.rate_hz)],
        )
        self.recording = Recording.announce(Spool.make(self.disk / "spool"), session, {}, 1 << 24)

    def put(self, rows: int, payload: list[bytes]) -> None:
        """Put one record as a lane does."""
        state = dataclasses.replace(self.ring.state, expected=self.ring.state.expected + rows)
        assert self.ring.put(record.DATA, rows, state, payload, boot_ns()), "the ring is full"

    def commit(self) -> None:
        """Bring the ring to disk, durably, and free it."""
        self.recording.take(self.reader, None)
        self.recording.commit()
        self.reader.free(self.reader.position)

    def close(self) -> None:
        self.recording.close()
        self.reader.close()
        self.ring.close()
        shutil.rmtree(self.memory)
        shutil.rmtree(self.disk)


def ours(schema: LaneSchema, rows: int, payload: list[bytes], per_commit: int) -> float:
    """Return the seconds that the commits took, ring to durable, without filling the ring."""
    bench = Bench(schema, 64 << 20)
    taken = 0.0
    for _ in range(COMMITS):
        for _ in range(per_commit):
            bench.put(rows, payload)
        taken += seconds(bench.commit)
    bench.close()
    return taken


def raw(payload: bytes, per_commit: int) -> float:
    """Append and fdatasync the same bytes at the same interval, and nothing else."""
    with tempfile.NamedTemporaryFile(dir=Path.cwd(), prefix="recorder-bench-") as file:

        def commit() -> None:
            os.writev(file.fileno(), [payload] * per_commit)
            os.fdatasync(file.fileno())

        return sum(seconds(commit) for _ in range(COMMITS))


def sqlite(burst: bytes) -> float:
    """One row each, one transaction per commit, WAL and synchronous=FULL."""
    folder = Path(tempfile.mkdtemp(prefix="recorder-bench-", dir=Path.cwd()))
    base = sqlite3.connect(folder / "rows.db", isolation_level=None)
    base.execute("PRAGMA journal_mode=WAL")
    base.execute("PRAGMA synchronous=FULL")
    base.execute("CREATE TABLE imu (boot_ns INTEGER, ax, ay, az, wx, wy, wz)")
    rows = [(index, *range(6)) for index in range(BURST_ROWS * BURSTS_PER_COMMIT)]

    def commit() -> None:
        base.execute("BEGIN")
        base.executemany("INSERT INTO imu VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        base.execute("COMMIT")

    taken = sum(seconds(commit) for _ in range(COMMITS))
    base.close()
    shutil.rmtree(folder)
    return taken


def mcap(burst: bytes) -> float:
    """The Python MCAP writer, which never syncs; one message per row."""
    row = burst[: len(burst) // BURST_ROWS]
    with tempfile.NamedTemporaryFile(dir=Path.cwd(), prefix="recorder-bench-") as file:
        writer = Writer(file)
        writer.start()
        schema = writer.register_schema("imu", "jsonschema", b"{}")
        channel = writer.register_channel("imu", "json", schema)

        def commit() -> None:
            for index in range(BURST_ROWS * BURSTS_PER_COMMIT):
                writer.add_message(channel, index, row, index)
            file.flush()

        taken = sum(seconds(commit) for _ in range(COMMITS))
        writer.finish()
    return taken


def put_us(schema: LaneSchema, rows: int, payload: list[bytes], times: int) -> float:
    """Return the mean µs of a put in a tight loop."""
    bench = Bench(schema, 64 << 20)
    taken = seconds(lambda: [bench.put(rows, payload) for _ in range(times)])
    bench.close()
    return taken / times * 1e6


def copy_us(payload: bytes, times: int) -> float:
    """Return the mean µs of one crc32 and one memcpy of the same bytes."""
    room = bytearray(len(payload) * times)

    def copy() -> None:
        for index in range(times):
            zlib.crc32(payload)
            room[index * len(payload) : (index + 1) * len(payload)] = payload

    copy()
    return seconds(copy) / times * 1e6


def cpu_s_per_gb(frame: bytes) -> float:
    """Return the CPU seconds of ring to durable per GB of frames."""
    bench = Bench(CAMERA, 64 << 20)
    used = 0.0
    for _ in range(COMMITS):
        for _ in range(FRAMES_PER_COMMIT):
            bench.put(1, [bytes(8), frame])
        begin = time.process_time()
        bench.commit()
        used += time.process_time() - begin
    bench.close()
    return used / (COMMITS * FRAMES_PER_COMMIT * FRAME_BYTES / 1e9)


def figures() -> Iterator[Figure]:
    """Measure everything of this room."""
    frame = os.urandom(FRAME_BYTES)
    burst = os.urandom(IMU.row_bytes * BURST_ROWS)
    size_mb = FRAME_BYTES * FRAMES_PER_COMMIT * COMMITS / 1e6
    mine, peer = interleaved(
        RUNS,
        lambda: size_mb / ours(CAMERA, 1, [bytes(8), frame], FRAMES_PER_COMMIT),
        lambda: size_mb / raw(frame, FRAMES_PER_COMMIT),
    )
    yield Figure("frames of 300 kB, durable, vs raw append + fdatasync", mine, peer, "MB/s", 0.65)
    yield Figure("CPU of the spool", cpu_s_per_gb(frame), None, "s/GB", 1.0, is_most=True)
    rows = BURST_ROWS * BURSTS_PER_COMMIT * COMMITS
    mine, lite, cap = interleaved(
        RUNS,
        lambda: rows / ours(IMU, BURST_ROWS, [burst], BURSTS_PER_COMMIT),
        lambda: rows / sqlite(burst),
        lambda: rows / mcap(burst),
    )
    yield Figure("IMU rows durable, 500 per commit, vs SQLite", mine, lite, "rows/s", 4)
    yield Figure("IMU rows durable, 500 per commit, vs MCAP unsynced", mine, cap, "rows/s")
    (large,) = interleaved(RUNS, lambda: 20 * rows / ours(IMU, BURST_ROWS, [burst], 1000))
    yield Figure("IMU rows durable, 10,000 per commit", large, None, "rows/s", 2e6)
    (burst_us,) = interleaved(RUNS, lambda: put_us(IMU, BURST_ROWS, [burst], 2000))
    yield Figure("ring put of an IMU burst", burst_us, None, "us", 15, is_most=True)
    frame_us, peer_us = interleaved(
        RUNS,
        lambda: put_us(CAMERA, 1, [bytes(8), frame], 100),
        lambda: copy_us(frame, 100),
    )
    yield Figure("ring put of a 300 kB frame vs crc32 + copy", frame_us, peer_us, "us", 2, True)


def as_json(found: list[Figure]) -> str:
    """Return the figures as JSON."""
    return json.dumps([dataclasses.asdict(one) for one in found], indent=2)
