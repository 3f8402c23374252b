"""Commits that are measured, and those of a recorder that runs."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from recorder import status
from recorder.box.disk import Disk
from recorder.box.disk_speed import Speed, of_speed, speed
from recorder.config import Config, Lane, Spool
from recorder.spool.pace import Pace

CARD = Disk("/s", "ext4", ("rw",), "/dev/x", "mmcblk0", "SD card", "", "write back", 0, 0)


def config(folder: Path, **spool: float) -> Config:
    own = Spool(directory=folder, run_dir=folder / "run", free_floor_bytes=0)
    lane = Lane(name="imu", driver="mpu6050")
    return Config(lanes=[lane], spool=dataclasses.replace(own, **spool))  # type: ignore[arg-type] # numbers


def test_the_test_writes_what_a_commit_has_and_leaves_nothing(tmp_path: Path) -> None:
    found = speed(config(tmp_path), tmp_path, 200_000)
    assert (found.error, found.bytes_each) == ("", 100_000)
    assert 0 < found.commits <= 40
    assert 0 < found.p50_s <= found.p99_s <= found.slowest_s
    assert list(tmp_path.iterdir()) == []


def test_a_very_fast_lane_does_not_make_the_test_long(tmp_path: Path) -> None:
    found = speed(config(tmp_path), tmp_path, 1e12)
    assert found.commits * found.bytes_each <= 64 * 1024 * 1024


def test_a_recorder_that_runs_is_asked_and_nothing_is_written(tmp_path: Path) -> None:
    pace = Pace(500_000_000, 2_000_000_000)
    for took_ms in (*[4] * 98, 30, 700):
        pace.note(took_ms * 1_000_000)
    status.publish(tmp_path / "run", "spool", {"commits": pace.to_dict()})
    found = speed(config(tmp_path), tmp_path / "not there", 200_000)
    assert (found.commits, found.bytes_each, found.error) == (100, 0, "")
    assert (found.p50_s, found.p99_s, found.slowest_s) == (0.005, 0.05, 0.7)


def test_a_disk_that_is_nearly_full_or_takes_nothing_is_left_alone(tmp_path: Path) -> None:
    full = speed(config(tmp_path, free_floor_bytes=10**18), tmp_path, 1000)
    assert full.error == "the disk is too full for a test"
    absent = speed(config(tmp_path), tmp_path / "not there", 1000)
    assert absent.error == "No such file or directory"
    assert list(of_speed(config(tmp_path), absent, CARD)) == []


@pytest.mark.parametrize(
    ("took", "told"),
    [
        (Speed(40, 1000, 0.02, 0.1, 0.4), []),
        (Speed(40, 1000, 0.02, 0.1, 1.6), [False]),
        (Speed(40, 1000, 2.5, 3.0, 3.0), [True]),
        (Speed(40, 1000, 0.00005, 0.0001, 0.0002), [False]),
    ],
)
def test_commits_are_held_against_the_promise(
    tmp_path: Path, took: Speed, told: list[bool]
) -> None:
    found = list(of_speed(config(tmp_path), took, CARD))
    assert [one.is_error for one in found] == told
