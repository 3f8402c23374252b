"""Servers of each generation, their limits of size, other servers, and what they hold later."""

from __future__ import annotations

import dataclasses

import pyarrow as pa
import pytest

from recorder.ground import GroundStation, answers
from recorder.mosaico import MosaicoClient
from recorder.service import Stop
from recorder.spool import journal
from recorder.spool.receipts import delivered, receipts
from recorder.upload.content import digest
from recorder.uploader import Asked, Uploader, upload_once, verify_all
from tests.known import known
from tests.recorder.upload.made import differences, server_rows
from tests.recorder.upload.old_servers import become


def ask(url, key=None):
    with MosaicoClient.connect_url(url, api_key=key) as client:
        (name,) = client.sequences()
        return name, known(client.describe_sequence(name)), client.notifications(name)


def entries(config, drive, kind):
    return [one for one in journal.read(config.upload_dir / drive.id) if one["entry"] == kind]


def manifest(url):
    name, *_ = ask(url)
    with MosaicoClient.connect_url(url) as client:
        told = known(client.describe_topic(f"{name}/recorder/summary")).user_metadata
    return told["manifest"]["topics"], {one["name"]: one for one in told["session"]["lanes"]}


def record(drive):
    drive.tell_time()
    drive.imu(20)
    drive.gps(9)
    drive.camera(6)
    drive.end()


# --- generations


@pytest.mark.parametrize("minor", [5, 6, 7])
def test_every_generation_gets_every_row_once(drive, tmp_path, monkeypatch, minor):
    become(monkeypatch, minor)
    record(drive)
    with GroundStation(tmp_path / "ground") as station:
        config = drive.config(station.url, reread_share=1.0)
        assert upload_once(config).done == [drive.id]
        name, found, _ = ask(station.url)
        assert all(one.locked for one in [*found.topics, *found.sessions])
        with MosaicoClient.connect_url(station.url) as client:
            assert client.info.semver == (0, minor, 0)
            assert (client.info.most_message_bytes is None) == (minor < 7)
            for lane in ("imu", "gps", "camera"):
                rows = list(client.read(f"{name}/{lane}"))
                assert sum(one.num_rows for one in rows) == len(drive.rows[lane])
        (compared,) = verify_all(config, lambda _: None).values()
        assert compared.wrong == []


# --- sizes


def test_a_frame_above_the_servers_limit_is_counted_and_reported_and_the_rest_goes_on(
    drive, tmp_path, monkeypatch
):
    monkeypatch.setattr(answers, "MOST_MESSAGE_BYTES", 100_000)
    drive.tell_time()
    drive.camera(3)
    drive.camera(1, size_bytes=200_000)
    drive.camera(3)
    drive.end()
    large = drive.rows["camera"].pop(3)
    with GroundStation(tmp_path / "ground") as station:
        config = drive.config(station.url)
        assert upload_once(config).done == [drive.id]
        name, _, notes = ask(station.url)
        rows = server_rows(station.url, name, "camera")
        topics, lanes = manifest(station.url)
    assert differences(rows, drive.expected("camera")) == []
    assert large["header.sample_counter"] not in [one["header.sample_counter"] for one in rows]
    (camera,) = [one for one in topics if one["lane"] == "camera"]
    assert (camera["rows"], camera["too_large"]) == (6, 1)
    assert (lanes["camera"]["lost_rejected"], lanes["camera"]["delivered"]) == (1, 6)
    assert delivered(receipts(config.upload_dir / drive.id), "camera") == 6
    assert len([one for one in notes if "too large" in one.text]) == 1
    assert len([one for one in notes if "truncated" in one.text]) == 1


def test_a_limit_that_the_server_does_not_tell_is_learned_by_smaller_batches(
    drive, tmp_path, monkeypatch
):
    become(monkeypatch, 5)
    monkeypatch.setattr(answers, "MOST_MESSAGE_BYTES", 50_000)
    drive.tell_time()
    drive.imu(80)
    drive.camera(6)
    drive.camera(1, size_bytes=90_000)
    drive.end()
    drive.rows["camera"].pop()
    with GroundStation(tmp_path / "ground") as station:
        config = drive.config(station.url)
        assert upload_once(config).done == [drive.id]
        name, *_ = ask(station.url)
        for lane in ("imu", "camera"):
            assert differences(server_rows(station.url, name, lane), drive.expected(lane)) == []
        _, lanes = manifest(station.url)
    assert (lanes["imu"]["lost_rejected"], lanes["camera"]["lost_rejected"]) == (0, 1)
    assert entries(config, drive, "sizes")
    assert not entries(config, drive, "parked")


# --- the manifest's digest, and reading back


def test_whoever_reads_a_topic_can_work_out_the_manifests_digest(drive, station):
    record(drive)
    upload_once(drive.config(station.url))
    name, *_ = ask(station.url)
    topics, _ = manifest(station.url)
    with MosaicoClient.connect_url(station.url) as client:
        for one in topics:
            rows = pa.Table.from_batches(client.read(f"{name}/{one['topic']}"))
            assert digest(rows.to_batches(max_chunksize=5)) == one["digest"]
    assert {one["lane"] for one in topics} == {"imu", "gps", "camera", "recorder/session"}


class Altering:
    """Changes what the station tells of the first row of one column, as a bad disk would."""

    def __init__(self, monkeypatch):
        self.is_on = False
        original = MosaicoClient.read

        def read(client, locator, *span):
            for number, batch in enumerate(original(client, locator, *span)):
                wrong = self.is_on and not number and "/gps" in locator
                yield _altered(batch) if wrong else batch

        monkeypatch.setattr(MosaicoClient, "read", read)


def _altered(batch):
    rows = batch.to_pylist()
    rows[4]["status"]["service"] += 1
    return pa.RecordBatch.from_pylist(rows, batch.schema)


def test_a_part_that_does_not_read_back_as_it_was_sent_is_never_acknowledged(
    drive, station, monkeypatch
):
    record(drive)
    altering = Altering(monkeypatch)
    altering.is_on = True
    config = drive.config(station.url, reread_share=1.0)
    summary = upload_once(config)
    assert "not stored whole" in summary.parked[drive.id]
    assert delivered(receipts(config.upload_dir / drive.id), "gps") == 0
    altering.is_on = False
    assert upload_once(config).done == [drive.id]


def test_no_part_is_read_back_if_the_share_is_nothing(drive, station, monkeypatch):
    record(drive)
    Altering(monkeypatch).is_on = True
    assert upload_once(drive.config(station.url, reread_share=0.0)).done == [drive.id]


def test_verify_all_compares_every_row_and_names_the_one_that_differs(drive, station, monkeypatch):
    record(drive)
    config = drive.config(station.url)
    upload_once(config)
    sizes: list[int] = []
    (compared,) = verify_all(config, sizes.append).values()
    assert (compared.wrong, compared.digest_rows) == ([], 0)
    assert compared.rows > 200 + 9 + 6
    assert sum(sizes) > 6 * 20_000
    Altering(monkeypatch).is_on = True
    (compared,) = verify_all(config, sizes.append).values()
    assert compared.wrong == ["gps: sample 4 is another"]


def test_verify_all_compares_by_digest_what_the_spool_has_given_up(drive, station, monkeypatch):
    record(drive)
    config = drive.config(station.url)
    upload_once(config)
    for path in drive.spool.segments(drive.id, "gps"):
        path.unlink()
    (compared,) = verify_all(config, lambda _: None).values()
    assert (compared.wrong, compared.digest_rows) == ([], 9)
    Altering(monkeypatch).is_on = True
    (compared,) = verify_all(config, lambda _: None).values()
    assert compared.wrong == ["gps: other values than were sent"]


def test_verify_all_tells_of_a_topic_that_is_gone(drive, station):
    record(drive)
    config = drive.config(station.url)
    upload_once(config)
    name, *_ = ask(station.url)
    with MosaicoClient.connect_url(station.url) as client:
        client.delete_topic(f"{name}/imu")
    (compared,) = verify_all(config, lambda _: None).values()
    assert len(compared.wrong) == 1
    assert compared.wrong[0].startswith("imu: ")


# --- another server


def half_upload(drive, station, tmp_path):
    """Bring the GPS to a server, and no more."""
    record(drive)
    config = drive.config(station.url)

    uploader = Uploader(config, Stop(), asked=Asked())
    while not receipts(config.upload_dir / drive.id):
        assert uploader.work()
    uploader.close()
    return config


def test_what_went_to_one_server_never_counts_as_delivered_to_another(drive, station, tmp_path):
    config = half_upload(drive, station, tmp_path)
    with GroundStation(tmp_path / "other") as other:
        elsewhere = dataclasses.replace(
            config, upload=dataclasses.replace(config.upload, server=other.url)
        )
        summary = upload_once(elsewhere)
        assert summary.done == []
        assert station.url in summary.parked[drive.id]
        with MosaicoClient.connect_url(other.url) as client:
            assert client.sequences() == []
        assert upload_once(elsewhere, asked=Asked(drive.id[:8], anew="yes")).done == [drive.id]
        name, *_ = ask(other.url)
        for lane in ("imu", "gps", "camera"):
            assert differences(server_rows(other.url, name, lane), drive.expected(lane)) == []
        _, lanes = manifest(other.url)
        assert all(one["delivered"] == one["stored"] for one in lanes.values())


def test_the_first_server_is_gone_on_with(drive, station, tmp_path):
    config = half_upload(drive, station, tmp_path)
    away = dataclasses.replace(
        config, upload=dataclasses.replace(config.upload, server="grpc://127.0.0.1:1")
    )
    assert drive.id in upload_once(away).parked
    assert upload_once(config).done == [drive.id]


def test_anew_takes_nothing_off_a_server_that_turns_out_to_be_the_same(drive, station, tmp_path):
    config = half_upload(drive, station, tmp_path)
    for path in drive.spool.segments(drive.id, "gps"):
        path.unlink()  # given up, since the server had it
    url = station.url.replace("127.0.0.1", "localhost")
    other_name = dataclasses.replace(config, upload=dataclasses.replace(config.upload, server=url))
    assert drive.id in upload_once(other_name).parked
    assert upload_once(other_name, asked=Asked(drive.id, anew=drive.id)).done == [drive.id]
    with MosaicoClient.connect_url(station.url) as client:
        first, second = sorted(client.sequences())
        assert second == f"{first}-2"
        assert sum(one.num_rows for one in client.read(f"{first}/gps")) == 9
        assert client.describe_topic(f"{second}/gps") is None
        told = [known(client.describe_sequence(one)).user_metadata for one in (first, second)]
        assert [one["recording"]["replaces"] for one in told] == [[], [first]]
        assert [len(client.notifications(one)) for one in (first, second)] == [1, 1]
    assert differences(server_rows(station.url, second, "imu"), drive.expected("imu")) == []
