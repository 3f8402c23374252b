"""What a lane's driver names as needed to read its recording is kept with every session."""

from __future__ import annotations

from pathlib import Path

from recorder.config import Config, Lane, Spool
from recorder.spool.announce import new_session
from recorder.spool.dependencies import Dependencies, content_id
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
