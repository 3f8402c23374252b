from __future__ import annotations

import copy
import json
import random
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from recorder.cli import recorder
from recorder.ground import GroundStation
from recorder.service import Stop
from recorder.spool.journal import Journal
from recorder.uploader import Uploader, upload_once
from tests.audit.uploads import LossyDrive, live
from tests.recorder.audit.filled import ID, filled
from tests.recorder.building import Machine, free_port, machine, wait_until
from tests.recorder.upload.made import GPS, IMU


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(recorder, ["audit", *(str(one) for one in arguments)])


def test_an_equal_recording_exits_with_0_and_one_that_is_not_with_1_and_says_where(
    tmp_path: Path,
) -> None:
    with filled(tmp_path, {"imu": 200.0}) as one:
        one.fill("imu", 20, lost=[(500, 507)])
        one.end()
        found = call(tmp_path / "data", ID[:6])
        assert found.exit_code == 0, found.output
        assert "equal" in found.output
        assert "3,993" in found.output
        wrong = copy.deepcopy(one.entries("session")[-1])
        wrong["session"]["lanes"][0]["lost_source"] = 6
        journal = Journal(one.spool.journal_path(ID))
        journal.append(wrong)
        journal.close()
        found = call(tmp_path / "data" / "spool", ID)
        assert found.exit_code == 1, found.output
        assert "imu: lost_source 6, by the rows 7" in found.output
        assert "NOT equal" in found.output
        facts = json.loads(call(tmp_path / "data", ID, "--json").output)
        assert not facts["is_equal"]
        assert facts["lanes"][0]["recomputed"]["lost_source"] == 7


@pytest.mark.parametrize("session_id", ["ffff", ""])
def test_a_recording_that_is_not_one_exits_with_2(session_id: str, tmp_path: Path) -> None:
    with filled(tmp_path, {"imu": 200.0}) as one:
        folder = one.spool.directory / "sessions"
        if not session_id:  # two begin with it
            other = folder / "6d0c6a0e"
            other.mkdir()
            (other / "journal").touch()
        found = call(tmp_path / "data", session_id)
        assert found.exit_code == 2
        assert "recording" in found.output


def test_no_spool_and_no_server_exit_with_2(tmp_path: Path) -> None:
    assert call(tmp_path, "5d0c").exit_code == 2
    found = call(f"grpc://127.0.0.1:{free_port()}", "5d0c")
    assert found.exit_code == 2, found.output


def test_a_server_that_holds_a_row_less_than_told_is_found_out(tmp_path: Path) -> None:
    with GroundStation(tmp_path / "ground") as station:
        dice = random.Random(3)
        drive = LossyDrive(tmp_path, dice)
        live(drive, dice)
        drive.recording.close()
        upload_once(drive.config(station.url))
        found = call(station.url, drive.id[:8])
        assert found.exit_code == 0, found.output
        (chunk, *_) = sorted((tmp_path / "ground").rglob("*.parquet"), key=_size)[::-1]
        _drop_a_row(chunk)
        found = call(station.url, drive.id[:8])
        assert found.exit_code in (1, 2), found.output


def _size(path: Path) -> int:
    return path.stat().st_size


def _drop_a_row(path: Path) -> None:
    import pyarrow.parquet as pq  # noqa: PLC0415 - beside its one use

    whole = pq.read_table(path)
    pq.write_table(whole.slice(1), path)


def goes_on(one: Machine) -> None:
    before = one.stored()
    wait_until(lambda: one.stored() > before)


def test_a_recording_under_way_is_equal_on_disk_while_its_processes_run_and_are_killed(
    tmp_path: Path,
) -> None:
    with machine(tmp_path, heartbeat_s=0.2) as one:
        one.start("spool")
        one.start("lane")
        wait_until(lambda: one.stored() > 200)
        (session,) = [each.name for each in (one.spool / "sessions").iterdir()]
        for _ in range(5):
            found = call(one.spool, session)
            assert found.exit_code == 0, found.output
            goes_on(one)
        one.kill("lane")
        one.kill("spool")
        assert call(one.spool, session).exit_code == 0
        one.start("spool")
        one.start("lane")
        goes_on(one)
        one.end("lane")
        one.end("spool")
        found = call(one.spool, session)
        assert found.exit_code == 0, found.output


def test_a_recording_that_is_sent_while_it_runs_is_audited_on_the_server(tmp_path: Path) -> None:
    with GroundStation(tmp_path / "ground") as station:
        drive = LossyDrive(tmp_path, random.Random(7))
        drive.recording.close()
        drive.begin(age_s=70)
        drive.tell_time()
        uploader = Uploader(drive.config(station.url, mode="live", part_s=1.0), Stop())
        try:
            for _ in range(4):
                for _ in range(60):
                    drive.acquire(IMU)
                    drive.acquire(GPS)
                drive.commit()
                drive.recording.settle()
                drive.beat()
                while uploader.work():
                    pass
            told = call(station.url, drive.id[:8])
            drive.end()
            while uploader.work():
                pass
        finally:
            uploader.close()
            drive.recording.close()
        assert told.exit_code == 0, told.output
        found = call(station.url, drive.id[:8])
        assert found.exit_code == 0, found.output
        assert call(tmp_path / "data", drive.id).exit_code == 0
