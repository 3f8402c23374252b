"""The straight way: everything that was stored is on the server, once, and described."""

from __future__ import annotations

import json
import struct
from dataclasses import replace

import pytest
from click.testing import CliRunner

from recorder import status
from recorder.cli import recorder
from recorder.errors import ConfigError, RemoteAwayError, SpoolError
from recorder.mosaico import MosaicoClient
from recorder.service import Stop
from recorder.spool import journal
from recorder.spool.receipts import delivered, final_session, receipts
from recorder.upload.content import digest
from recorder.uploader import Uploader, upload_once
from tests.known import known
from tests.recorder.upload.made import (
    IMU,
    UTC_NS,
    Drive,
    differences,
    server_rows,
)


def sequence(url):
    with MosaicoClient.connect_url(url) as client:
        (name,) = client.sequences()
        return client.describe_sequence(name)


def topic(url, path):
    with MosaicoClient.connect_url(url) as client:
        return client.describe_topic(f"{client.sequences()[0]}/{path}")


def texts(url, path):
    with MosaicoClient.connect_url(url) as client:
        name = client.sequences()[0]
        batches = list(client.read(f"{name}/{path}"))
    return [json.loads(one) for batch in batches for one in batch.column("data").to_pylist()]


def paths(url):
    found = sequence(url)
    return sorted(one.locator.partition("/")[2] for one in found.topics)


def record(drive):
    drive.tell_time()
    drive.beat()
    drive.event(IMU, {"event": "opened", "device": {"model": "MPU-6050", "interface": {"a": "b"}}})
    drive.imu(60)
    drive.gps(30)
    drive.camera(12)
    drive.end()


def test_every_row_comes_back_as_it_was_acquired(drive, station):
    record(drive)
    assert upload_once(drive.config(station.url)).done == [drive.id]
    name = sequence(station.url).name
    for lane in ("imu", "gps", "camera"):
        rows = server_rows(station.url, name, lane)
        assert rows
        assert differences(rows, drive.expected(lane)) == []


def test_a_lane_that_fits_one_part_gets_its_plain_name(drive, station):
    record(drive)
    upload_once(drive.config(station.url))
    assert paths(station.url) == ["camera", "gps", "imu", "recorder/session", "recorder/summary"]


def test_a_lane_that_does_not_fit_is_sent_in_numbered_parts_without_a_hole(drive, station):
    drive.tell_time()
    drive.camera(120)
    drive.end()
    upload_once(drive.config(station.url))
    found = [one for one in paths(station.url) if one.startswith("camera")]
    assert found == ["camera/p000000", "camera/p000001", "camera/p000002"]
    rows = server_rows(station.url, sequence(station.url).name, "camera")
    assert differences(rows, drive.expected("camera")) == []


def test_sequence_and_topic_say_what_they_hold_in_legal_keys(drive, station):
    record(drive)
    upload_once(drive.config(station.url))
    found = sequence(station.url)
    assert found.name == f"car-7-20231114T221320Z-{drive.id[:8]}"
    recording = found.user_metadata["recording"]
    assert (recording["id"], recording["details"]) == (drive.id, {"route_no": 7})
    assert recording["start_ns"] == drive.expected("imu")[0]["timestamp_ns"]
    assert recording["start"] == "2023-11-14T22:13:20.123457Z"
    metadata = topic(station.url, "imu").user_metadata
    assert (metadata["mounting"], metadata["no_dots"]) == ("roof", 1)
    facts = metadata["recorder"]
    assert facts["device"] == {"model": "MPU-6050", "interface": {"a": "b"}}
    assert (facts["rows"], facts["rate_hz"], facts["clock_source"]) == (600, 200.0, "gps")
    columns = {one["name"]: one["on_server"] for one in _columns(station.url, "gps")}
    assert columns["position.x"]
    assert columns["utc_ns"]
    assert not columns["sentences"]


def _columns(url, path):
    return topic(url, path).user_metadata["recorder"]["columns"]


def test_the_summary_is_the_commit_mark_with_manifest_and_terminal_record(drive, station):
    record(drive)
    upload_once(drive.config(station.url))
    found = sequence(station.url)
    assert all(one.locked for one in found.sessions)
    assert found.topics[-1].locator.endswith("/recorder/summary")
    metadata = topic(station.url, "recorder/summary").user_metadata
    final = metadata["session"]
    assert (final["state"], final["quality"], final["quality_basis"]) == ("closed", 1, "delivered")
    assert final["ledger_ok"]
    for one in metadata["manifest"]["topics"]:
        told = topic(station.url, one["topic"])
        assert (told.row_count, told.first_ns, told.last_ns) == (
            one["rows"],
            one["first_ns"],
            one["last_ns"],
        )
        with MosaicoClient.connect_url(station.url) as client:
            assert digest(client.read(told.locator)) == one["digest"]


def test_each_heartbeat_is_a_row_and_the_terminal_record_is_the_last(drive, station):
    drive.tell_time()
    for _ in range(3):
        drive.imu(2)
        drive.beat()
    drive.end()
    upload_once(drive.config(station.url))
    rows = texts(station.url, "recorder/session")
    beats = [one["heartbeat_seq"] for one in rows]
    assert beats == sorted(beats)
    assert {1, 2, 3, 4} <= set(beats)
    assert (rows[-1]["state"], rows[-1]["recording"]) == ("closed", "stopped")
    assert [one["state"] for one in rows[:-1]].count("closed") == 0
    facts = topic(station.url, "recorder/session").user_metadata["recorder"]
    assert (facts["heartbeat_s"], facts["part_s"]) == (10.0, 60.0)


def test_marks_are_a_topic_of_their_own(drive, station):
    record_before_end = drive.recording
    drive.tell_time()
    drive.imu(1)
    mark = {"label": "pothole", "boot_ns": drive.start_ns + 5}
    record_before_end.note({"entry": "mark", **mark})
    drive.end()
    upload_once(drive.config(station.url))
    assert texts(station.url, "recorder/marks") == [mark]
    assert topic(station.url, "recorder/marks").first_ns == UTC_NS + 5


def test_bytes_that_are_no_text_stop_no_upload(drive, station):
    said = drive.recording.session
    said.identifier, said.vehicle = "drive \udcff", "car-7"
    said.details["driver"] = "J\udcffrg"
    record(drive)
    assert upload_once(drive.config(station.url)).done == [drive.id]
    recording = sequence(station.url).user_metadata["recording"]
    assert recording["details"]["driver"] == "J?rg"
    final = topic(station.url, "recorder/summary").user_metadata["session"]
    assert final["details"]["driver"] == "J?rg"


def test_show_tells_a_servers_marks_like_the_spools(drive, station):
    drive.tell_time()
    drive.imu(1)
    start = drive.start_ns
    for label, boot_ns in (("late [/b]", start + 7_000_000_000), ("early", start + 3_000_000_000)):
        drive.recording.note({"entry": "mark", "label": label, "boot_ns": boot_ns, "cause": "x"})
    drive.end()
    config = drive.config(station.url)
    upload_once(config)
    places = (["--server", station.url], ["--spool", str(config.spool.directory)])
    runner = CliRunner()
    for place in places:
        told = runner.invoke(recorder, ["show", drive.id, *place])
        assert told.exit_code == 0, told.output
        lines = [" ".join(one.split()) for one in told.stdout.splitlines() if "mark" in one]
        assert sorted(lines) == ["mark at 3.0 s: early (x)", "mark at 7.0 s: late [/b] (x)"]
    plain = [
        json.loads(runner.invoke(recorder, ["show", drive.id, *one, "--json"]).stdout)["marks"]
        for one in places
    ]
    assert [one["label"] for one in plain[0]] == ["early", "late [/b]"]
    assert sorted(map(str, plain[0])) == sorted(map(str, plain[1]))


def test_receipts_cover_every_stored_sample_and_the_final_record_is_journalled(drive, station):
    record(drive)
    config = drive.config(station.url)
    upload_once(config)
    given = receipts(config.upload_dir / drive.id)
    stored = {one.name: one.stored for one in drive.recording.session.lanes}
    assert {lane: delivered(given, lane) for lane in stored} == stored
    final = final_session(config.upload_dir / drive.id)
    assert final is not None
    assert final.state.name == "closed"


def test_what_is_done_is_not_sent_again(drive, station):
    record(drive)
    config = drive.config(station.url)
    upload_once(config)
    before = (config.upload_dir / drive.id).read_bytes()
    again = upload_once(config)
    assert (again.done, again.before) == ([], {drive.id: station.url})
    assert (config.upload_dir / drive.id).read_bytes() == before
    assert paths(station.url) == ["camera", "gps", "imu", "recorder/session", "recorder/summary"]


def test_what_went_to_one_server_is_not_told_of_another_that_nobody_asked(drive, station):
    record(drive)
    upload_once(drive.config(station.url))
    elsewhere = upload_once(drive.config("grpc://127.0.0.1:1"))
    assert (elsewhere.done, elsewhere.before) == ([], {drive.id: station.url})


def test_two_sessions_become_two_sequences_oldest_first(drive, station):
    drive.tell_time()
    drive.imu(3)
    drive.end("roll_over")
    first = drive.id
    drive.begin()
    drive.imu(4)
    drive.end()
    assert upload_once(drive.config(station.url)).done == [first, drive.id]
    with MosaicoClient.connect_url(station.url) as client:
        assert len(client.sequences()) == 2


def test_a_session_without_data_is_told_too(drive, station):
    drive.end()
    upload_once(drive.config(station.url))
    assert paths(station.url) == ["recorder/session", "recorder/summary"]
    final = topic(station.url, "recorder/summary").user_metadata["session"]
    assert (final["state"], final["quality"]) == ("closed", 0)


def test_an_orphan_ends_abandoned_and_is_reported_once(drive, station):
    drive.tell_time()
    drive.imu(3)
    drive.end("power_loss")
    upload_once(drive.config(station.url))
    name = sequence(station.url).name
    with MosaicoClient.connect_url(station.url) as client:
        (note,) = client.notifications(name)
    assert "abandoned" in note.text
    assert drive.id in note.text


def test_a_time_that_nobody_vouches_for_is_said_to_be_none(drive, station):
    drive.imu(3)
    drive.end()
    upload_once(drive.config(station.url))
    facts = topic(station.url, "imu").user_metadata["recorder"]
    assert facts["clock_source"] == "none"
    final = topic(station.url, "recorder/summary").user_metadata["session"]
    assert final["clock_source"] == "none"


def test_a_session_recorded_with_upload_off_is_sent_only_by_hand(drive, station):
    drive.tell_time()
    drive.imu(3)
    drive.beat()
    drive.recording.end("shutdown", is_destination=True)
    config = drive.config(station.url)
    uploader = Uploader(config, Stop())
    assert not uploader.work()
    uploader.close()
    assert upload_once(config).done == [drive.id]
    name = sequence(station.url).name
    assert differences(server_rows(station.url, name, "imu"), drive.expected("imu")) == []


def test_a_sequence_name_of_another_recording_gets_a_number(drive, station):
    record(drive)
    name = f"car-7-20231114T221320Z-{drive.id[:8]}"
    with MosaicoClient.connect_url(station.url) as client:
        client.create_sequence(name, {"recording": {"id": "another"}})
    upload_once(drive.config(station.url))
    with MosaicoClient.connect_url(station.url) as client:
        assert sorted(client.sequences()) == [name, f"{name}-2"]
    assert differences(server_rows(station.url, f"{name}-2", "imu"), drive.expected("imu")) == []


def test_a_changed_set_up_begins_another_part(drive, station, tmp_path):
    drive.tell_time()
    drive.imu(3)
    changed = replace(IMU, metadata={"mounting": "floor"})
    seqno_before = drive.rows["imu"][-1]["header.sample_counter"]
    drive.schemas["imu"] = changed
    ring = drive._ring(changed)
    assert ring.state.seqno == 0 != seqno_before
    ring.close()
    drive.gps(2)
    drive._put(changed, [struct.pack(">60h", *range(60))], 10, drive._next_ns("imu"))
    drive.end()
    upload_once(drive.config(station.url))
    assert topic(station.url, "imu/p000000").user_metadata["mounting"] == "roof"
    assert topic(station.url, "imu/p000001").user_metadata["mounting"] == "floor"
    final = topic(station.url, "recorder/summary").user_metadata["session"]
    imu = next(one for one in final["lanes"] if one["name"] == "imu")
    assert (imu["delivered"], final["ledger_ok"]) == (40, True)


def test_a_segment_that_was_given_up_is_a_counted_loss(drive, station):
    drive.tell_time()
    drive.camera(9)
    drive.end()
    (first, *_) = drive.spool.segments(drive.id, "camera")
    log = journal.Journal(drive.spool.journal_path(drive.id))
    lines = [one for one in log.entries if one["entry"] == "sealed"]
    sealed = next(one for one in lines if one["file"] == first.name)
    tombstone = {"entry": "evicted", "lane": "camera", "file": first.name, "delivered": False}
    log.record({**tombstone, "rows": sealed["rows"]})
    log.close()
    first.unlink()
    upload_once(drive.config(station.url))
    final = topic(station.url, "recorder/summary").user_metadata["session"]
    camera = next(one for one in final["lanes"] if one["name"] == "camera")
    assert camera["lost_evicted"] == sealed["rows"] > 0
    assert camera["delivered"] == 9 - sealed["rows"]
    assert (final["state"], final["ledger_ok"]) == ("truncated", True)


def test_nobody_there_is_told_as_away(drive, station):
    record(drive)
    config = drive.config("grpc://127.0.0.1:1")
    with pytest.raises(RemoteAwayError):
        upload_once(config)
    assert upload_once(drive.config(station.url)).done == [drive.id]


def test_no_server_and_no_spool_are_told(drive, tmp_path, station):
    with pytest.raises(ConfigError, match="no server"):
        upload_once(drive.config(""))
    lone = Drive.__new__(Drive)
    lone.folder = tmp_path / "nowhere"
    with pytest.raises(SpoolError, match="not a spool"):
        upload_once(lone.config(station.url))


def test_journals_that_cannot_be_written_are_told_in_one_sentence(drive, station):
    config = drive.config(station.url)
    config.upload_dir.write_bytes(b"")  # as wrong as a disk that is read-only, also for root
    with pytest.raises(SpoolError, match="journals cannot be written: File exists"):
        upload_once(config)


def test_two_uploaders_do_not_work_on_the_same_journals(drive, station):
    first = Uploader(drive.config(station.url), Stop())
    with pytest.raises(SpoolError, match="another uploader"):
        upload_once(drive.config(station.url))
    first.close()


def test_the_life_sign_says_when_everything_is_sent(drive, station):
    config = drive.config(station.url)
    uploader = Uploader(config, Stop())
    drive.tell_time()
    drive.imu(10)
    drive.end()
    uploader.backlog.look()
    uploader.sign()
    sign = known(status.read(config.spool.run_dir, "upload"))
    assert (sign["drained"], sign["sessions_pending"], sign["backlog_rows"]) == (False, 1, 100)
    assert sign["backlog_bytes"] > 1200
    while uploader.work():
        pass
    uploader.sign()
    uploader.close()
    sign = known(status.read(config.spool.run_dir, "upload"))
    assert (sign["drained"], sign["sessions_pending"], sign["backlog_rows"]) == (True, 0, 0)
    assert sign["done"] == [drive.id]


def test_reading_in_small_pieces_changes_no_row(drive, station, monkeypatch):
    monkeypatch.setattr("recorder.spool.window.WINDOW_BYTES", 1)
    record(drive)
    upload_once(drive.config(station.url))
    name = sequence(station.url).name
    for lane in ("imu", "gps", "camera"):
        assert differences(server_rows(station.url, name, lane), drive.expected(lane)) == []
