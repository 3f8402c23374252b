"""A server that has lost what it was sent: nothing that is sent from then on is called whole."""

from __future__ import annotations

import pytest

from recorder.ground import GroundStation
from recorder.mosaico import MosaicoClient
from recorder.service import Stop
from recorder.spool.receipts import receipts
from recorder.uploader import Asked, Uploader, upload_once, verify_all


@pytest.fixture
def begun(drive, tmp_path):
    """Record, and bring the first part to a station that goes away; return the uploader and how."""
    drive.tell_time()
    drive.imu(20)
    drive.camera(6)
    drive.end()
    with GroundStation(tmp_path / "before") as station:
        config = drive.config(station.url)
        uploader = Uploader(config, Stop(), asked=Asked())
        while not receipts(config.upload_dir / drive.id):
            assert uploader.work()
    uploader.hang_up()
    yield uploader, config
    uploader.close()


@pytest.fixture
def config(begun):
    """The settings, with the station's port; nobody uploads any more."""
    uploader, config = begun
    uploader.close()
    return config


def port(config):
    return int(config.upload.server.rpartition(":")[2])


def test_the_rest_is_not_sent_to_a_server_that_has_lost_the_beginning(drive, config, tmp_path):
    with GroundStation(tmp_path / "emptied", port=port(config)) as station:
        reason = upload_once(config).parked[drive.id]
        assert f"{station.url} has lost" in reason
        with MosaicoClient.connect_url(station.url) as client:
            assert client.sequences() == []
        assert upload_once(config, asked=Asked(drive.id, anew=drive.id)).done == [drive.id]
        (found,) = verify_all(config, lambda _: None).values()
    assert found.wrong == []
    assert found.rows > 20


def test_a_server_whose_disk_is_back_gets_the_rest(drive, config, tmp_path):
    with GroundStation(tmp_path / "emptied", port=port(config)):
        assert upload_once(config).parked
    with GroundStation(tmp_path / "before", port=port(config)):
        assert upload_once(config).done == [drive.id]
        (found,) = verify_all(config, lambda _: None).values()
    assert found.wrong == []


def test_an_uploader_that_runs_on_notices_it_too(drive, begun, tmp_path):
    uploader, config = begun
    with GroundStation(tmp_path / "emptied", port=port(config)) as station:
        while uploader.work():
            pass
        assert f"{station.url} has lost" in uploader.parked()[drive.id]
        with MosaicoClient.connect_url(station.url) as client:
            assert client.sequences() == []
