from __future__ import annotations

import csv
import itertools
import math
import os
import random
from pathlib import Path

import pytest

from drivers.sim.drive import Drive
from drivers.sim.motion import AT_REST, G, Samples, Sense, Track
from drivers.sim.vehicle import METRES_PER_DEG, Vehicle

DATA = Path(os.environ.get("RECORDER_DATA", Path(__file__).parents[2] / "../shared/data"))
DRIVE = DATA / "drive" / "car-2014-03-26.csv"

needs_drive = pytest.mark.skipif(not DRIVE.exists(), reason=f"no recorded drive at {DRIVE}")


@pytest.fixture(scope="module")
def vehicle():
    return Vehicle()


def test_samples_are_linear_between_and_begin_again_at_the_end():
    samples = Samples([0.0, 1.0, 3.0], [Sense(*[v] * 6) for v in (0.0, 2.0, -2.0)])
    assert [samples.at(t)[0] for t in (0.0, 0.5, 1.0, 2.0, 2.5, 3.0, 3.5)] == [
        0.0, 1.0, 2.0, 0.0, -1.0, 0.0, 1.0,
    ]  # fmt: skip


@needs_drive
def test_a_drive_plays_its_rows_at_their_own_times():
    drive = Drive(DRIVE)
    with DRIVE.open() as file:
        rows = list(csv.DictReader(file))
    start_ms = float(rows[0]["millis"])
    for row in random.Random(1).sample(rows[:-1], 200):
        sense = drive.at((float(row["millis"]) - start_ms) / 1e3)
        assert sense.ax == pytest.approx(float(row["ax"]), abs=1e-6)
        assert sense.az == pytest.approx(float(row["az"]), abs=1e-6)
        assert math.degrees(sense.wz) == pytest.approx(float(row["yawrate"]), abs=1e-5)


@needs_drive
def test_a_drive_has_its_receivers_epochs_and_their_gaps():
    fixes = Drive(DRIVE).fixes
    steps_ms = [(b.utc_ns - a.utc_ns) // 10**6 for a, b in itertools.pairwise(fixes)]
    assert len(fixes) == 2158
    assert (steps_ms.count(100), steps_ms.count(200), len(steps_ms)) == (2154, 3, 2157)
    first = fixes[0]
    assert first.utc_ns == 1_395_837_505_300_000_000  # 2014-03-26 12:38:25.3
    assert (first.latitude_deg, first.longitude_deg) == (51.039553, 13.792498)
    assert first.speed_mps == pytest.approx(2.42 / 3.6)
    assert (first.course_deg, first.altitude_m, first.satellites) == (324.2, 111.52, 5)


def test_a_track_in_a_circle_feels_its_turn_rate_and_is_pulled_inwards():
    # 10 m/s, a full turn to the right in 36 s: the course passes 360.
    track = Track([(t, 10.0, (90 + 10 * t) % 360) for t in range(60)])
    sense = track.at(30.0)
    turn_rate = -math.radians(10)
    assert sense.wz == pytest.approx(turn_rate)
    assert sense.ay == pytest.approx(10 * turn_rate)  # y is left
    assert sense.ax == pytest.approx(0.0)
    assert sense.az == G


def test_a_track_that_gets_faster_is_pushed_forward():
    track = Track([(0.2 * n, 0.4 * n, 45.0) for n in range(50)])
    assert track.at(5.03).ax == pytest.approx(2.0)


def test_a_track_of_nothing_is_at_rest():
    assert Track([]).at(12.3) == AT_REST
    assert Track([(0.0, 3.0, 1.0), (0.0, 4.0, 2.0)]).at(0.5) == AT_REST


def test_the_vehicle_waits_drives_turns_and_stops(vehicle):
    speeds_mps = [fix.speed_mps for fix in vehicle.fixes]
    turned = sum(abs(vehicle.motion(n / 10)[3]) / 10 for n in range(len(vehicle.fixes)))
    assert 7 < max(speeds_mps) < 15
    assert min(speeds_mps) == 0
    assert speeds_mps.count(0.0) > 30
    assert turned > 10 * math.pi


def test_the_vehicles_forces_add_up_to_its_speed_and_heading(vehicle):
    step_s, seconds = 0.005, 120
    speed_mps, heading, _, _ = vehicle.motion(0)
    for n in range(int(seconds / step_s)):
        sense = vehicle.at((n + 0.5) * step_s)
        speed_mps += sense.ax * step_s
        heading += sense.wz * step_s
    assert (speed_mps, heading) == pytest.approx(vehicle.motion(seconds)[:2], abs=0.02)


def test_the_vehicles_track_follows_its_speed_and_course(vehicle):
    for old, new in itertools.pairwise(vehicle.fixes[:1200]):
        north_m = (new.latitude_deg - old.latitude_deg) * METRES_PER_DEG
        east_m = (new.longitude_deg - old.longitude_deg) * METRES_PER_DEG
        east_m *= math.cos(math.radians(48.137))
        speed_mps = (old.speed_mps + new.speed_mps) / 2
        assert math.hypot(north_m, east_m) * 10 == pytest.approx(speed_mps, abs=0.05)
        if speed_mps > 1:
            off_deg = (math.degrees(math.atan2(east_m, north_m)) - old.course_deg) % 360
            assert min(off_deg, 360 - off_deg) < 6


def test_the_same_seed_drives_the_same_course_and_another_seed_another():
    assert Vehicle(3).fixes == Vehicle(3).fixes
    assert Vehicle(3).fixes != Vehicle(4).fixes
