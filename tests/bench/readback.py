"""A million IMU rows and a hundred thousand frames: uploaded, read back, and held against what was
made, value by value.

What is expected is worked out here from the numbers that were made, not by the product's own way
from records to columns. Told beside it is what the uploader's process took for it.
"""

from __future__ import annotations

import functools
import itertools
import os
import random
import subprocess
import sys
import time
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from recorder import status
from recorder.config import Config, Lane, Upload, to_json
from recorder.config import Spool as SpoolSettings
from recorder.mosaico import MosaicoClient
from tests.bench.load import cpu_s, high_water_bytes
from tests.bench.measure import Figure, say
from tests.bench.shelf import CAMERA, IMU, Shelf
from tests.leash import LEASH

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from recorder.schema import LaneSchema

IMU_ROWS, BURST_ROWS, IMU_LIMIT_S = 1_000_000, 50, 120.0
FRAMES, FRAME_BYTES = 100_000, 2_000
#: Frames of the long backlog: as a front camera's.
BACKLOG_FRAME_BYTES = 300_000
LOOK_S = 0.1
#: Bytes per second that the slowest disk takes; twice, for spool and station.
LEAST_BYTES_PER_S = 10e6
_AXES = [f"{name}.{axis}" for name in ("acceleration", "angular_velocity") for axis in "xyz"]


@dataclass(frozen=True)
class Used:
    """What the uploader's process took: its highest RSS, and CPU time in s."""

    high_bytes: int
    cpu_s: float


def figures(disk: Path, url: str) -> Iterator[Figure]:
    """Upload, read back, compare.

    Args:
        disk: a folder on the disk.
        url: of the ground station.

    Raises:
        RuntimeError: a row is missing, doubled or another.
    """
    dice = random.Random(7)
    bursts = [dice.randbytes(IMU.row_bytes * BURST_ROWS) for _ in range(IMU_ROWS // BURST_ROWS)]
    with Shelf(disk, IMU, [bursts[0]], BURST_ROWS) as shelf:
        first = shelf.ring.state.seqno  # behind the lap that the shelf made
        _fill(shelf, ([one] for one in bursts))
        used = drained(shelf, IMU, url, IMU_LIMIT_S)
        rows = _compared(url, "imu", _expected_rows(bursts, first), _imu_rows)
    yield Figure("IMU rows uploaded, read back and equal", rows, None, "rows", IMU_ROWS)
    yield from _told(f"{IMU_ROWS} IMU rows", used)
    with Shelf(disk, CAMERA, _frame(0, FRAME_BYTES)) as shelf:
        first = shelf.ring.state.seqno
        _fill(shelf, (_frame(number, FRAME_BYTES) for number in range(FRAMES)))
        used = drained(shelf, CAMERA, url, IMU_LIMIT_S)
        expected = ((first + number, _picture(number, FRAME_BYTES)) for number in range(FRAMES))
        rows = _compared(url, "camera", expected, _frame_rows)
    what = f"frames of {FRAME_BYTES} bytes"
    yield Figure(f"{what}, uploaded, read back and equal", rows, None, "rows", FRAMES)
    yield from _told(f"{FRAMES} {what}", used)


def backlog(disk: Path, url: str, gigabytes: float) -> Iterator[Figure]:
    """Let the uploader's process work off a backlog of frames; tell what it took.

    Args:
        disk: a folder on the disk with room for twice as much.
        url: of the ground station.
        gigabytes: how much waits.
    """
    size_bytes = gigabytes * 1e9
    frames = round(size_bytes / BACKLOG_FRAME_BYTES)
    with Shelf(disk, CAMERA, _frame(0, BACKLOG_FRAME_BYTES)) as shelf:
        say(f"backlog: {gigabytes:g} GB are written ")
        _fill(shelf, (_frame(number, BACKLOG_FRAME_BYTES) for number in range(frames)))
        say("and uploaded\n")
        begin_s = time.perf_counter()
        used = drained(shelf, CAMERA, url, 60 + size_bytes / LEAST_BYTES_PER_S)
        taken_s = time.perf_counter() - begin_s
    what = f"a backlog of {gigabytes:g} GB"
    yield from _told(what, used)
    yield Figure(f"{what}: CPU of the upload's process", used.cpu_s / gigabytes, None, "s/GB")
    yield Figure(f"{what}, spool to done", size_bytes / taken_s / 1e6, None, "MB/s")


def _told(what: str, used: Used) -> Iterator[Figure]:
    name = f"the upload's process, {what}"
    yield Figure(f"{name}: highest RSS", used.high_bytes / 1e6, None, "MB", 110, is_most=True)
    yield Figure(f"{name}: CPU", used.cpu_s, None, "s")


def _fill(shelf: Shelf, payloads: Iterator[list[bytes]]) -> None:
    waiting_bytes = 0
    for payload in payloads:
        shelf.put_payload(payload)
        waiting_bytes += sum(map(len, payload))
        if waiting_bytes > shelf.ring.capacity_bytes // 4:
            shelf.commit()
            waiting_bytes = 0
    shelf.commit()
    shelf.end()


# --- the upload


def drained(shelf: Shelf, schema: LaneSchema, url: str, limit_s: float) -> Used:
    """Run the upload's process until it has sent everything.

    Raises:
        RuntimeError: it has not, in time.
    """
    folder = shelf.disk / "upload"
    folder.mkdir()
    (folder / "spool").symlink_to(shelf.disk / "spool")
    config = Config(
        lanes=[Lane(name=schema.lane, driver="none")],
        spool=SpoolSettings(directory=folder, run_dir=shelf.memory / "run"),
        upload=Upload(server=url),
    )
    command = [sys.executable, "-m", "recorder.uploader", to_json(config)]
    environment = {**os.environ, **LEASH.environment}
    process = subprocess.Popen(
        command, stderr=subprocess.DEVNULL, env=environment, pass_fds=LEASH.fds
    )
    until_s = time.monotonic() + limit_s
    try:
        while not (status.read(config.spool.run_dir, "upload") or {}).get("done"):
            if process.poll() is not None or time.monotonic() > until_s:
                raise RuntimeError("the upload's process did not send its backlog")
            time.sleep(LOOK_S)
        return Used(high_water_bytes(process.pid), cpu_s(process.pid))
    finally:
        process.terminate()
        process.wait()


# --- what was made, and what is there


def _picture(number: int, size_bytes: int) -> bytes:
    """Make a picture that no other is equal to, not even after a cut."""
    word = number.to_bytes(8, "little")
    return word + _filling(number % 16, size_bytes - 16) + word


@functools.cache
def _filling(seed: int, size_bytes: int) -> bytes:
    return random.Random(seed).randbytes(size_bytes)


def _frame(number: int, size_bytes: int) -> list[bytes]:
    return [bytes(CAMERA.row_bytes), _picture(number, size_bytes)]


def _expected_rows(bursts: list[bytes], first: int) -> Iterator[tuple[float, ...]]:
    counts = array("h", b"".join(bursts))
    counts.byteswap()  # the chip sends the high byte first
    numbers = itertools.count(first)
    for at in range(0, len(counts), len(_AXES)):
        yield (next(numbers), *(one * 0.001 for one in counts[at : at + len(_AXES)]))


def _imu_rows(batch: pa.RecordBatch) -> Iterator[tuple[Any, ...]]:
    names = ["header.sample_counter", *_AXES]
    flat = pa.Table.from_batches([batch]).flatten()
    return zip(*(flat.column(name).to_pylist() for name in names), strict=True)


def _frame_rows(batch: pa.RecordBatch) -> Iterator[tuple[Any, ...]]:
    flat = pa.Table.from_batches([batch.select(["header", "data"])]).flatten()
    numbers = flat.column("header.sample_counter").to_pylist()
    return zip(numbers, flat.column("data").to_pylist(), strict=True)


def _compared(url: str, lane: str, expected: Iterator[tuple[Any, ...]], rows_of: Any) -> int:
    """Compare every row of a lane on the server with what was made, in order.

    Returns:
        How many they are.
    """
    count, last_ns = 0, -(2**63)
    with MosaicoClient.connect_url(url, timeout_s=60) as client:
        for locator in _topics(client, lane):
            for batch in client.read(locator):
                for time_ns in batch.column("timestamp_ns").to_pylist():
                    if time_ns <= last_ns:
                        raise RuntimeError(f"{locator}: {time_ns} is not after {last_ns}")
                    last_ns = time_ns
                for found in rows_of(batch):
                    wanted = next(expected, None)
                    if found != wanted:
                        raise RuntimeError(f"{locator}: row {count} is {found}, not {wanted}")
                    count += 1
    if (missing := next(expected, None)) is not None:
        raise RuntimeError(f"{lane}: {count} rows are there, and {missing} is not")
    return count


def _topics(client: MosaicoClient, lane: str) -> list[str]:
    """Return the finalized topics of a lane in the newest sequence that has it, in order."""
    found = [client.describe_sequence(name) for name in client.sequences()]
    topics = [
        one.locator for sequence in found if sequence for one in sequence.topics if one.locked
    ]
    return sorted(one for one in topics if one.partition("/")[2].partition("/")[0] == lane)
