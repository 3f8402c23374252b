"""Those who write the same bytes to the same disk in another way."""

from __future__ import annotations

import os
import sqlite3
import struct
import tempfile
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from mcap.writer import Writer

from tests.bench.measure import seconds
from tests.bench.shelf import UNPACED, Pace, outlast

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.bench.measure import Clock

ROW = struct.Struct(">6h")
PERIOD_NS = 1_000_000


def raw(
    disk: Path,
    parts: Sequence[bytes],
    commits: int,
    pace: Pace = UNPACED,
    clock: Clock = time.perf_counter,
) -> float:
    """Append and fdatasync, and nothing else; a slower disk is made up as for ours.

    The parts are as many as a commit has: one that is written again and again would come from the
    processor's cache, which a ring does not.
    """
    with tempfile.NamedTemporaryFile(dir=disk) as file:

        def commit() -> None:
            os.writev(file.fileno(), parts)
            begin_s = time.perf_counter()
            os.fdatasync(file.fileno())
            pace.hold(begin_s, sum(map(len, parts)))

        taken_s = 0.0
        for _ in range(commits):
            begin_s = time.perf_counter()
            taken_s += seconds(commit, clock)
            outlast(begin_s, pace.interval_s)
    return taken_s


def sqlite(disk: Path, rows: bytes, commits: int, clock: Clock = time.perf_counter) -> float:
    """One SQL row each, one transaction per commit, WAL and synchronous=FULL."""
    with tempfile.TemporaryDirectory(dir=disk) as folder:
        base = sqlite3.connect(Path(folder) / "rows.db", isolation_level=None)
        base.execute("PRAGMA journal_mode=WAL")
        base.execute("PRAGMA synchronous=FULL")
        base.execute("CREATE TABLE imu (boot_ns INTEGER, ax, ay, az, wx, wy, wz)")
        given = [(number * PERIOD_NS, *row) for number, row in enumerate(ROW.iter_unpack(rows))]

        def commit() -> None:
            base.execute("BEGIN")
            base.executemany("INSERT INTO imu VALUES (?, ?, ?, ?, ?, ?, ?)", given)
            base.execute("COMMIT")

        try:
            return _taken(commits, commit, clock)
        finally:
            base.close()


def mcap(disk: Path, rows: bytes, commits: int, clock: Clock = time.perf_counter) -> float:
    """The Python MCAP writer with its usual settings, one message per row; it never syncs."""
    given = [rows[at : at + ROW.size] for at in range(0, len(rows), ROW.size)]
    with tempfile.NamedTemporaryFile(dir=disk) as file:
        writer = Writer(file)
        writer.start()
        channel = writer.register_channel("imu", "raw", 0)

        def commit() -> None:
            for number, row in enumerate(given):
                at_ns = number * PERIOD_NS
                writer.add_message(channel, at_ns, row, at_ns)
            file.flush()

        taken = _taken(commits, commit, clock)
        writer.finish()
    return taken


def crc_and_copy_us(payload: bytes, room: bytearray) -> float:
    """Return the mean us of one crc32 and one memcpy, all over memory that was touched before."""
    size = len(payload)
    places = range(0, len(room) - size + 1, size)

    def copy() -> None:
        for at in places:
            zlib.crc32(payload)
            room[at : at + size] = payload

    return seconds(copy) / len(places) * 1e6


def paced_crc_and_copy_us(
    payload: bytes, room: bytearray, times: int, pace_s: float
) -> list[float]:
    """Return what each of some crc32 and memcpy took, as far apart in time as a lane's puts."""
    found: list[float] = []
    view, size = memoryview(room), len(payload)
    for number in range(times):
        at = number * size % (len(room) - size)
        begin_s = time.perf_counter()
        zlib.crc32(payload)
        view[at : at + size] = payload
        found.append((time.perf_counter() - begin_s) * 1e6)
        time.sleep(pace_s)
    return found


def _taken(commits: int, commit: Callable[[], None], clock: Clock) -> float:
    return sum(seconds(commit, clock) for _ in range(commits))
