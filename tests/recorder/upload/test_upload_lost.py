"""A server that has lost what it was sent: nothing that is sent from then on is called whole."""

from __future__ import annotations

import pytest

from recorder.audit import audit_server, audit_spool
from recorder.errors import RecorderError, RemoteForbiddenError
from recorder.ground import GroundStation
from recorder.ground.observe import Address, Observer
from recorder.mosaico import MosaicoClient
from recorder.service import Stop
from recorder.spool import journal
from recorder.spool.receipts import receipts
from recorder.uploader import Asked, Uploader, upload_once, verify_all
from tests.known import known
from tests.recorder.upload.made import differences, server_rows


@pytest.fixture
def whole(drive):
    """A recording that has ended."""
    drive.tell_time()
    drive.imu(20)
    drive.camera(6)
    drive.end()
    return drive


@pytest.fixture
def begun(whole, tmp_path):
    """Record, and bring the first part to a station that goes away; return the uploader and how."""
    with GroundStation(tmp_path / "before") as station:
        config = whole.config(station.url)
        uploader = Uploader(config, Stop(), asked=Asked())
        while not receipts(config.upload_dir / whole.id):
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


@pytest.fixture
def delivered(whole, tmp_path):
    """Record, and deliver it all to a station that goes away; return the settings."""
    with GroundStation(tmp_path / "before") as station:
        config = whole.config(station.url)
        assert upload_once(config).done == [whole.id]
    return config


def evict(drive, lane):
    """Give up a lane's first segment, as the spool does with what the server holds."""
    first = drive.spool.segments(drive.id, lane)[0]
    rows = next(
        one["rows"]
        for one in drive.spool.entries(drive.id)
        if one["entry"] == "sealed" and one["file"] == first.name
    )
    stone = {"lane": lane, "file": first.name, "rows": rows, "delivered": True, "leased": False}
    log = journal.Journal(drive.spool.journal_path(drive.id))
    log.record({"entry": "evicted", **stone})
    log.close()
    first.unlink()
    return rows


def named(url):
    with MosaicoClient.connect_url(url) as client:
        return client.sequences()


def test_what_was_delivered_whole_is_sent_anew_to_a_server_that_has_lost_it(
    drive, delivered, tmp_path
):
    with GroundStation(tmp_path / "emptied", port=port(delivered)) as station:
        assert upload_once(delivered).before == {drive.id: station.url}
        assert named(station.url) == []
        summary = upload_once(delivered, asked=Asked(drive.id, anew=drive.id))
        assert (summary.done, summary.lacking) == ([drive.id], {})
        (name,) = named(station.url)
        for lane in ("imu", "camera"):
            assert differences(server_rows(station.url, name, lane), drive.expected(lane)) == []
        (found,) = verify_all(delivered, lambda _: None).values()
        assert found.wrong == []
        with pytest.raises(RecorderError, match=f"still has all .* samples of {name}"):
            upload_once(delivered, asked=Asked(drive.id, anew=drive.id))


@pytest.mark.parametrize("topic", ["imu", "recorder/summary"])
def test_one_that_has_lost_a_topic_gets_another_sequence_that_replaces_the_first(
    drive, delivered, tmp_path, topic
):
    with GroundStation(tmp_path / "before", port=port(delivered)) as station:
        (old,) = named(station.url)
        with MosaicoClient.connect_url(station.url) as client:
            client.delete_topic(f"{old}/{topic}")
        assert upload_once(delivered, asked=Asked(drive.id, anew=drive.id)).done == [drive.id]
        (new,) = set(named(station.url)) - {old}
        with Observer(Address(station.url)) as observer:
            told = known(observer.client.describe_sequence(new)).user_metadata["recording"]
            assert told["replaces"] == [old]
            assert [one.counts for one in observer.recordings()] == [False, True]
            assert f"sent anew as {new}" in observer.client.notifications(old)[-1].text
        assert differences(server_rows(station.url, new, "imu"), drive.expected("imu")) == []


def test_one_that_gives_less_than_its_catalogue_says_gets_all_of_it(
    drive, delivered, tmp_path, monkeypatch
):
    read = MosaicoClient.read

    def short(client, locator, *args, **kwargs):
        for batch in read(client, locator, *args, **kwargs):
            yield batch.slice(1) if locator == f"{old}/imu" else batch

    with GroundStation(tmp_path / "before", port=port(delivered)) as station:
        (old,) = named(station.url)
        monkeypatch.setattr(MosaicoClient, "read", short)
        assert upload_once(delivered, asked=Asked(drive.id, anew=drive.id)).done == [drive.id]
        (new,) = set(named(station.url)) - {old}
        assert differences(server_rows(station.url, new, "imu"), drive.expected("imu")) == []


def test_a_key_that_may_not_read_is_told_as_such_and_nothing_is_called_lost(drive, tmp_path):
    drive.tell_time()
    drive.imu(20)
    drive.end()
    with GroundStation(tmp_path / "keyed", check_keys=True) as station:
        key = tmp_path / "key"
        key.touch(0o600)
        key.write_text(station.keys.create(["read", "write"]))
        config = drive.config(station.url, key_file=key)
        assert upload_once(config).done == [drive.id]
        key.write_text(station.keys.create(["write"]))
        with pytest.raises(RemoteForbiddenError):
            verify_all(config, lambda _: None)
        with pytest.raises(RemoteForbiddenError):
            upload_once(config, asked=Asked(drive.id, anew=drive.id))
        assert upload_once(config).before == {drive.id: station.url}


def test_one_that_has_all_is_sent_nothing_and_says_so(drive, delivered, tmp_path):
    path = delivered.upload_dir / drive.id
    before = path.read_bytes()
    with GroundStation(tmp_path / "before", port=port(delivered)) as station:
        (name,) = named(station.url)
        with pytest.raises(
            RecorderError, match=f"^{station.url} still has all .* samples of {name}"
        ):
            upload_once(delivered, asked=Asked(drive.id, anew=drive.id))
        assert named(station.url) == [name]
    assert path.read_bytes() == before


def test_what_the_spool_gave_up_since_is_named_and_counted(drive, delivered, tmp_path):
    rows = evict(drive, "camera")
    with GroundStation(tmp_path / "emptied", port=port(delivered)) as station:
        summary = upload_once(delivered, asked=Asked(drive.id, anew=drive.id))
        assert summary.done == [drive.id]
        assert summary.lacking == {drive.id: {"camera": {"lost_evicted": rows}}}
        (name,) = named(station.url)
        left = drive.expected("camera")[rows:]
        assert differences(server_rows(station.url, name, "camera"), left) == []
        with MosaicoClient.connect_url(station.url) as client:
            assert audit_server(client, drive.id).all_differences == []
            (note,) = client.notifications(name)
            assert "recording ended truncated" in note.text
    (final,) = [
        one["session"]
        for one in journal.read(delivered.upload_dir / drive.id)
        if one["entry"] == "final"
    ]
    camera = next(one for one in final["lanes"] if one["name"] == "camera")
    assert (camera["delivered"], camera["lost_evicted"]) == (len(left), rows)
    assert (final["state"], final["ledger_ok"]) == ("truncated", True)
    assert audit_spool(drive.spool.directory, drive.id).all_differences == []
