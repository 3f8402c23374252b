"""What the server refuses: parked, told once, by the lane's policy; and never by a lost link."""

from __future__ import annotations

from dataclasses import replace

import pytest

from recorder.errors import RemoteAwayError, RemoteRefusedError
from recorder.ground import GroundStation
from recorder.mosaico import MosaicoClient
from recorder.service import Stop
from recorder.spool import journal
from recorder.upload.log import UploadLog
from recorder.upload.worker import MOST_STUMBLES
from recorder.uploader import Uploader, upload_once
from tests.known import known
from tests.recorder.upload.dying import kill_uploader
from tests.recorder.upload.made import GPS, IMU, Drive, differences, server_rows


@pytest.fixture
def refused(tmp_path):
    """Make a drive whose IMU declares an ontology that there is not, with a policy."""
    made = []

    def make(policy):
        imu = replace(IMU, ontology="NoSuchThing", on_error=policy)
        drive = Drive(tmp_path, (GPS, imu))
        made.append(drive)
        drive.tell_time()
        drive.gps(5)
        give_imu(drive, imu)
        drive.end()
        return drive

    yield make
    for one in made:
        one.recording.close()


def give_imu(drive, imu):
    for number in range(130):
        drive._put(imu, [bytes([number]) * 12 * 800], 800, drive.start_ns + number * 10**9)


def ask(url):
    with MosaicoClient.connect_url(url) as client:
        (name,) = client.sequences()
        return name, client.describe_sequence(name), client.notifications(name)


def states(config, drive):
    return [one["entry"] for one in journal.read(config.upload_dir / drive.id)]


def final_imu(config, drive):
    entries = journal.read(config.upload_dir / drive.id)
    record = next(one["session"] for one in entries if one["entry"] == "final")
    return record, next(one for one in record["lanes"] if one["name"] == "imu")


def test_raise_stops_the_session_and_tells_once_and_goes_on_when_asked_by_hand(refused, station):
    drive = refused("raise")
    config = drive.config(station.url)
    for _ in range(2):
        summary = upload_once(config)
        assert summary.done == []
        assert "unknown ontology 'NoSuchThing'" in summary.parked[drive.id]
    name, found, notes = ask(station.url)
    assert [one.locator for one in found.topics] == [f"{name}/gps"]
    assert [f"[{drive.id}/1]" in one.text for one in notes] == [True]
    assert states(config, drive).count("parked") == 2
    assert "final" not in states(config, drive)


def test_ignore_leaves_each_refused_part_out_and_counts_it(refused, station):
    drive = refused("ignore")
    config = drive.config(station.url)
    assert upload_once(config).done == [drive.id]
    _, found, notes = ask(station.url)
    assert not [one for one in found.topics if "/imu" in one.locator]
    record, imu = final_imu(config, drive)
    assert (imu["lost_rejected"], imu["delivered"]) == (imu["stored"], 0)
    assert (record["state"], record["ledger_ok"]) == ("truncated", True)
    assert len(notes) == 3  # two parts, and the session's end
    rows = server_rows(station.url, found.name, "gps")
    assert differences(rows, drive.expected("gps")) == []


def test_finalize_ends_the_lane_at_the_first_refusal_and_the_others_go_on(refused, station):
    drive = refused("finalize")
    config = drive.config(station.url)
    assert upload_once(config).done == [drive.id]
    _, found, notes = ask(station.url)
    assert len(notes) == 2  # the first part, and the session's end
    record, imu = final_imu(config, drive)
    assert (imu["lost_rejected"], record["state"]) == (imu["stored"], "truncated")
    assert all(one.locked for one in found.sessions)


def test_a_key_that_may_not_write_parks_nothing_and_the_next_key_goes_on(drive, tmp_path):
    drive.tell_time()
    drive.imu(3)
    drive.end()
    file = tmp_path / "key"
    with GroundStation(tmp_path / "ground", check_keys=True) as station:
        config = drive.config(station.url, key_file=file)
        file.write_text(station.keys.create(["read"]))
        file.chmod(0o600)
        with pytest.raises(RemoteRefusedError, match="permissions"):
            upload_once(config)
        assert "parked" not in states(config, drive)
        file.write_text(station.keys.create(["read", "write"]))
        assert upload_once(config).done == [drive.id]


def test_a_key_that_is_revoked_on_the_way_parks_nothing(drive, tmp_path):
    drive.tell_time()
    drive.imu(3)
    drive.end()
    file = tmp_path / "key"
    with GroundStation(tmp_path / "ground", check_keys=True) as station:
        config = drive.config(station.url, key_file=file)
        token = station.keys.create(["read", "write"])
        file.write_text(token)
        file.chmod(0o600)

        def revoke(_facts):
            station.keys.revoke(token.rpartition("_")[2])

        with pytest.raises(RemoteRefusedError, match="revoked"):
            upload_once(config, revoke)
        assert "parked" not in states(config, drive)


def test_under_the_policy_delete_nothing_is_acknowledged_before_the_sessions_are_closed(
    drive, station
):
    drive.tell_time()
    drive.imu(3)
    drive.end()
    config = drive.config(station.url, policy="delete")
    assert upload_once(config).done == [drive.id]
    told = states(config, drive)
    assert told.index("finalized") < told.index("receipt")
    assert told.count("receipt") == told.count("put_ok") == 3


# --- the session policy `delete`


def test_delete_takes_the_sequence_away_when_a_part_is_refused_and_frees_nothing(refused, station):
    drive = refused("raise")
    config = drive.config(station.url, policy="delete")
    for _ in range(2):
        summary = upload_once(config)
        assert "unknown ontology" in summary.parked[drive.id]
        with MosaicoClient.connect_url(station.url) as client:
            assert client.sequences() == []
    told = states(config, drive)
    assert "receipt" not in told
    assert told.count("deleted") == 2
    # Everything is sent anew once somebody has decided otherwise.
    relaxed = drive.config(station.url)
    upload_once(relaxed)
    _, found, _ = ask(station.url)
    rows = server_rows_of(station.url, found.name, "gps")
    assert rows == len(drive.rows["gps"])


def server_rows_of(url, sequence, topic):
    with MosaicoClient.connect_url(url) as client:
        return sum(one.num_rows for one in client.read(f"{sequence}/{topic}"))


def test_a_deletion_that_a_crash_cut_short_is_finished(refused, station, monkeypatch):
    drive = refused("raise")
    config = drive.config(station.url, policy="delete")
    original = UploadLog.note

    class CrashError(Exception):
        pass

    def crash(self, entry, **facts):
        if entry == "deleted":
            raise CrashError
        original(self, entry, **facts)

    monkeypatch.setattr(UploadLog, "note", crash)
    with pytest.raises(CrashError):
        upload_once(config)
    monkeypatch.undo()
    assert states(config, drive)[-1] == "parked"
    uploader = Uploader(config, Stop())
    assert uploader.work()
    assert not uploader.work()
    uploader.close()
    assert states(config, drive)[-1] == "deleted"
    with MosaicoClient.connect_url(station.url) as client:
        assert client.sequences() == []


def test_delete_with_a_key_that_may_not_leaves_the_sequence_unlocked_and_says_so(refused, tmp_path):
    drive = refused("raise")
    with GroundStation(tmp_path / "ground", check_keys=True) as station:
        file = tmp_path / "key"
        file.write_text(station.keys.create(["read", "write"]))
        file.chmod(0o600)
        config = drive.config(station.url, policy="delete", key_file=file)
        summary = upload_once(config)
        assert "cannot be deleted and stays unlocked" in summary.parked[drive.id]
        assert "permission" in summary.parked[drive.id]
        with MosaicoClient.connect_url(station.url, api_key=file.read_text()) as client:
            (name,) = client.sequences()
            sessions = known(client.describe_sequence(name)).sessions
        assert [one.locked for one in sessions] == [False]
    assert "receipt" not in states(config, drive)
    assert states(config, drive).count("kept") == 1


# --- what is told


def test_the_end_is_told_once_however_often_the_process_dies_around_it(drive, station):
    drive.tell_time()
    drive.imu(3)
    drive.end("power_loss")
    config = drive.config(station.url)
    for when in ("before", "after"):
        kill_uploader(config, when, "told")
    assert upload_once(config).done == [drive.id]
    _, _, notes = ask(station.url)
    assert [drive.id in one.text for one in notes] == [True]
    assert states(config, drive).count("told") == 1


# --- one session does not stop the others


def two_sessions(drive):
    drive.tell_time()
    drive.imu(3)
    drive.end("roll_over")
    first = drive.id
    drive.begin()
    drive.imu(4)
    drive.end()
    return first, drive.id


def test_a_recording_that_the_server_refuses_as_a_whole_does_not_stop_the_next(
    drive, station, monkeypatch
):
    first, second = two_sessions(drive)
    create = MosaicoClient.create_sequence

    def refuse(client, name, metadata):
        if first[:8] in name:
            raise RemoteRefusedError("sequence_create: invalid argument")
        create(client, name, metadata)

    monkeypatch.setattr(MosaicoClient, "create_sequence", refuse)
    config = drive.config(station.url)
    summary = upload_once(config)
    assert (summary.done, list(summary.parked)) == ([second], [first])
    assert "invalid argument" in summary.parked[first]
    monkeypatch.undo()
    assert upload_once(config).done == [first]


def test_a_part_at_which_the_server_fails_again_and_again_lets_other_sessions_go_first(
    drive, station, monkeypatch
):
    first, second = two_sessions(drive)
    put = MosaicoClient.put

    def fail(client, locator, *what):
        if first[:8] in locator:
            raise RemoteAwayError("put: internal error")
        put(client, locator, *what)

    monkeypatch.setattr(MosaicoClient, "put", fail)
    uploader = Uploader(drive.config(station.url), Stop())
    failures = 0
    while second not in uploader.backlog.done and failures < 9:
        try:
            uploader.work()
        except RemoteAwayError:
            failures += 1
    uploader.close()
    assert uploader.backlog.done == [second]
    assert MOST_STUMBLES <= failures <= MOST_STUMBLES + 1
