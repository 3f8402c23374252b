"""The full load: models of three devices, the recorder's processes, a station that stores it all.

What each of the recorder's processes costs is taken from /proc between two moments of a recording
that goes on; models and station are not counted. Memory is told without the rings, which are
shared and lie in memory in any case. Modules are compiled beforehand, as an installation has them,
whatever this machine is told to keep: a process that compiles them holds half a megabyte more.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from drivers.sim.world import World
from recorder.config import Config
from recorder.demo import stage
from recorder.runner import POLL_S, Runner
from recorder.spool.receipts import final_session
from recorder.spool.spool import Spool
from tests.bench import peers
from tests.bench.measure import Figure, say
from tests.bench.shelf import MEMORY, Pace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from recorder.session.session import Session

RATES_HZ = {"gps": 10.0, "imu": 1000.0, "camera": 30.0}
FRAME_BYTES = 300_000
CAMERA = {"rate_hz": RATES_HZ["camera"], "size_bytes": FRAME_BYTES}
#: Half a second of pictures, and how often they are appended to tell what that alone costs.
COMMIT_S, BARE_COMMITS = 0.5, 20
#: Start-up, learning of the clocks and the first parts are not the steady state.
WARM_UP_S = 8.0
#: In such a time pictures fill a part of the usual length in bytes. Rows, which would take 10
#: minutes, go as often here, so that within the time that is measured everything goes its way.
PART_S = 15.0
CPU_PERCENT = {"lane:gps": 1.5, "lane:imu": 2.0, "lane:camera": 4.0, "spool": 3.0, "upload": 3.0}
ALL_CPU_PERCENT, ALL_PSS_MB = 12.0, 200.0
#: What the recorder's processes load when they start.
MODULES = (
    "recorder.lane", "recorder.spooler", "recorder.uploader",
    "drivers.nmea_gps", "drivers.mpu6050", "drivers.frame_source",
)  # fmt: skip
RSS_MB = {"lane:gps": 18.0, "lane:imu": 18.0, "spool": 25.0, "upload": 110.0}
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_USER_TIME, _SYSTEM_TIME = 11, 12  # of proc(5)'s fields, counted behind the name


@dataclass(frozen=True)
class Cost:
    """What one process costs.

    Args:
        cpu_percent: of one core, in the time that was measured.
        rss_bytes: resident at its end, without rings.
        pss_bytes: its share of what is resident, without rings.
    """

    cpu_percent: float
    rss_bytes: int
    pss_bytes: int


def figures(disk: Path, url: str, seconds: float) -> Iterator[Figure]:
    """Record for so long and tell what it cost.

    Args:
        disk: a folder on the disk.
        url: of the ground station.
        seconds: time that is measured.
    """
    say(f"load: bare appends for {BARE_COMMITS * COMMIT_S:g} s\n")
    bare_percent = _bare_percent(disk)
    say(f"load: recording for {WARM_UP_S:g} + {seconds:g} s\n")
    with tempfile.TemporaryDirectory(dir=MEMORY, prefix="recorder-bench-") as memory:
        costs, session = _record(disk, Path(memory), url, seconds)
    for name, most in CPU_PERCENT.items():
        yield Figure(f"CPU of {name}", costs[name].cpu_percent, None, "% core", most, True)
    # Where a host gives this machine its memory page by page, copying into the page cache costs
    # 4 ms a MB of pages that are new to it, and 0.25 ms of others: that is no cost of the spool's.
    told = "CPU of spool / of a bare append + fdatasync of the pictures"
    yield Figure(told, costs["spool"].cpu_percent, bare_percent, "% core")
    used = sum(one.cpu_percent for one in costs.values())
    yield Figure("CPU of all processes", used, None, "% core", ALL_CPU_PERCENT, True)
    for name, one in costs.items():
        yield Figure(
            f"memory of {name}, RSS", one.rss_bytes / 1e6, None, "MB", RSS_MB.get(name), True
        )
    shares = sum(one.pss_bytes for one in costs.values()) / 1e6
    yield Figure("memory of all processes, summed PSS", shares, None, "MB", ALL_PSS_MB, True)
    yield from _of_the_session(session)


def _bare_percent(disk: Path) -> float:
    frames = [os.urandom(FRAME_BYTES) for _ in range(round(RATES_HZ["camera"] * COMMIT_S))]
    pace = Pace(interval_s=COMMIT_S)
    used_s = peers.raw(disk, frames, BARE_COMMITS, pace, time.process_time)
    return 100 * used_s / (BARE_COMMITS * COMMIT_S)


def _of_the_session(session: Session) -> Iterator[Figure]:
    for lane in session.lanes:
        begin, end = lane.first_boot_ns, lane.last_boot_ns
        span_s = (end - begin) / 1e9 if begin is not None and end is not None else 0.0
        rate_hz = (lane.stored - 1) / span_s if span_s else 0.0
        yield Figure(f"rate of {lane.name} as stored", rate_hz, None, "Hz")
    causes = [f"{one.name} {cause}" for one in session.lanes for cause in one.lost]
    lost = sum(sum(one.lost.values()) for one in session.lanes)
    told = ", ".join(causes) or "by any cause"
    yield Figure(f"samples lost: {told}", lost, None, "samples", 0, True)
    missing = sum(one.stored - one.delivered for one in session.lanes)
    yield Figure("samples stored and not delivered", missing, None, "samples", 0, True)


def _record(disk: Path, memory: Path, url: str, seconds: float) -> tuple[dict[str, Cost], Session]:
    settings = {"source": {"kind": "vehicle"}, "baud": stage.BAUD, "camera": CAMERA}
    with (
        _compiled(memory / "compiled"),
        tempfile.TemporaryDirectory(dir=disk) as folder,
        World(memory, settings) as world,
    ):
        config = _config(Path(folder), memory, world, url)
        runner = Runner(config)
        try:
            runner.start()
            _run(runner, WARM_UP_S)
            costs = _costs(runner, seconds)
            runner.stop()
        finally:
            runner.kill()
        spool = Spool(config.spool_dir)
        session_id = spool.session_ids()[-1]
        session = final_session(config.upload_dir / session_id) or spool.session(session_id)
    return costs, session


@contextlib.contextmanager
def _compiled(folder: Path) -> Iterator[None]:
    """Let every process that starts meanwhile find its modules compiled."""
    told = {"PYTHONPYCACHEPREFIX": str(folder), "PYTHONDONTWRITEBYTECODE": ""}
    before = {name: os.environ.get(name) for name in told}
    os.environ.update(told)
    try:
        subprocess.run([sys.executable, "-c", f"import {', '.join(MODULES)}"], check=True)
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _config(folder: Path, memory: Path, world: World, url: str) -> Config:
    usual = stage.settings(folder, {"kind": "vehicle"}, world, url)
    return dataclasses.replace(
        usual,
        lanes=[dataclasses.replace(one, rate_hz=RATES_HZ[one.name]) for one in usual.lanes],
        spool=dataclasses.replace(usual.spool, run_dir=memory / "run"),
        upload=dataclasses.replace(usual.upload, part_s=PART_S),
    )


def _run(runner: Runner, seconds: float) -> None:
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        runner.poll()
        time.sleep(POLL_S)


def _costs(runner: Runner, seconds: float) -> dict[str, Cost]:
    pids = {name: runner.pid(name) for name in runner.names}
    begin_s = time.monotonic()
    before = {name: cpu_s(pid) for name, pid in pids.items()}
    _run(runner, seconds)
    passed_s = time.monotonic() - begin_s
    if {name: runner.pid(name) for name in runner.names} != pids:
        raise RuntimeError("a process of the recorder died under the load")
    return {
        name: Cost(100 * (cpu_s(pid) - before[name]) / passed_s, *_memory(pid))
        for name, pid in pids.items()
    }


def cpu_s(pid: int | None) -> float:
    """Return the CPU time that a process has used, in s."""
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(stat[_USER_TIME]) + int(stat[_SYSTEM_TIME])) / _TICKS_PER_S


def _memory(pid: int | None) -> tuple[int, int]:
    return resident_bytes(Path(f"/proc/{pid}/smaps").read_text())


def resident_bytes(smaps: str) -> tuple[int, int]:
    """Return RSS and PSS of what stands in ``/proc/PID/smaps``, without rings."""
    found = {"Rss:": 0, "Pss:": 0}
    is_ring = False
    for line in smaps.splitlines():
        key, *rest = line.split()
        if not key.endswith(":"):
            is_ring = line.endswith(".ring")
        elif key in found and not is_ring:
            found[key] += int(rest[0]) * 1024
    return found["Rss:"], found["Pss:"]


def high_water_bytes(pid: int) -> int:
    """Return the highest RSS that a process ever had."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"process {pid} has no memory any more")
