"""The whole path, once: models, lanes, spool, uploader, server, SDK; asserts on the recording."""

from __future__ import annotations

import bisect
import csv
import itertools
import json
import math
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

SECONDS = 15
IMU_COLUMNS = {
    "acceleration.x": "ax",
    "acceleration.y": "ay",
    "acceleration.z": "az",
    "angular_velocity.x": "rollrate",
    "angular_velocity.y": "pitchrate",
    "angular_velocity.z": "yawrate",
}


@dataclass(frozen=True)
class Recording:
    """What a demo left behind."""

    folder: Path
    code: int
    output: str
    facts: dict[str, Any]
    rows: dict[str, list[dict[str, Any]]]

    def times_s(self, lane: str) -> list[float]:
        return [row["timestamp_ns"] / 1e9 for row in self.rows[lane]]

    def device_times_s(self, lane: str) -> list[float]:
        """Return the device's own times: a receiver states them, else a row's stamp is its."""
        stated = [(row.get("header.timestamp.seconds"), row) for row in self.rows[lane]]
        if any(seconds is None for seconds, _ in stated):
            return self.times_s(lane)
        return [seconds + row["header.timestamp.nanoseconds"] / 1e9 for seconds, row in stated]


def record(folder: Path, *arguments: str) -> Recording:
    command = [str(Path(sys.executable).with_name("recorder")), "demo", "--seconds", str(SECONDS)]
    command += ["--dir", str(folder / "demo"), "--json", str(folder / "demo.json"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    rows: dict[str, list[dict[str, Any]]] = {}
    for line in (folder / "demo" / "readback.jsonl").read_text().splitlines()[1:]:
        row = json.loads(line)
        rows.setdefault(row["topic"], []).append(row)
    facts = json.loads((folder / "demo.json").read_text())
    return Recording(folder / "demo", done.returncode, done.stdout + done.stderr, facts, rows)


@pytest.fixture(scope="module")
def drive(data_dir: Path) -> Path:
    return next(iter(sorted(data_dir.glob("drive/*.csv"))))


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory, drive: Path) -> Recording:
    return record(tmp_path_factory.mktemp("drive"), "--drive", str(drive))


def test_everything_is_reconciled_and_said_so(recording: Recording) -> None:
    assert recording.code == 0, recording.output
    assert "demo: reconciled" in recording.output.splitlines()
    assert recording.facts["session"]["state"] == "closed"
    assert recording.facts["session"]["quality"] == 1.0
    assert recording.facts["session"]["quality_basis"] == "delivered"
    assert all(not lane["lost"] for lane in recording.facts["lanes"])


@pytest.mark.parametrize(("lane", "rate_hz"), [("gps", 10), ("imu", 200 * 1.004), ("camera", 10)])
def test_each_lane_keeps_its_rate_and_its_interval(
    recording: Recording, lane: str, rate_hz: float
) -> None:
    times = recording.times_s(lane)
    assert (len(times) - 1) / (times[-1] - times[0]) == pytest.approx(rate_hz, rel=0.01)
    steps = [b - a for a, b in itertools.pairwise(times)]
    assert min(steps) > 0
    assert statistics.median(steps) == pytest.approx(1 / rate_hz, rel=0.01)
    own = recording.device_times_s(lane)
    assert max(b - a for a, b in itertools.pairwise(own)) < 1.5 / rate_hz
    assert (len(times) - 1) / rate_hz == pytest.approx(SECONDS, abs=2)


def test_position_and_time_are_those_of_the_drive_to_the_last_digit(
    recording: Recording, drive: Path
) -> None:
    with drive.open() as file:
        truth = {row["time"]: row for row in reversed(list(csv.DictReader(file)))}
    for row in recording.rows["gps"]:
        clock = clock_of(row)
        assert row["position.x"] == pytest.approx(float(truth[clock]["latitude"]), abs=1e-8)
        assert row["position.y"] == pytest.approx(float(truth[clock]["longitude"]), abs=1e-8)
        assert row["position.z"] == pytest.approx(float(truth[clock]["altitude"]), abs=0.01)
        speed_mps = math.hypot(row["velocity.x"], row["velocity.y"])
        assert speed_mps == pytest.approx(float(truth[clock]["speed"]) / 3.6, abs=0.001)
    times = recording.times_s("gps")
    assert len(times) == round((times[-1] - times[0]) * 10) + 1 > 0.9 * SECONDS * 10


def clock_of(row: dict[str, Any]) -> str:
    """Return a fix's time of day as the drive's file writes it."""
    seconds = row["header.timestamp.seconds"] % 86_400
    millis = round(row["header.timestamp.nanoseconds"] / 1e6)
    return f"{seconds // 3600:02d}{seconds // 60 % 60:02d}{seconds % 60:02d}{millis:03d}"


def test_the_mean_motion_is_that_of_the_drive(recording: Recording, drive: Path) -> None:
    with drive.open() as file:
        logged = list(csv.DictReader(file))
    # The first fix that was recorded need not be the drive's first: a slow start misses some.
    clock = clock_of(recording.rows["gps"][0])
    begin_s = next(float(row["millis"]) / 1e3 for row in logged if row["time"] == clock)
    at_s = [float(row["millis"]) / 1e3 - begin_s for row in logged]
    first_fix_s = recording.times_s("gps")[0]
    rows = [
        (row["timestamp_ns"] / 1e9 - first_fix_s, row)
        for row in recording.rows["imu"]
        if row["timestamp_ns"] / 1e9 >= first_fix_s
    ]
    for column, name in IMU_COLUMNS.items():
        scale = 1.0 if name[0] == "a" else math.pi / 180
        values = [float(row[name]) * scale for row in logged]
        felt = [value_at(at_s, values, t_s) for t_s, _ in rows]
        seen = [row[column] for _, row in rows]
        size = statistics.fmean(map(abs, felt))
        assert statistics.fmean(seen) == pytest.approx(statistics.fmean(felt), abs=0.01 * size)
        assert statistics.pstdev(seen) == pytest.approx(statistics.pstdev(felt), rel=0.02)


def value_at(times: list[float], values: list[float], t_s: float) -> float:
    after = min(max(bisect.bisect_left(times, t_s), 1), len(times) - 1)
    begin, end = times[after - 1], times[after]
    share = (t_s - begin) / (end - begin)
    return values[after - 1] * (1 - share) + values[after] * share


def test_every_frame_shows_its_own_number_and_none_is_missing(recording: Recording) -> None:
    numbers = [row["number"] for row in recording.rows["camera"]]
    assert None not in numbers
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_the_sequence_numbers_are_without_a_gap(recording: Recording) -> None:
    for lane in ("gps", "imu", "camera"):
        counters = [row["header.sample_counter"] for row in recording.rows[lane]]
        assert counters == list(range(len(counters)))


def test_a_lone_clone_plays_its_own_vehicle_model_and_is_reconciled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECORDER_DATA", str(tmp_path / "absent"))
    made = record(tmp_path)
    assert made.code == 0, made.output
    assert made.facts["played"] == "a drive made by the built-in vehicle model"
    assert made.facts["reconciled"]
