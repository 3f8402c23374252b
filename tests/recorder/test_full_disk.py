"""Real processes on a disk that runs full: who goes on, what is given up, and what comes back."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from drivers.base import Sample
from recorder import config
from recorder.cli import recorder
from recorder.clock import boot_ns
from recorder.command import ask
from recorder.configfile.place import check_place
from recorder.errors import RecorderError
from recorder.session.session import Session
from recorder.spool.spool import Spool
from tests.leash import LEASH
from tests.recorder.building import ROOT, Machine, Numbered, assert_sound, fill, wait_until

SEGMENT_BYTES = 131_072
PICTURE_BYTES = 16_384
RATES_HZ = {"camera": 60.0, "imu": 400.0, "gps": 200.0}


class Pictures(Numbered):
    """Numbered rows with a picture behind each."""

    kind = "pictures"
    blob = "jpeg"

    def read(self, timeout_s: float) -> Sample | None:
        found = super().read(timeout_s)
        if found is None:
            return None
        return dataclasses.replace(found, payload=[*found.payload, bytes(PICTURE_BYTES)])


class Vehicle(Machine):
    """A recorder with three lanes."""

    def __init__(self, directory: Path, **options: Any) -> None:
        super().__init__(directory, segment_bytes=SEGMENT_BYTES, **options)
        origin = {"origin_boot_ns": boot_ns()}
        lanes = [
            config.Lane(
                name=name,
                driver=f"{__name__}:{'Pictures' if name == 'camera' else 'Numbered'}",
                options={"rate_hz": rate_hz, **origin},
                ring_bytes=1 << 20,
            )
            for name, rate_hz in RATES_HZ.items()
        ]
        self.config = dataclasses.replace(self.config, lanes=lanes)

    def start_lane(self, name: str) -> None:
        arguments = [sys.executable, "-m", "recorder.lane", name, config.to_json(self.config)]
        env = {**os.environ, **LEASH.environment}
        self.processes[name] = subprocess.Popen(arguments, cwd=ROOT, env=env, pass_fds=LEASH.fds)

    def start_all(self) -> None:
        self.start("spool")
        for name in RATES_HZ:
            self.start_lane(name)

    def end_all(self) -> Session:
        for name in (*RATES_HZ, "spool"):
            assert self.end(name) == 0
        spool = Spool(self.spool)
        return spool.session(spool.session_ids()[-1])

    def stored_of(self, lane: str) -> int:
        return self._count(lane, "stored")

    def evicted_of(self, lane: str) -> int:
        """Return how many samples of a lane lie in segments that were given up."""
        if not self.sign("spool"):
            return 0
        spool = Spool(self.spool)
        entries = spool.entries(spool.session_ids()[-1])
        return sum(
            int(one["rows"]) for one in entries if one["entry"] == "evicted" and one["lane"] == lane
        )

    def _count(self, lane: str, key: str) -> int:
        session = self.sign("spool").get("session")
        lanes = session["lanes"] if session else []
        return next((int(one[key]) for one in lanes if one["name"] == lane), 0)

    def grows(self, lane: str, by: int) -> None:
        before = self.stored_of(lane)
        wait_until(lambda: self.stored_of(lane) >= before + by)


@contextlib.contextmanager
def vehicle(directory: Path, **options: Any) -> Iterator[Vehicle]:
    one = Vehicle(directory, **options)
    try:
        yield one
    finally:
        for name in list(one.processes):
            one.kill(name)


@contextlib.contextmanager
def mounted(kind: str, directory: Path, size_bytes: int) -> Iterator[Path]:
    """Mount a small file system, or skip the test where nobody may."""
    disk = directory / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "none", str(disk)]
    if kind == "ext4":
        image = directory / "image"
        with image.open("wb") as file:
            file.truncate(size_bytes)
        made = subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], check=False)
        if made.returncode:
            pytest.skip("no mkfs.ext4 here")
        command = ["mount", "-o", "loop", str(image), str(disk)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("no right to mount a small disk here")
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@contextlib.contextmanager
def another_program(disk: Path) -> Iterator[Path]:
    """Take every free block of a disk, again and again, into one file."""
    done = threading.Event()

    def fill() -> None:
        with (disk / "foreign").open("wb", buffering=0) as file:
            while not done.wait(1):
                with contextlib.suppress(OSError):
                    while not done.is_set():
                        file.write(bytes(4096))

    thread = threading.Thread(target=fill)
    thread.start()
    try:
        yield disk / "foreign"
    finally:
        done.set()
        thread.join(20)


@pytest.mark.parametrize("kind", ["tmpfs", "ext4"])
def test_a_disk_that_another_program_fills_stops_the_lane_that_matters_most_never(
    tmp_path: Path, kind: str
) -> None:
    with mounted(kind, tmp_path, 6 << 20) as disk:
        with vehicle(tmp_path, data=disk, commit_interval_s=0.1) as one:
            one.start_all()
            wait_until((one.spool / "reserve").exists)
            wait_until(lambda: one.evicted_of("camera") > 0)
            with another_program(disk) as foreign:
                one.grows("gps", 1000)
                assert one.processes["spool"].poll() is None
            foreign.unlink()
            one.grows("camera", 100)
            wait_until(lambda: not one.sign("spool")["trouble"])
            wait_until((one.spool / "reserve").exists)
            session = one.end_all()
            assert_sound(one.spool)
        lanes = {each.name: each for each in session.lanes}
        assert [each.imbalances() for each in session.lanes] == [[], [], []]
        assert lanes["camera"].lost_evicted > 0
        assert (lanes["gps"].lost_ring, lanes["gps"].lost_write) == (0, 0)
        assert session.state.name == "truncated"


@pytest.mark.parametrize("kind", ["tmpfs", "ext4"])
def test_a_recorder_that_starts_on_a_full_disk_makes_room_and_records(
    tmp_path: Path, kind: str
) -> None:
    with mounted(kind, tmp_path, 6 << 20) as disk:
        with vehicle(tmp_path, data=disk, commit_interval_s=0.1) as one:
            one.start_all()
            wait_until(lambda: one.evicted_of("camera") > 0)
            one.kill("spool")
            with (disk / "foreign").open("wb", buffering=0) as file, contextlib.suppress(OSError):
                while True:
                    file.write(bytes(1024))
            before = one.stored_of("gps")
            check_place(one.config)  # what `recorder run` looks at first
            one.start("spool")
            wait_until(lambda: one.stored_of("gps") >= before + 200)
            session = one.end_all()
            assert_sound(one.spool)
        assert [each.imbalances() for each in session.lanes] == [[], [], []]
        gps = next(each for each in session.lanes if each.name == "gps")
        assert (gps.lost_ring, gps.lost_write) == (0, 0)


def test_a_recording_that_is_started_on_a_full_disk_begins_as_soon_as_there_is_room(
    tmp_path: Path,
) -> None:
    with (
        mounted("tmpfs", tmp_path, 6 << 20) as disk,
        vehicle(tmp_path, data=disk, commit_interval_s=0.1) as one,
    ):
        one.start("spool")
        wait_until(lambda: one.sign("spool").get("session"))
        stopped = ask(one.config.command_socket, "stop")["id"]
        (one.spool / "reserve").unlink(missing_ok=True)
        fill(disk)
        with pytest.raises(RecorderError, match=r"begins as soon as it does.*No space left"):
            ask(one.config.command_socket, "start")
        # What was asked for stands, whoever dies.
        one.kill("spool")
        (anchors,) = one.spool.glob("boots/*/anchors")
        os.truncate(anchors, anchors.stat().st_size)  # the blocks that it had taken ahead
        fill(disk)
        one.start("spool")
        wait_until(lambda: "No space left" in one.sign("spool").get("trouble", ""))
        (disk / "filler").unlink()
        wait_until(lambda: one.sign("spool").get("session"))
        assert one.sign("spool")["session"]["id"] != stopped
        assert one.end("spool") == 0
        assert_sound(one.spool)


def test_a_spool_with_a_maximum_gives_up_pictures_and_keeps_the_rest(tmp_path: Path) -> None:
    most_bytes = 16 * SEGMENT_BYTES
    with vehicle(tmp_path, max_bytes=most_bytes) as one:
        one.start_all()
        wait_until(lambda: one.evicted_of("camera") > 200)
        one.grows("gps", 50)
        session = one.end_all()
        assert_sound(one.spool)
        sizes = [path.stat().st_blocks * 512 for path in one.spool.glob("sessions/*/*/*.seg")]
        # What one commit adds comes on top, and what is being written is never given up.
        assert sum(sizes) <= most_bytes + 4 * SEGMENT_BYTES
        lanes = {each.name: each for each in session.lanes}
        assert (lanes["gps"].lost_evicted, lanes["imu"].lost_evicted) == (0, 0)
        assert lanes["camera"].lost_evicted == one.evicted_of("camera")
        assert [each.imbalances() for each in session.lanes] == [[], [], []]


def test_a_running_recorder_journals_a_pin_before_it_answers(tmp_path: Path) -> None:
    with vehicle(tmp_path, max_bytes=64 * SEGMENT_BYTES) as one:
        one.start_all()
        one.grows("imu", 400)
        spool = Spool(one.spool)
        (session_id,) = spool.session_ids()
        told = ask(one.config.command_socket, "pin", start=session_id[:8], from_s=0.0, to_s=0.5)
        assert told["id"] == session_id
        assert [each for each in spool.entries(session_id) if each["entry"] == "pin"] != []
        with pytest.raises(RecorderError, match="no session begins with"):
            ask(one.config.command_socket, "pin", start="zzz")
        told = ask(one.config.command_socket, "unpin", start=session_id)
        assert spool.entries(session_id)[-1]["entry"] in ("unpin", "session", "sealed")
        with pytest.raises(RecorderError, match="nothing of it is pinned"):
            ask(one.config.command_socket, "unpin", start=session_id)


def test_the_command_line_asks_the_recorder_that_runs(tmp_path: Path) -> None:
    file = tmp_path / "recorder.toml"
    file.write_text(
        '[spool]\ndirectory = "data"\nrun_dir = "run"\n[upload]\nmode = "off"\n'
        '[[lanes]]\nname = "imu"\ndriver = "mpu6050"\n'
    )
    with vehicle(tmp_path, max_bytes=64 * SEGMENT_BYTES) as one:
        one.start_all()
        one.grows("imu", 400)
        (session_id,) = Spool(one.spool).session_ids()
        result = CliRunner().invoke(recorder, ["pin", session_id[:8], "--config", str(file)])
        assert result.exit_code == 0, result.output
        assert result.output.startswith(f"{session_id}: pinned, ")
        shown = CliRunner().invoke(recorder, ["spool", "--config", str(file)])
        assert shown.exit_code == 0, shown.output
        told = " ".join(shown.output.split())
        assert "undelivered data is given up in" in told
        assert f"{session_id[:8]} camera" in told
