"""Killed at every step, on either side: every row on the server once, nothing left unfinished."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

from recorder import status
from recorder.columns import BATCH_BYTES
from recorder.errors import RemoteAwayError
from recorder.ground import GroundStation
from recorder.mosaico import MosaicoClient, ontology
from recorder.service import Stop
from recorder.spool import journal
from recorder.spool.journal import Journal
from recorder.spool.receipts import delivered, receipts
from recorder.upload.parts import Part
from recorder.upload.rows import lane_batches
from recorder.uploader import StoppedError, Uploader, main, upload_once
from tests.known import known
from tests.recorder.building import free_port, wait_until
from tests.recorder.upload.dying import kill_uploader
from tests.recorder.upload.made import differences, server_rows

#: Each step, in the order of an upload; the lines kill one process after the other on one upload.
STEPS = [
    ("after", "planned"),
    ("after", "sequence"),
    ("before", "opened"),
    ("after", "opened"),
    ("before", "created"),
    ("after", "created"),
    ("after", "putting"),
    ("mid", ""),
    ("before", "put_ok"),
    ("after", "put_ok"),
    ("after", "receipt"),
    ("before", "final"),
    ("after", "final"),
    ("mid", ""),
    ("before", "put_ok"),
    ("before", "finalized"),
    ("after", "finalized"),
]
LANES = ("gps", "imu", "camera")


def record(drive):
    drive.tell_time()
    drive.imu(40)
    drive.gps(20)
    drive.camera(110)
    drive.end()


def sequences(url, key):
    with MosaicoClient.connect_url(url, api_key=key) as client:
        return client.sequences()


@contextlib.contextmanager
def station_with_key(folder, *permissions):
    with GroundStation(folder / "ground", check_keys=True) as station:
        file = folder / "key"
        file.write_text(station.keys.create(permissions))
        file.chmod(0o600)
        yield station, file


def check(drive, config, url, key=None):
    (name,) = sequences(url, key)
    for lane in LANES:
        assert differences(server_rows(url, name, lane, key), drive.expected(lane)) == []
    given = receipts(config.upload_dir / drive.id)
    stored = {one.name: one.stored for one in drive.recording.session.lanes}
    assert {lane: delivered(given, lane) for lane in stored} == stored
    parts = [one["part"] for one in entries(config, drive) if one["entry"] == "receipt"]
    assert max(Counter(parts).values()) == 1


def entries(config, drive):
    return journal.read(config.upload_dir / drive.id)


def test_killed_at_every_step_each_row_arrives_once_and_nothing_is_left_open(drive, station):
    record(drive)
    config = drive.config(station.url)
    for when, kind in STEPS:
        kill_uploader(config, when, kind)
    assert upload_once(config).done == [drive.id]
    check(drive, config, station.url)
    with MosaicoClient.connect_url(station.url) as client:
        found = known(client.describe_sequence(client.sequences()[0]))
    assert all(one.locked for one in found.sessions)
    assert all(one.locked for one in found.topics)
    assert not [one for one in found.topics if "-r" in one.locator.partition("/")[2]]


def test_a_key_that_may_not_delete_goes_on_under_new_names_and_the_manifest_tells(drive, tmp_path):
    record(drive)
    with station_with_key(tmp_path, "read", "write") as (station, key_file):
        config = drive.config(station.url, key_file=key_file)
        for when, kind in (("before", "created"), ("mid", ""), ("after", "putting"), ("mid", "")):
            kill_uploader(config, when, kind)
        assert upload_once(config).done == [drive.id]
        key = key_file.read_text()
        check(drive, config, station.url, key)
        with MosaicoClient.connect_url(station.url, api_key=key) as client:
            name = client.sequences()[0]
            found = known(client.describe_sequence(name))
            summary = known(client.describe_topic(f"{name}/recorder/summary")).user_metadata
        open_topics = {one.locator for one in found.topics if not one.locked}
        abandoned = {f"{name}/{one}" for one in summary["manifest"]["abandoned"]}
        assert open_topics == abandoned != set()
        assert any("-r" in one["topic"] for one in summary["manifest"]["topics"])
        whole = [one for one in found.sessions if not set(one.topics) & abandoned]
        assert all(one.locked for one in whole)


def test_the_session_that_holds_the_topic_is_spoiled_and_no_other(drive, tmp_path):
    drive.tell_time()
    drive.imu(4)
    drive.end()
    with station_with_key(tmp_path, "read", "write") as (station, key_file):
        config = drive.config(station.url, key_file=key_file)
        # The second attempt's topic is made, in a second session, and its answer is lost.
        kill_uploader(config, "mid", "")
        kill_uploader(config, "before", "created")
        assert upload_once(config).done == [drive.id]
        key = key_file.read_text()
        with MosaicoClient.connect_url(station.url, api_key=key) as client:
            found = known(client.describe_sequence(client.sequences()[0]))
    assert [one.locked for one in found.sessions] == [False, False, True]
    abandoned = [one["topic"] for one in entries(config, drive) if one["entry"] == "abandoned"]
    assert abandoned == ["imu", "imu-r1"]


@contextlib.contextmanager
def dying_station(folder, port, chunks):
    command = [sys.executable, "-m", "tests.recorder.upload.dying", "station", str(folder)]
    with subprocess.Popen(
        [*command, str(port), str(chunks)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        url = known(process.stdout).readline().strip()
        try:
            yield url, process
        finally:
            process.kill()


def test_a_server_killed_in_the_middle_of_a_stream_gets_the_rest_after_its_restart(drive, tmp_path):
    drive.tell_time()
    drive.imu(4)
    drive.gps(4)
    drive.camera(6, size_bytes=BATCH_BYTES // 5)
    drive.end()
    folder, port = tmp_path / "ground", free_port()
    config = drive.config(f"grpc://127.0.0.1:{port}", part_bytes=64 << 20)
    with dying_station(folder, port, chunks=3) as (url, process):
        with pytest.raises(RemoteAwayError):
            upload_once(drive.config(url, part_bytes=64 << 20))
        assert process.wait(20) == -signal.SIGKILL
    states = [one["entry"] for one in entries(config, drive)]
    assert states[-1] == "putting"
    with GroundStation(folder, port=port) as station:
        assert upload_once(config).done == [drive.id]
        check(drive, config, station.url)


def test_a_stream_that_is_broken_off_by_a_stop_is_repaired_the_next_time(
    drive, station, monkeypatch
):
    drive.tell_time()
    drive.imu(4)
    drive.gps(4)
    drive.camera(6, size_bytes=BATCH_BYTES // 5)
    drive.end()
    config = drive.config(station.url, part_bytes=64 << 20)
    stop = Stop()
    monkeypatch.setattr("recorder.upload.worker.STOP_LIMIT_S", 0.0)
    uploader = Uploader(config, stop)
    while not any(one.get("lane") == "imu" for one in entries(config, drive)):
        assert uploader.work()
    stop.set()
    with pytest.raises(StoppedError):
        uploader.work()
    uploader.close()
    (name,) = sequences(station.url, None)
    with MosaicoClient.connect_url(station.url) as client:
        found = known(client.describe_sequence(name))
    assert [one.locator for one in found.topics if not one.locked] == [f"{name}/camera"]
    assert upload_once(config).done == [drive.id]
    check(drive, config, station.url)


def evict_first_pictures(drive):
    """Give up the camera's first segment as the quota does; return its rows."""
    log = journal.Journal(drive.spool.journal_path(drive.id))
    (first, *_) = drive.spool.segments(drive.id, "camera")
    sealed = [one for one in log.entries if one["entry"] == "sealed"]
    rows = next(one["rows"] for one in sealed if one["file"] == first.name)
    tombstone = {"entry": "evicted", "lane": "camera", "file": first.name, "delivered": False}
    log.record({**tombstone, "rows": rows})
    log.close()
    first.unlink()
    return rows


def test_when_the_segments_are_given_up_after_the_answer_was_lost_the_server_is_believed(
    drive, station
):
    drive.tell_time()
    drive.camera(8)
    drive.end()
    config = drive.config(station.url)
    kill_uploader(config, "before", "put_ok")
    evict_first_pictures(drive)
    assert upload_once(config).done == [drive.id]
    (name,) = sequences(station.url, None)
    assert differences(server_rows(station.url, name, "camera"), drive.expected("camera")) == []
    final = entries(config, drive)
    record = next(one["session"] for one in final if one["entry"] == "final")
    camera = next(one for one in record["lanes"] if one["name"] == "camera")
    assert (camera["delivered"], camera["lost_evicted"], record["state"]) == (8, 0, "closed")


def test_segments_given_up_in_the_middle_of_a_part_are_lost_and_the_rest_is_planned_anew(
    drive, station
):
    drive.tell_time()
    drive.camera(9)
    drive.end()
    config = drive.config(station.url)
    kill_uploader(config, "mid", "")
    rows = evict_first_pictures(drive)
    assert upload_once(config).done == [drive.id]
    (name,) = sequences(station.url, None)
    rows_there = server_rows(station.url, name, "camera")
    assert differences(rows_there, drive.expected("camera")[rows:]) == []
    record = next(one["session"] for one in entries(config, drive) if one["entry"] == "final")
    camera = next(one for one in record["lanes"] if one["name"] == "camera")
    assert (camera["lost_evicted"], record["state"], record["ledger_ok"]) == (
        rows,
        "truncated",
        True,
    )


def test_a_topic_that_was_finalized_short_is_not_taken_for_delivered(drive, station):
    record(drive)
    config = drive.config(station.url)
    kill_uploader(config, "after", "created")
    (created,) = [one for one in entries(config, drive) if one["entry"] == "created"]
    (name,) = sequences(station.url, None)
    with MosaicoClient.connect_url(station.url) as client:
        # Half of it, ended cleanly: what a client leaves that dies by an exception.
        schema = ontology.schema("GPS")
        source = lane_batches(_part(config, drive), drive.spool.session_dir(drive.id) / "gps")
        short = next(source).slice(0, 7)
        client.put(f"{name}/{created['topic']}", created["topic_uuid"], schema, [short])
        assert known(client.describe_topic(f"{name}/gps")).locked
    assert upload_once(config).done == [drive.id]
    check(drive, config, station.url)


def _part(config, drive):
    planned = next(one for one in entries(config, drive) if one["entry"] == "planned")
    return Part.from_entry(planned)


def test_a_disk_that_fails_is_told_and_the_upload_goes_on_when_it_is_well(
    drive, station, monkeypatch
):
    record(drive)
    config = drive.config(station.url)
    monkeypatch.setattr("recorder.uploader.PAUSES_S", (0.01,))
    sync = Journal.sync
    failed: list[Path] = []

    def fail(self):
        if self.path.parent == config.upload_dir and self.is_dirty and len(failed) < 9:
            failed.append(self.path)
            if len(failed) % 3 == 0:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
        sync(self)

    monkeypatch.setattr(Journal, "sync", fail)
    states: list[tuple[str, str]] = []
    say = Uploader.say

    def note_and_say(self, state, error):
        states.append((state, error))
        say(self, state, error)

    monkeypatch.setattr(Uploader, "say", note_and_say)
    stop = Stop()
    thread = threading.Thread(target=main, args=(config, stop))
    thread.start()
    wait_until(lambda: (status.read(config.spool.run_dir, "upload") or {}).get("drained"))
    stop.set()
    thread.join(20)
    assert ("disk", "journal: Input/output error") in states
    check(drive, config, station.url)
