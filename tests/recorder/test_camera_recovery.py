"""A camera that goes away and comes back, seen by the real processes."""

from __future__ import annotations

import itertools
import json
import logging
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from drivers.camera import ROW
from recorder import config, record, status
from recorder.lane import STUCK_EXIT_CODE
from recorder.runner import Runner
from recorder.spool.reader import read_from
from recorder.spool.spool import Spool
from tests.drivers.shooting import RATE_HZ, SIZE, Bench
from tests.recorder.building import wait_until

STOPPED_AND_BACK = ["opened", "lost", "opened", "stopped"]


class Vehicle:
    """A camera's model, and a recorder that records it."""

    def __init__(self, folder: Path, driver: str) -> None:
        self.bench = Bench(folder)
        width, height = SIZE
        lane = config.Lane(
            name="camera",
            driver=driver,
            rate_hz=RATE_HZ,
            options={"device": self.bench.device, "width": width, "height": height},
        )
        place = config.Spool(directory=folder, run_dir=folder / "run", free_floor_bytes=0)
        off = config.Upload(mode="off")
        self._config = config.Config(lanes=[lane], spool=place, upload=off)
        self.runner = Runner(self._config)
        self.pids: list[int] = []

    def sign(self) -> dict[str, Any]:
        return status.read(self._config.spool.run_dir, "lane-camera") or {}

    def wait(self, found: Callable[[], bool]) -> None:
        def look() -> bool:
            self.runner.poll()
            pid = self.runner.pid("lane:camera")
            if pid is not None and pid not in self.pids:
                self.pids.append(pid)
            return found()

        wait_until(look)

    def wait_for_samples(self, more: int) -> None:
        so_far = self.sign().get("samples", 0)
        self.wait(lambda: self.sign().get("samples", 0) >= so_far + more)

    def end(self) -> tuple[list[str], list[tuple[record.Header, tuple[Any, ...]]]]:
        """Stop, and return the lane's events and its pictures' headers and rows."""
        assert self.runner.stop() == []
        spool = Spool(self._config.spool_dir)
        (session_id,) = spool.session_ids()
        events: list[str] = []
        frames: list[tuple[record.Header, tuple[Any, ...]]] = []
        paths = spool.segments(session_id, "camera")
        for found in read_from([(path, path.stat().st_size) for path in paths], None, set()):
            if found.header.kind == record.EVENT:
                events.append(json.loads(bytes(found.payload))["event"])
            elif found.header.rows:
                frames.append((found.header, ROW.unpack_from(found.payload)))
        session = spool.session(session_id)
        assert session.lanes[0].imbalances() == []
        return events, frames

    def close(self) -> None:
        self.runner.kill()
        self.bench.stop()


@pytest.fixture
def vehicle(tmp_path: Path, request: pytest.FixtureRequest):
    made = Vehicle(tmp_path, request.param)
    made.runner.start()
    yield made
    made.close()


def assert_every_slot_is_a_frame_or_counted(
    vehicle: Vehicle, frames: list[tuple[record.Header, tuple[Any, ...]]]
) -> None:
    """The model's own numbers, which go on whoever listens, are the oracle."""
    number_of = {line["crc32"]: line["frame"] for line in vehicle.bench.stop()}
    numbers = [number_of[row[1]] for _, row in frames]
    assert [header.seqno for header, _ in frames] == list(range(len(frames)))
    assert numbers == sorted(set(numbers))
    last = frames[-1][0]
    due = numbers[-1] - numbers[0] + 1
    assert last.expected == due
    assert len(frames) + sum(vars(last.losses).values()) == due


@pytest.mark.parametrize("vehicle", ["v4l2_camera"], indirect=True)
def test_a_camera_that_is_pulled_and_plugged_in_again_is_recorded_on(vehicle: Vehicle) -> None:
    vehicle.wait_for_samples(20)
    vehicle.bench.camera.fault("unplug", seconds=2.5)
    vehicle.wait(lambda: str(vehicle.sign().get("state")).startswith("absent"))
    vehicle.wait(lambda: vehicle.sign().get("state") == "running")
    vehicle.wait_for_samples(20)
    events, frames = vehicle.end()
    assert [one for one in events if one != "silent"] == STOPPED_AND_BACK
    assert len(vehicle.pids) == 1  # a lane does not end for a sensor
    assert_every_slot_is_a_frame_or_counted(vehicle, frames)
    assert frames[-1][0].losses.absent > 2 * RATE_HZ


@pytest.mark.parametrize("vehicle", ["pi_camera"], indirect=True)
def test_a_camera_that_only_a_new_process_can_use_gets_one_and_the_numbers_go_on(
    vehicle: Vehicle, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    vehicle.wait_for_samples(20)
    vehicle.bench.camera.fault("stall", seconds=4.5)
    vehicle.wait(lambda: len(vehicle.pids) == 2)
    vehicle.wait_for_samples(20)
    events, frames = vehicle.end()
    assert [one for one in events if one != "silent"] == ["opened", "stuck", "opened", "stopped"]
    assert [text for text in caplog.messages if "lane:camera ended" in text] == [
        f"lane:camera ended with {STUCK_EXIT_CODE}; starting it again in 0.2 s"
    ]
    assert_every_slot_is_a_frame_or_counted(vehicle, frames)
    steps = [b.boot_ns - a.boot_ns for (a, _), (b, _) in itertools.pairwise(frames)]
    assert max(steps) > 4 * 10**9


def test_a_check_that_finds_a_dead_camera_says_so_and_ends(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.camera.fault("stall", seconds=600)
    width, height = SIZE
    file = tmp_path / "recorder.toml"
    file.write_text(
        f'[spool]\ndirectory = "{tmp_path}"\nrun_dir = "{tmp_path}"\n[upload]\nmode = "off"\n'
        f'[[lanes]]\nname = "camera"\ndriver = "pi_camera"\ndevice = "{bench.device}"\n'
        f"rate_hz = {RATE_HZ}\nwidth = {width}\nheight = {height}\n"
    )
    program = "from recorder.cli import main; main()"
    command = [sys.executable, "-c", program, "check", "--json", "--config", str(file)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    finally:
        bench.stop()
    assert done.returncode == 1, done.stderr
    (look,) = json.loads(done.stdout)["devices"]
    assert look["state"] == "stuck"
    assert "does not stop within 2 s" in look["error"]


@pytest.mark.parametrize("vehicle", ["pi_camera"], indirect=True)
def test_a_lane_with_a_dead_camera_ends_on_request_and_in_time(vehicle: Vehicle) -> None:
    vehicle.wait_for_samples(5)
    vehicle.bench.camera.fault("stall", seconds=600)
    vehicle.wait(lambda: bool(re.match("running|stuck", str(vehicle.sign().get("state")))))
    events, frames = vehicle.end()  # ends with code 0, and not by a signal
    assert "stopped" in events
    assert len(frames) >= 5
