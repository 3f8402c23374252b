"""What a commit costs the device: ways that were tried, and the recorder's own.

The table of ways goes to standard output as Markdown, for `docs/commit.md`; the recorder's own
commits, by the real spooler, are figures with budgets. All on an ext4 file system of the bench's
own, with the block device's own counters.
"""

from __future__ import annotations

import itertools
import os
import statistics
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from recorder.spool.lane_log import SMALL_BYTES
from recorder.spool.volume import syncfs
from tests.bench.loop import LoopDisk, why_not
from tests.bench.measure import Figure, say
from tests.bench.shelf import SEGMENT_BYTES, outlast
from tests.bench.spooling import ALL_FLOWS, GPS_FLOW, Flow, Spooling
from tests.bench.ways import ALLOCATED, KINDS, WAYS, WAYS_OF_ONE, Logs, Stream

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

IMAGE_BYTES = 1 << 30
COMMITS, GPS_COMMITS = 60, 200
#: From one commit to the next: what one leaves behind is done before the next begins.
INTERVAL_S = 0.02
#: A whole segment of the GPS, with what it costs to make one.
OWN_GPS_COMMITS = SMALL_BYTES // GPS_FLOW.commit_bytes + 1
#: The foreign program's: so much in memory that waits to be written, to so slow a device.
FOREIGN_BYTES, SLOW_BYTES_PER_S = 200 << 20, 20 << 20
STALL_COMMITS, STALL_INTERVAL_S = 4, 0.5
_CHUNK_BYTES = 1 << 20
_FORM = "| {} | {} | {:.2f} | {:.1f} | {:.3f} | {:.2f} | {:.1f} | {} |"
HEADING = (
    "| files | way | flushes/commit | KiB/commit | bytes/payload | median ms | max ms | stall ms |"
    "\n"
    "|---|---|---|---|---|---|---|---|"
)


class Writer(Protocol):
    """Who writes and commits."""

    def put(self) -> None:
        """Write what comes between two commits."""

    def commit(self) -> None:
        """Make it durable."""


@dataclass(frozen=True)
class Cost:
    """What commits cost.

    Args:
        flushes: of the device by commit, the mean.
        usual_flushes: the median: now and then a commit has one more.
        device_bytes: written to the device, by commit.
        payload_bytes: what was given to a commit.
        median_s: of the time of one.
        most_s: the longest.
    """

    flushes: float
    usual_flushes: float
    device_bytes: float
    payload_bytes: int
    median_s: float
    most_s: float

    def row(self, kind: str, way: str, stall_s: float | None) -> str:
        """Return it as a row below `HEADING`."""
        stall = "" if stall_s is None else f"{stall_s * 1e3:.0f}"
        return _FORM.format(
            kind,
            way,
            self.flushes,
            self.device_bytes / 1024,
            self.device_bytes / self.payload_bytes,
            self.median_s * 1e3,
            self.most_s * 1e3,
            stall,
        )


def figures(disk: Path) -> Iterator[Figure]:
    """Measure everything of this room, or say why it cannot be."""
    if reason := why_not():
        say(f"commit: not measured: {reason}\n")
        return
    with LoopDisk(disk, IMAGE_BYTES) as loop:
        _table(loop, "three lanes", ALL_FLOWS, WAYS, COMMITS)
        _table(loop, "GPS alone", [GPS_FLOW], WAYS_OF_ONE, GPS_COMMITS)
        yield from _own(loop)


def _stream(flow: Flow) -> Stream:
    """Return what a lane of the recorder writes."""
    segment_bytes = SEGMENT_BYTES if flow.blob_bytes else SMALL_BYTES
    return Stream(flow.schema.lane, flow.commit_bytes, segment_bytes)


def _table(
    loop: LoopDisk, name: str, flows: Sequence[Flow], ways: Iterable[str], commits: int
) -> None:
    streams = [_stream(one) for one in flows]
    payload_bytes = sum(one.commit_bytes for one in streams)
    _tell(f"\n{name}, {payload_bytes} bytes a commit, {commits} commits\n\n{HEADING}")
    for kind, way in itertools.product(KINDS, ways):
        say(f"commit: {name}, {kind}, {way}\n")
        with Logs(loop.mount_point, streams, kind, way) as logs:
            cost = _cost(loop, logs, payload_bytes, commits)
        stall_s = None
        if kind == ALLOCATED and len(streams) > 1:
            # The kind of file makes no difference here, and each takes its ten seconds.
            with Logs(loop.mount_point, streams, kind, way) as logs:
                stall_s = _stall_s(loop, logs)
        _tell(cost.row(kind, way, stall_s))


def _tell(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _cost(loop: LoopDisk, writer: Writer, payload_bytes: int, commits: int) -> Cost:
    """Commit so often; the first one, with what is made once, does not count."""
    _commit_s(writer)
    _settle(loop)
    begun = before = loop.counts()
    times, flushes = [], []
    for _ in range(commits):
        begin_s = time.perf_counter()
        times.append(_commit_s(writer))
        behind = loop.counts()
        flushes.append(behind.since(before).flushes)
        before = behind
        outlast(begin_s, INTERVAL_S)
    spent = loop.counts().since(begun)
    return Cost(
        spent.flushes / commits,
        statistics.median(flushes),
        spent.written_bytes / commits,
        payload_bytes,
        statistics.median(times),
        max(times),
    )


def _commit_s(writer: Writer) -> float:
    writer.put()
    begin_s = time.perf_counter()
    writer.commit()
    return time.perf_counter() - begin_s


def _settle(loop: LoopDisk) -> None:
    """Leave nothing unwritten on the bench's file system."""
    root = os.open(loop.mount_point, os.O_RDONLY | os.O_DIRECTORY)
    try:
        syncfs(root)
    finally:
        os.close(root)


def _stall_s(loop: LoopDisk, writer: Writer) -> float:
    """Return the longest of some commits beside what a foreign program left to be written."""
    _commit_s(writer)
    _settle(loop)
    foreign = loop.mount_point / "foreign"
    loop.throttle(SLOW_BYTES_PER_S)
    try:
        with foreign.open("wb") as file:
            for _ in range(FOREIGN_BYTES // _CHUNK_BYTES):
                file.write(os.urandom(_CHUNK_BYTES))
        most_s = 0.0
        for _ in range(STALL_COMMITS):
            taken_s = _commit_s(writer)
            most_s = max(most_s, taken_s)
            time.sleep(max(STALL_INTERVAL_S - taken_s, 0))
    finally:
        loop.throttle(0)
        foreign.unlink()
        _settle(loop)
    return most_s


def _own(loop: LoopDisk) -> Iterator[Figure]:
    _tell(f"\nthe recorder's own, by its spooler\n\n{HEADING}")
    found: list[Figure] = []
    shared = loop.mount_point / "shared"
    shared.mkdir()
    for place, directory in (("own", loop.mount_point), ("shared", shared / "recorder")):
        directory.mkdir(exist_ok=True)
        say(f"commit: the spooler's, {place} file system\n")
        all_lanes, stall_s = _spooled(loop, directory, ALL_FLOWS, COMMITS)
        gps, _ = _spooled(loop, directory, [GPS_FLOW], OWN_GPS_COMMITS)
        _tell(all_lanes.row("three lanes", f"{place} file system", stall_s))
        _tell(gps.row("GPS alone", f"{place} file system", None))
        found += _judged(place, all_lanes, stall_s, gps)
    _tell("")
    yield from found


def _spooled(
    loop: LoopDisk, directory: Path, flows: Sequence[Flow], commits: int
) -> tuple[Cost, float]:
    payload_bytes = sum(one.commit_bytes for one in flows)
    with Spooling(directory, flows, INTERVAL_S) as spooling:
        cost = _cost(loop, spooling, payload_bytes, commits)
        stall_s = _stall_s(loop, spooling) if len(flows) > 1 else 0.0
        spooling.remove()
    return cost, stall_s


def _judged(place: str, all_lanes: Cost, stall_s: float, gps: Cost) -> Iterator[Figure]:
    # The budget of flushes is kept where the recorder has a file system of its own.
    most = 2.0 if place == "own" else None
    name = f"commit of three lanes, {place} file system"
    yield Figure(f"{name}: flushes", all_lanes.usual_flushes, None, "1", most, True)
    yield Figure(f"{name}: flushes, mean", all_lanes.flushes, None, "1")
    written, given = all_lanes.device_bytes / 1024, all_lanes.payload_bytes / 1024
    yield Figure(f"{name}: device / payload", written, given, "KiB", 1.05, True)
    yield Figure(f"{name}: median", all_lanes.median_s * 1e3, None, "ms")
    yield Figure(f"{name}: beside 200 MB of another's", stall_s * 1e3, None, "ms")
    name = f"commit of GPS alone, {place} file system"
    yield Figure(f"{name}: flushes, mean", gps.flushes, None, "1", 2.0, True)
    yield Figure(f"{name}: device", gps.device_bytes / 1024, None, "KiB", 8.0, True)
