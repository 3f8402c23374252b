"""What the uploader makes of a journal that was rewritten while, or after, it was at work."""

from __future__ import annotations

import dataclasses

import pytest

from recorder.config import Spool as SpoolSettings
from recorder.errors import RemoteAwayError
from recorder.ground import GroundStation
from recorder.mosaico import MosaicoClient
from recorder.service import Stop
from recorder.spool import journal
from recorder.spool.compaction import compact
from recorder.spool.quota import Room
from recorder.uploader import Uploader, upload_once, verify_all
from tests.recorder.building import free_port


def beat(drive, times):
    for number in range(1, times + 1):
        drive.recording.session.beat(drive.start_ns + number, 1_700_000_000_000_000_000 + number)
        drive.recording.note_session()


def server_records(url):
    with MosaicoClient.connect_url(url) as client:
        (name,) = client.sequences()
        return sum(one.num_rows for one in client.read(f"{name}/recorder/session"))


def entries(config, drive, kind):
    return [one for one in journal.read(config.upload_dir / drive.id) if one["entry"] == kind]


def test_what_was_sent_compares_equal_when_its_heartbeats_are_gone(drive, tmp_path):
    drive.imu(20)
    beat(drive, 30)
    drive.end()
    path = drive.spool.journal_path(drive.id)
    with GroundStation(tmp_path / "ground") as station:
        config = drive.config(station.url)
        assert upload_once(config).done == [drive.id]
        assert server_records(station.url) > 30
        whole = path.stat().st_size
        assert compact(path, is_settled=True)
        assert path.stat().st_size < whole / 3
        (compared,) = verify_all(config, lambda _: None).values()
        assert compared.wrong == []
        assert compared.digest_rows > 30
        assert upload_once(config).done == [], "and nothing is sent twice"


def test_rows_that_go_between_plan_and_delivery_are_planned_anew(drive, tmp_path):
    beat(drive, 30)
    drive.end()
    config = drive.config(f"grpc://127.0.0.1:{free_port()}")
    uploader = Uploader(config, Stop())
    with pytest.raises(RemoteAwayError):
        uploader.work()
    uploader.close()
    (planned,) = entries(config, drive, "planned")
    assert planned["rows"] > 30
    assert compact(drive.spool.journal_path(drive.id), is_settled=True)
    with GroundStation(tmp_path / "ground") as station:
        config = drive.config(station.url)
        assert upload_once(config).done == [drive.id]
        assert [one["part"] for one in entries(config, drive, "dropped")] == [0]
        assert server_records(station.url) == 3, "the first, the last, and the terminal record"
        (compared,) = verify_all(config, lambda _: None).values()
        assert compared.wrong == []


def test_a_session_is_sent_shrinks_is_given_up_and_removed_and_the_uploader_forgets_it(
    drive, tmp_path
):
    drive.imu(20)
    beat(drive, 30)
    drive.end()
    first = drive.id
    drive.begin()
    with GroundStation(tmp_path / "ground") as station:
        config = drive.config(station.url)
        assert upload_once(config).done == [first]
        full = dataclasses.replace(
            config,
            spool=SpoolSettings(
                directory=config.spool.directory,
                run_dir=config.spool.run_dir,
                free_floor_bytes=1 << 60,
            ),
        )
        room = Room(drive.spool, full)
        for _ in range(3):
            room.keep(drive.recording)
        assert drive.spool.session_ids() == [drive.id]
        assert (config.upload_dir / first).exists()
        assert upload_once(config).done == []
        assert not (config.upload_dir / first).exists()
        with MosaicoClient.connect_url(station.url) as client:
            assert len(client.sequences()) == 1, "the server keeps what it has"
