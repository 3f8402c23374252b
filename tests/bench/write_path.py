"""From the ring to the disk, beside those who do the same with the same bytes."""

from __future__ import annotations

import contextlib
import os
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drivers.fifo_imu import BURST_S
from recorder import record
from recorder.clock import boot_ns
from recorder.lane import BLOB_RING_BYTES
from tests.bench import peers
from tests.bench.loop import LoopDisk, why_not
from tests.bench.measure import Figure, interleaved, seconds
from tests.bench.shelf import CAMERA, IMU, UNPACED, Pace, Shelf, outlast

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tests.bench.measure import Clock
    from tests.bench.sdk import Sdk

COMMIT_S = 0.5
FRAME_BYTES = 300_000
FRAMES_PER_COMMIT = round(CAMERA.rate_hz * COMMIT_S)
FRAME_COMMITS, CARD_COMMITS = 20, 4
CARD_BYTES_PER_S, CARD_IMAGE_BYTES = 40_000_000, 256 << 20
#: The driver hands over what the chip's FIFO gathers in `BURST_S`.
BURST_ROWS = round(IMU.rate_hz * BURST_S)
BURSTS_PER_COMMIT = round(COMMIT_S / BURST_S)
ROWS_PER_COMMIT = BURST_ROWS * BURSTS_PER_COMMIT
#: What the same chip gives at 200 Hz: five times the records for the same rows, which five such
#: lanes together would give; told beside the budget's own figure.
SMALL_BURST_ROWS = 10
#: Four and a half minutes: three segments are filled, and each one's beginning is in the figure.
IMU_COMMITS = 540
#: As many times the rows: ten such lanes in one commit.
MANY = 10
SDK_ROWS = 2000
PUTS, PACE_S = 200, 0.005


def figures(disk: Path, sdk: Sdk) -> Iterator[Figure]:
    """Measure everything of this room."""
    yield from _frames(disk)
    yield from _rows(disk, sdk)
    yield from _many_rows(disk)
    yield from _puts(disk)


def _frames(disk: Path) -> Iterator[Figure]:
    frames = [os.urandom(FRAME_BYTES) for _ in range(FRAMES_PER_COMMIT)]
    mine, peer = interleaved(
        "write: frames beside raw append",
        lambda: _frames_mb_per_s(disk, frames, FRAME_COMMITS),
        lambda: _mb(FRAME_COMMITS) / peers.raw(disk, frames, FRAME_COMMITS),
    )
    yield Figure("300 kB frames, durable / raw append + fdatasync", mine, peer, "MB/s", 0.65)
    with _card(disk) as card:
        mine, peer = interleaved(
            f"write: frames beside raw append, {card.told}",
            lambda: _frames_mb_per_s(card.disk, frames, CARD_COMMITS, card.pace),
            lambda: _mb(CARD_COMMITS) / peers.raw(card.disk, frames, CARD_COMMITS, card.pace),
        )
    yield Figure(f"the same, {card.told} / raw", mine, peer, "MB/s", 0.95)
    (used,) = interleaved(
        "write: CPU of the spool",
        lambda: 1e3 / _frames_mb_per_s(disk, frames, FRAME_COMMITS, clock=time.process_time),
    )
    yield Figure("CPU of ring to durable", used, None, "s/GB", 1.0, is_most=True)


def _frames_mb_per_s(
    disk: Path,
    frames: Sequence[bytes],
    commits: int,
    pace: Pace = UNPACED,
    clock: Clock = time.perf_counter,
) -> float:
    with Shelf(disk, CAMERA, _payload(frames[0])) as shelf:
        taken_s = 0.0
        for _ in range(commits):
            begin_s = time.perf_counter()
            shelf.put(FRAMES_PER_COMMIT)
            taken_s += shelf.commit(pace, clock)
            outlast(begin_s, pace.interval_s)
    return _mb(commits) / taken_s


@dataclass(frozen=True)
class _Card:
    """A disk as fast as a card.

    Args:
        disk: a folder on it.
        pace: how it is written to.
        told: how it was made.
    """

    disk: Path
    pace: Pace
    told: str


@contextlib.contextmanager
def _card(disk: Path) -> Iterator[_Card]:
    """Give a throttled device, or else this disk and a pace that it is held to.

    A commit each half second, as the recorder does: a throttle lets what comes after a short pause
    pass too fast.
    """
    name = f"{CARD_BYTES_PER_S / 1e6:.0f} MB/s"
    if reason := why_not():
        pace = Pace(CARD_BYTES_PER_S, COMMIT_S)
        yield _Card(disk, pace, f"at a pace of {name} ({reason})")
        return
    with LoopDisk(disk, CARD_IMAGE_BYTES) as loop:
        loop.throttle(CARD_BYTES_PER_S)
        yield _Card(loop.mount_point, Pace(None, COMMIT_S), f"on a device throttled to {name}")


def _payload(frame: bytes) -> list[bytes]:
    return [bytes(CAMERA.row_bytes), frame]


def _mb(commits: int) -> float:
    return FRAME_BYTES * FRAMES_PER_COMMIT * commits / 1e6


def _rows(disk: Path, sdk: Sdk) -> Iterator[Figure]:
    rows = os.urandom(IMU.row_bytes * ROWS_PER_COMMIT)
    all_rows = ROWS_PER_COMMIT * IMU_COMMITS
    mine, small, bare, lite, cap, push = interleaved(
        "write: IMU rows beside raw append, SQLite, MCAP and the SDK",
        lambda: _rows_per_s(disk, BURST_ROWS, ROWS_PER_COMMIT),
        lambda: _rows_per_s(disk, SMALL_BURST_ROWS, ROWS_PER_COMMIT),
        lambda: all_rows / peers.raw(disk, [rows], IMU_COMMITS),
        lambda: all_rows / peers.sqlite(disk, rows, IMU_COMMITS),
        lambda: all_rows / peers.mcap(disk, rows, IMU_COMMITS),
        lambda: sdk.push_rows_per_s(SDK_ROWS),
    )
    name = f"IMU rows, durable, {ROWS_PER_COMMIT} a commit"
    yield Figure(f"{name} in bursts of {BURST_ROWS}", mine, None, "rows/s", 2e6)
    yield Figure(f"{name} in bursts of {SMALL_BURST_ROWS}", small, None, "rows/s", 2e6)
    # What no writer that syncs can pass on this disk: the other figures are to be read beside it.
    yield Figure(f"{name} / raw append + fdatasync", mine, bare, "rows/s")
    yield Figure("raw append + fdatasync of the same / SQLite", bare, lite, "rows/s")
    for found, rows_told in ((mine, ""), (small, f" in bursts of {SMALL_BURST_ROWS}")):
        yield Figure(f"{name}{rows_told} / SQLite", found, lite, "rows/s", 4)
        yield Figure(f"{name}{rows_told} / MCAP, unsynced", found, cap, "rows/s", 8)
    yield Figure(f"{name} / SDK push", mine, push, "rows/s", 400)
    cpu = time.process_time
    mine, lite, cap = interleaved(
        "write: IMU rows by CPU time",
        lambda: _rows_per_s(disk, BURST_ROWS, ROWS_PER_COMMIT, cpu),
        lambda: all_rows / peers.sqlite(disk, rows, IMU_COMMITS, cpu),
        lambda: all_rows / peers.mcap(disk, rows, IMU_COMMITS, cpu),
    )
    yield Figure(f"{name}, by CPU time / SQLite", mine, lite, "rows/CPU-s")
    yield Figure(f"{name}, by CPU time / MCAP", mine, cap, "rows/CPU-s")


def _many_rows(disk: Path) -> Iterator[Figure]:
    """Measure commits in which the disk's own flush is a smaller part."""
    many = ROWS_PER_COMMIT * MANY
    rows, commits = os.urandom(IMU.row_bytes * many), IMU_COMMITS // MANY
    mine, bare, lite, cap = interleaved(
        f"write: {many} IMU rows a commit",
        lambda: _rows_per_s(disk, BURST_ROWS, many, commits=commits),
        lambda: many * commits / peers.raw(disk, [rows], commits),
        lambda: many * commits / peers.sqlite(disk, rows, commits),
        lambda: many * commits / peers.mcap(disk, rows, commits),
    )
    name = f"IMU rows, durable, {many} a commit"
    yield Figure(f"{name} in bursts of {BURST_ROWS}", mine, None, "rows/s", 2e6)
    yield Figure(f"{name} / raw append + fdatasync", mine, bare, "rows/s")
    yield Figure(f"{name} / SQLite", mine, lite, "rows/s", 4)
    yield Figure(f"{name} / MCAP, unsynced", mine, cap, "rows/s", 8)


def _rows_per_s(
    disk: Path,
    burst_rows: int,
    rows_per_commit: int,
    clock: Clock = time.perf_counter,
    commits: int = IMU_COMMITS,
) -> float:
    burst = os.urandom(IMU.row_bytes * burst_rows)
    with Shelf(disk, IMU, [burst], burst_rows) as shelf:
        taken_s = 0.0
        for _ in range(commits):
            shelf.put(rows_per_commit // burst_rows)
            taken_s += shelf.commit(clock=clock)
    return rows_per_commit * commits / taken_s


def _puts(disk: Path) -> Iterator[Figure]:
    burst = os.urandom(IMU.row_bytes * BURST_ROWS)
    (tight,) = interleaved(
        "write: ring puts, tight", lambda: statistics.mean(_put_us(disk, burst, 0.0))
    )
    yield Figure("ring put of an IMU burst, tight loop", tight, None, "us", 15, is_most=True)
    room = bytearray(BLOB_RING_BYTES)
    paced, bare = interleaved(
        "write: ring puts, paced",
        lambda: _p99(_put_us(disk, burst, PACE_S)),
        lambda: _p99(peers.paced_crc_and_copy_us(burst, room, PUTS, PACE_S)),
    )
    yield Figure("ring put of an IMU burst, paced, p99", paced, None, "us", 100, is_most=True)
    # What a lane that slept finds cold, in the processor and in the machine around this one.
    yield Figure("crc32 + memcpy of the same bytes, paced, p99", bare, None, "us")
    frame = os.urandom(FRAME_BYTES)
    peers.crc_and_copy_us(frame, room)
    mine, peer = interleaved(
        "write: ring puts of frames",
        lambda: _frame_put_us(disk, frame),
        lambda: peers.crc_and_copy_us(frame, room),
    )
    yield Figure("ring put of a 300 kB frame / crc32 + memcpy", mine, peer, "us", 2, is_most=True)


def _p99(values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=100)[-1]


def _put_us(disk: Path, burst: bytes, pace_s: float) -> list[float]:
    """Return what each of some puts into a ring with room took."""
    with Shelf(disk, IMU, [burst], BURST_ROWS) as shelf:
        ring, found = shelf.ring, []
        for _ in range(PUTS):
            state, at_ns = ring.state, boot_ns()
            begin_s = time.perf_counter()
            ring.put(record.DATA, BURST_ROWS, state, [burst], at_ns)
            found.append((time.perf_counter() - begin_s) * 1e6)
            if pace_s:
                time.sleep(pace_s)
    return found


def _frame_put_us(disk: Path, frame: bytes) -> float:
    payload = _payload(frame)
    with Shelf(disk, CAMERA, payload) as shelf:
        ring, at_ns = shelf.ring, boot_ns()
        times = ring.capacity_bytes // (record.HEADER_BYTES + sum(map(len, payload)))

        def put() -> None:
            for _ in range(times):
                ring.put(record.DATA, 1, ring.state, payload, at_ns)

        return seconds(put) / times * 1e6
