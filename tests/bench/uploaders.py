"""``python -m tests.bench.uploaders``: many vehicles upload to one ground station at once.

Each vehicle is a connection with a sequence, a session and topics of its own, and is done when all
of them are finalized. First one vehicle alone, then all at once, the same work in sum; told are
rows and bytes per second, the waits for a put's OK, and the station's memory.
"""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from recorder.ground.beat import INTERVAL_S
from recorder.mosaico import MosaicoClient, ontology
from tests.bench.load import high_water_bytes, resident_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.pool import Pool

#: As the uploader sends them: rows of 1 kHz, pictures of a front camera.
IMU_ROWS, FRAMES, FRAME_BYTES, BATCHES = 10_000, 10, 300_000, 4
#: Processes that play vehicles: Python's own lock must not be what is measured.
PLAYERS = 2
END_S = 20


@dataclass(frozen=True)
class Told:
    """What a run measured: seconds in all, and seconds of each put."""

    whole_s: float
    puts_s: list[float]


def main() -> int:
    """Measure, print, and return the exit code: 1 if rows are missing."""
    chosen = _arguments()
    with (
        tempfile.TemporaryDirectory(dir=Path.cwd(), prefix="bench-") as folder,
        _station(Path(folder)) as (process, url),
        _players() as players,
    ):
        _run(players, url, PLAYERS, 1)  # what only the first call costs
        idle_mb = high_water_bytes(process.pid) / 1e6
        alone = _run(players, url, 1, chosen.vehicles * chosen.parts)
        alone_mb = high_water_bytes(process.pid) / 1e6
        together = _run(players, url, chosen.vehicles, chosen.parts)
        together_mb = high_water_bytes(process.pid) / 1e6
        missing = _missing_rows(url, PLAYERS + 2 * chosen.vehicles * chosen.parts)
        time.sleep(3 * INTERVAL_S)  # then the station has given back what it does not need
        after_mb = resident_bytes(Path(f"/proc/{process.pid}/smaps").read_text())[0] / 1e6
    work = chosen.vehicles * chosen.parts
    _print("1 vehicle", alone, work, alone_mb - idle_mb)
    _print(f"{chosen.vehicles} vehicles", together, work, together_mb - idle_mb)
    _say(f"{'together / alone':14} {alone.whole_s / together.whole_s:.2f} of the throughput")
    _say(
        f"station: {idle_mb:.0f} MB at rest, {together_mb:.0f} MB at most,"
        f" {after_mb:.0f} MB afterwards; {missing} rows missing"
    )
    return 1 if missing else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.bench.uploaders", description=__doc__)
    parser.add_argument("--vehicles", type=int, default=50, help="at once, 50")
    parser.add_argument("--parts", type=int, default=2, help="topics of each kind per vehicle, 2")
    return parser.parse_args()


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def _print(who: str, told: Told, work: int, more_mb: float) -> None:
    rows = work * BATCHES * (IMU_ROWS + FRAMES)
    size_mb = work * BATCHES * (_imu().nbytes + _frames().nbytes) / 1e6
    worst = max(told.puts_s)
    _say(
        f"{who:14} {told.whole_s:6.1f} s  {rows / told.whole_s:8.0f} rows/s"
        f"  {size_mb / told.whole_s:6.1f} MB/s  put: median {statistics.median(told.puts_s):.3f} s,"
        f" worst {worst:.3f} s  station +{more_mb:.0f} MB"
    )


@contextmanager
def _station(folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "recorder.demo.station", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split('"')[3]
        try:
            yield process, url
        finally:
            try:
                process.communicate(timeout=END_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _players() -> Pool:
    return multiprocessing.get_context("spawn").Pool(PLAYERS)


def _run(players: Pool, url: str, vehicles: int, parts: int) -> Told:
    shares = [(url, len(range(n, vehicles, PLAYERS)), parts) for n in range(PLAYERS)]
    told = players.starmap(_play, shares, chunksize=1)
    return Told(max(one.whole_s for one in told), [put for one in told for put in one.puts_s])


def _play(url: str, vehicles: int, parts: int) -> Told:
    """Be so many vehicles at once."""
    if not vehicles:
        return Told(0.0, [])
    begin_s = time.perf_counter()
    with ThreadPoolExecutor(vehicles) as pool:
        told = list(pool.map(lambda _: _vehicle(url, parts), range(vehicles)))
    return Told(time.perf_counter() - begin_s, [put for some in told for put in some])


def _vehicle(url: str, parts: int) -> list[float]:
    taken_s: list[float] = []
    name = f"vehicle-{uuid.uuid4()}"
    with MosaicoClient.connect_url(url, timeout_s=60) as client:
        client.create_sequence(name, {})
        session = client.create_session(name)
        for number in range(parts):
            for lane, tag, batch in (
                ("imu", "IMU", _imu()),
                ("camera", "CompressedImage", _frames()),
            ):
                locator = f"{name}/{lane}/p{number:06d}"
                topic = client.create_topic(
                    session.uuid,
                    locator,
                    ontology_tag=tag,
                    serialization_format=ontology.serialization_format(tag),
                    metadata={},
                )
                begin_s = time.perf_counter()
                client.put(locator, topic, ontology.schema(tag), BATCHES * [batch])
                taken_s.append(time.perf_counter() - begin_s)
        client.finalize_session(session.uuid)
    return taken_s


@functools.cache
def _imu() -> pa.RecordBatch:
    vector = {"x": 0.5, "y": 0.25, "z": 9.8}
    rows = [
        {"timestamp_ns": n, "acceleration": vector, "angular_velocity": vector}
        for n in range(IMU_ROWS)
    ]
    return pa.RecordBatch.from_pylist(rows, ontology.schema("IMU"))


@functools.cache
def _frames() -> pa.RecordBatch:
    rows = [
        {"timestamp_ns": n, "data": os.urandom(FRAME_BYTES), "format": "jpeg"}
        for n in range(FRAMES)
    ]
    return pa.RecordBatch.from_pylist(rows, ontology.schema("CompressedImage"))


def _missing_rows(url: str, pairs: int) -> int:
    """How many rows the station does not hold finalized."""
    with MosaicoClient.connect_url(url, timeout_s=60) as client:
        found = [client.describe_sequence(name) for name in client.sequences()]
    held = sum(topic.row_count or 0 for one in found if one for topic in one.topics if topic.locked)
    return pairs * BATCHES * (IMU_ROWS + FRAMES) - held


if __name__ == "__main__":
    raise SystemExit(main())
