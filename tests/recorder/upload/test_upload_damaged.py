"""A journal of the upload that the disk damaged: its session waits, and all others go on."""

from __future__ import annotations

import pytest

from recorder.audit import audit_server
from recorder.errors import RecorderError, RemoteAwayError
from recorder.ground.observe import Address, Observer
from recorder.ground.replay import find
from recorder.ground.watch import Watch
from recorder.mosaico import MosaicoClient
from recorder.spool import journal
from recorder.uploader import Asked, upload_once, verify_all
from tests.known import known
from tests.recorder.upload.made import differences, server_rows


@pytest.fixture
def config(drive, station, monkeypatch):
    """Settings of an upload that broke off; the plan of a part was damaged since."""
    create = MosaicoClient.create_topic

    def cut(client, session, locator, **facts):
        if locator.endswith("imu/p000001"):
            raise RemoteAwayError("cut")
        return create(client, session, locator, **facts)

    drive.tell_time()
    drive.imu(60)
    drive.end()
    made = drive.config(station.url, part_s=1.0)
    with monkeypatch.context() as link:
        link.setattr(MosaicoClient, "create_topic", cut)
        with pytest.raises(RemoteAwayError):
            upload_once(made)
    path = made.upload_dir / drive.id
    plan = next(one for one in path.read_bytes().splitlines() if b'"planned"' in one)
    path.write_bytes(path.read_bytes().replace(plan, plan.replace(b"imu", b"imv", 1)))
    return made


def refuse(note):
    raise AssertionError(note)


def test_its_session_is_parked_with_the_reason_and_the_others_are_sent(drive, config, station):
    damaged = drive.id
    drive.begin()
    drive.imu(5)
    drive.end()
    for _ in range(2):
        summary = upload_once(config)
        assert set(summary.parked) == {damaged}
        assert "is damaged: the plan of part 0 is missing" in summary.parked[damaged]
    compared = verify_all(config, lambda _: None)
    assert "the plan of part 0 is missing" in compared[damaged].wrong[0]
    assert compared[drive.id].wrong == []
    assert summary.before == {drive.id: station.url}
    assert upload_once(config, asked=Asked(drive.id)).parked == {}


def test_it_is_sent_anew_when_asked_and_nothing_is_taken_off_the_server(drive, config, station):
    with MosaicoClient.connect_url(station.url) as client:
        (begun,) = client.sequences()
        assert upload_once(config, asked=Asked(drive.id, anew=drive.id)).done == [drive.id]
        (whole,) = set(client.sequences()) - {begun}
        found = client.describe_sequence(begun)
        assert found is not None
        assert [one.row_count for one in found.topics] == [200]
        told = known(client.describe_sequence(whole)).user_metadata["recording"]
        assert (told["id"], told["replaces"]) == (drive.id, [begun])
        (note,) = client.notifications(begun)
        assert f"sent anew as {whole}" in note.text
        assert client.notifications(whole) == []
        assert find(client, drive.id[:8], refuse).name == whole
        assert audit_server(client, drive.id).all_differences == []
    assert differences(server_rows(station.url, whole, "imu"), drive.expected("imu")) == []
    with Observer(Address(station.url)) as observer:
        lives = {one.sequence: (one.life, one.replaced_by) for one in observer.recordings()}
        assert lives == {begun: ("replaced", whole), whole: ("ended", "")}
        assert {one.life for one in Watch(observer).look()} == {"replaced", "ended"}
        with pytest.raises(RecorderError, match="has ended"):
            Watch(observer).abandon(drive.id)
    assert journal.contents(config.upload_dir / drive.id).damaged_lines == 0
