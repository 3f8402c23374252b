"""``python -m tests.clock.late_fix``: a recording whose receiver has no fix for the first minute.

Real processes: models of receiver and IMU, two lanes, the spool's process, the uploader live to a
ground station. Then every row's time on the server is held against the time that the models played,
and against the bound that its part states.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drivers.sim.world import World
from recorder.config import Clock, Config, Lane, Session, Spool, Upload, to_json
from recorder.ground import GroundStation
from recorder.mosaico import MosaicoClient
from recorder.spool.segment import SegmentReader
from recorder.spool.spool import Spool as OpenSpool
from tests.leash import LEASH

BAUD = 115_200
LANES = {"gps": 10.0, "imu": 200.0}


@dataclass
class Part:
    """A part as the server holds it.

    Args:
        topic: its path.
        source: the clock's source that it states.
        bound_ns: the bound that it states; None: it states none.
        errors_ns: how far each of its rows' times is from the true one.
        early: how many of its rows are from before the first fix.
    """

    topic: str
    source: str
    bound_ns: int | None
    errors_ns: list[int] = field(default_factory=list)
    early: int = 0

    @property
    def is_true(self) -> bool:
        return self.bound_ns is not None and max(self.errors_ns) <= self.bound_ns


def configure(folder: Path, world: World, url: str) -> Config:
    """Return the settings of a recorder that uploads live, in parts of five seconds."""
    devices = {"gps": str(world.gps), "imu": f"unix:{world.i2c}"}
    drivers = {"gps": "nmea_gps", "imu": "mpu6050"}
    options: dict[str, dict[str, Any]] = {"gps": {"baud": BAUD}, "imu": {}}
    return Config(
        lanes=[
            Lane(
                name=name,
                driver=drivers[name],
                rate_hz=rate_hz,
                options={"device": devices[name], **options[name]},
            )
            for name, rate_hz in LANES.items()
        ],
        session=Session(heartbeat_s=1.0),
        spool=Spool(directory=folder / "data", run_dir=folder / "run", free_floor_bytes=0),
        upload=Upload(mode="live", server=url, part_s=5.0),
        clock=Clock(chrony_socket=folder / "chrony.sock"),
    )


@contextlib.contextmanager
def running(config: Config) -> Iterator[None]:
    """Run the recorder; its processes end in the order in which a machine stops them."""
    modules = [["recorder.spooler"], *(["recorder.lane", name] for name in LANES)]
    environment = {**os.environ, **LEASH.environment}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", *module, to_json(config)],
            env=environment,
            pass_fds=LEASH.fds,
            stderr=subprocess.DEVNULL,
        )
        for module in [*modules, ["recorder.uploader"]]
    ]
    spooler, *lanes, _ = processes
    try:
        yield
        for one in (*lanes, spooler):
            one.send_signal(signal.SIGTERM)
        for one in (*lanes, spooler):
            one.wait(30)
        _wait(lambda: _sign(config).get("drained") and _sign(config)["done"], 60)
    finally:
        for one in processes:
            one.terminate()
            one.wait(30)


def _sign(config: Config) -> dict[str, Any]:
    path = config.spool.run_dir / "status" / "upload.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def _wait(found: Callable[[], object], most_s: float) -> None:
    until_s = time.monotonic() + most_s
    while not found():
        if time.monotonic() > until_s:
            raise TimeoutError("it never came true")
        time.sleep(0.05)


def record(folder: Path, seconds: float, no_fix_s: float) -> list[Part]:
    """Record and upload, and hold every row's time against the models'.

    Args:
        folder: where everything lies; empty.
        seconds: how long to record.
        no_fix_s: how long the receiver has no fix.
    """
    source = {"kind": "vehicle", "seed": 3, "no_fix_s": no_fix_s}
    with (
        World(folder / "world", {"source": source}) as world,
        GroundStation(folder / "ground") as station,
    ):
        config = configure(folder, world, station.url)
        with running(config):
            time.sleep(seconds)  # the recording's length, not a wait for something
        return _judge(config, station.url, world.logs / "gps.jsonl", no_fix_s)


def _judge(config: Config, url: str, log: Path, no_fix_s: float) -> list[Part]:
    first = json.loads(log.read_text().splitlines()[0])
    utc_ns, boot = first["utc_ns"], first["due_ns"]
    fix_boot = boot + round(no_fix_s * 1e9)
    found: list[Part] = []
    boots = {lane: _boots(config, lane) for lane in LANES}
    with MosaicoClient.connect_url(url) as client:
        # Beside the recording there is what it depends on, in a sequence of its own.
        told = [client.describe_sequence(name) for name in client.sequences()]
        (sequence,) = [one for one in told if one and "recording" in one.user_metadata]
        for one in sequence.topics:
            topic = client.describe_topic(one.locator)
            facts = topic.user_metadata["recorder"] if topic else {}
            if facts.get("lane") not in LANES:
                continue
            part = Part(one.locator, facts["clock_source"], facts["clock_uncertainty_ns"])
            for batch in client.read(one.locator):
                for row in batch.to_pylist():
                    at = boots[facts["lane"]][row["header"]["sample_counter"]]
                    part.errors_ns.append(abs(row["timestamp_ns"] - (utc_ns + at - boot)))
                    part.early += at < fix_boot
            found.append(part)
    return found


def _boots(config: Config, lane: str) -> dict[int, int]:
    """Return CLOCK_BOOTTIME of each row that the spool holds of a lane, by sequence number."""
    spool = OpenSpool(config.spool_dir)
    found: dict[int, int] = {}
    for session_id in spool.session_ids():
        for path in spool.segments(session_id, lane):
            with SegmentReader(path) as segment:
                for _, header, _ in segment.records():
                    for row in range(header.rows):
                        found[header.seqno + row] = header.boot_ns + row * header.period_ns
    return found


def main() -> None:
    """Record, and say how true the times are; exit code 1 if one is not within its bound."""
    parser = argparse.ArgumentParser(prog="python -m tests.clock.late_fix", description=__doc__)
    parser.add_argument("--seconds", type=float, default=75.0, help="of recording (75)")
    parser.add_argument("--no-fix", type=float, default=60.0, help="seconds without a fix (60)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        parts = record(Path(folder), asked.seconds, asked.no_fix)
    for one in parts:
        bound = "-" if one.bound_ns is None else f"{one.bound_ns / 1e6:.1f}"
        sys.stdout.write(
            f"{one.topic:50} {len(one.errors_ns):6} rows, {one.early:6} before the fix, clock"
            f" {one.source}, error at most {max(one.errors_ns) / 1e6:.3f} ms, bound {bound} ms\n"
        )
    rows = sum(len(one.errors_ns) for one in parts)
    early = sum(one.early for one in parts)
    worst = max((max(one.errors_ns) for one in parts), default=0) / 1e6
    is_true = bool(early) and all(one.is_true for one in parts)
    sys.stdout.write(
        f"late fix: {rows} rows, {early} from before the fix, error at most {worst:.3f} ms:"
        f" {'all within their bounds' if is_true else 'NOT within their bounds'}\n"
    )
    sys.exit(not is_true)


if __name__ == "__main__":
    main()
