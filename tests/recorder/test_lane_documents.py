"""What a lane's driver names as needed to read its recording is kept with every session."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import resource
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from recorder.cli import recorder
from recorder.config import Config, Lane, Spool
from recorder.config import Session as SessionTable
from recorder.spool.announce import new_session
from recorder.spool.dependencies import MOST_BYTES, Dependencies, content_id
from recorder.spool.said import Said


def settings(folder: Path, **options: str) -> Config:
    lane = Lane(name="imu", driver="mpu6050", options=options)
    return Config(lanes=[lane], spool=Spool(directory=folder, run_dir=folder))


def test_a_calibration_and_a_mounting_go_with_the_session_byte_for_byte(tmp_path: Path) -> None:
    content = b'{"acceleration": {"bias": [0.1, 0, 0]}}'
    calibration, mounting = tmp_path / "calibration.json", tmp_path / "mounting.json"
    calibration.write_bytes(content)
    mounting.write_bytes(b"[1, 0, 0, 0]")
    config = settings(tmp_path, calibration=str(calibration), mounting=str(mounting))
    store = Dependencies(config.dependencies_dir)
    session = new_session(config, store, Said())
    assert session.dependencies["calibration_imu"] == [content_id(content)]
    assert session.dependencies["mounting_imu"] == [content_id(b"[1, 0, 0, 0]")]
    assert session.dependencies_missing == {}
    assert store.get("calibration_imu", content_id(content))[1] == content


def test_a_calibration_that_is_not_there_is_said_and_keeps_nobody_from_recording(
    tmp_path: Path,
) -> None:
    config = settings(tmp_path, calibration="/none/imu.json")
    session = new_session(config, Dependencies(config.dependencies_dir), Said())
    assert session.dependencies_missing == {"calibration_imu": ["/none/imu.json"]}


def made(kind: str, file: Path) -> str:
    """Make what is no document at all, and return its path."""
    if kind == "a pipe":
        os.mkfifo(file)
    elif kind == "a directory":
        file.mkdir()
    elif kind == "a device":
        return "/dev/zero"
    elif kind == "more than":
        with file.open("wb") as large:
            large.truncate(MOST_BYTES + 1)
    return str(file)


@contextlib.contextmanager
def unblocked(file: str) -> Iterator[None]:
    """Should anybody wait at a pipe after all, let the test fail instead of hang."""
    done = threading.Event()

    def unblock() -> None:
        while not done.wait(5):
            with contextlib.suppress(OSError):
                os.close(os.open(file, os.O_RDWR | os.O_NONBLOCK))

    thread = threading.Thread(target=unblock)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


NO_DOCUMENTS = ["a pipe", "a directory", "a device", "more than", "No such file"]


@pytest.mark.parametrize("kind", NO_DOCUMENTS)
def test_what_is_no_document_is_said_as_missing_and_keeps_nobody_from_recording(
    tmp_path: Path, kind: str
) -> None:
    file = made(kind, tmp_path / "mounting")
    lanes = settings(tmp_path, mounting=file)
    config = dataclasses.replace(lanes, session=SessionTable(dependencies={"route": [file]}))
    limits = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most_bytes = pages * resource.getpagesize() + (1 << 30)  # what /dev/zero would fill
    resource.setrlimit(resource.RLIMIT_AS, (most_bytes, limits[1]))
    try:
        with unblocked(file):
            session = new_session(config, Dependencies(config.dependencies_dir), Said())
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
    assert session.dependencies_missing == {"mounting_imu": [file], "route": [file]}


@pytest.mark.parametrize("kind", NO_DOCUMENTS)
def test_what_is_no_document_is_found_by_check_with_its_key_and_what_is_allowed(
    tmp_path: Path, kind: str
) -> None:
    file = made(kind, tmp_path / "calibration")
    config = tmp_path / "recorder.toml"
    config.write_text(
        f'''
[session]
dependencies = {{route = ["{file}"]}}
[spool]
directory = "{tmp_path}"
run_dir = "{tmp_path}"
[upload]
mode = "off"
[[lanes]]
name = "imu"
driver = "mpu6050"
device = "/dev/i2c-none"
calibration = "{file}"
'''
    )
    with unblocked(file):
        said = CliRunner().invoke(recorder, ["check", "--config", str(config), "--json"])
    findings = json.loads(said.output)["findings"]
    for key in ("session.dependencies.route", "lanes[0].calibration (lane 'imu')"):
        (found,) = [one for one in findings if one.startswith(f"{key}: found {file}: ")]
        assert kind in found
        assert found.endswith(f"; must be a file of at most {MOST_BYTES} bytes")
    assert said.exit_code == 1


def test_a_document_as_large_as_is_allowed_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "calibration"
    file.write_bytes(bytes(MOST_BYTES))
    config = settings(tmp_path, calibration=str(file))
    session = new_session(config, Dependencies(config.dependencies_dir), Said())
    assert session.dependencies_missing == {}
