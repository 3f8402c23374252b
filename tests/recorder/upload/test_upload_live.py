"""While it is being recorded: not beyond the watermark, heartbeats in time, the time awaited."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from recorder import config as settings
from recorder import record, status
from recorder.cli.sources import from_spool
from recorder.clock import anchor_now, boot_id
from recorder.columns import BATCH_BYTES
from recorder.ground import GroundStation
from recorder.mosaico import MosaicoClient, PutStream
from recorder.service import Stop
from recorder.spool import journal
from recorder.spool.receipts import receipts
from recorder.spool.segment import SegmentReader
from recorder.uploader import Uploader, main
from tests.known import known
from tests.recorder.building import free_port, wait_until
from tests.recorder.upload.made import CAMERA, PERIOD_NS, UTC_NS, differences, server_rows


@pytest.fixture
def uploading(drive, station):
    made = []

    def make(**upload):
        config = drive.config(station.url, mode="live", **upload)
        made.append(Uploader(config, Stop()))
        return made[-1]

    yield make
    for one in made:
        one.close()


def drain(uploader):
    while uploader.work():
        pass


def topics(url):
    with MosaicoClient.connect_url(url) as client:
        names = client.sequences()
        found = known(client.describe_sequence(names[0])).topics if names else ()
    return {one.locator.partition("/")[2]: one.row_count for one in found}


def age(drive, seconds):
    """Begin a session as if so long ago; the one before has no process any more."""
    drive.recording.close()
    drive.begin(seconds)


def test_live_parts_are_bounded_in_time_and_the_rest_comes_at_the_end(drive, station, uploading):
    age(drive, 10)
    drive.tell_time()
    drive.imu(50)  # 2.5 s of data
    drive.beat()
    uploader = uploading(part_s=1.0)
    drain(uploader)
    assert topics(station.url) == {"imu/p000000": 200, "imu/p000001": 200, "imu/p000002": 100}
    drive.imu(5)
    drive.end()
    drain(uploader)
    name = f"{_sequence(station.url)}"
    assert differences(server_rows(station.url, name, "imu"), drive.expected("imu")) == []
    assert "recorder/session" in topics(station.url)


def _sequence(url):
    with MosaicoClient.connect_url(url) as client:
        (name,) = client.sequences()
    return name


def test_what_was_stored_and_sent_since_the_heartbeat_is_told_with_the_next_one(
    drive, station, uploading
):
    age(drive, 10)
    drive.tell_time()
    drive.imu(20)
    drive.beat()
    drive.imu(20)
    drive.commit()
    drain(uploading(part_s=1.0))
    assert sum(topics(station.url).values()) == 400
    *_, shown = from_spool(drive.spool)
    (told,) = [one for one in shown["lanes"] if one["name"] == "imu"]
    assert (told["stored"], told["delivered"], told["pending"]) == (200, 200, 0)
    assert (shown["ledger_ok"], shown["quality"]) == (True, 1.0)


def test_nothing_beyond_the_watermark_is_sent(drive, station, uploading):
    age(drive, 10)
    drive.tell_time()
    drive.imu(20)
    drive.beat()
    drive.imu(20)  # appended, and not committed
    uploader = uploading(part_s=1.0)
    drain(uploader)
    assert topics(station.url) == {"imu/p000000": 200}
    drive.commit()
    drain(uploader)
    assert sum(topics(station.url).values()) == 400


def test_a_session_of_a_dead_process_is_left_alone(drive, station, uploading):
    age(drive, 10)
    drive.tell_time()
    drive.imu(40)
    drive.beat()
    (drive.folder / "run" / "watermark").unlink()
    uploader = uploading(part_s=1.0)
    drain(uploader)
    assert topics(station.url) == {}


def test_a_part_waits_for_a_trusted_time(drive, station, uploading):
    age(drive, 10)
    drive.imu(40)
    drive.beat()
    uploader = uploading(part_s=1.0, time_wait_s=3600)
    drain(uploader)
    assert topics(station.url) == {}
    drive.tell_time()
    drain(uploader)
    assert topics(station.url) == {"imu/p000000": 200, "imu/p000001": 200}


def test_after_the_wait_a_part_goes_without_a_trusted_time_and_says_so(drive, station, uploading):
    age(drive, 10)
    drive.imu(40)
    drive.beat()
    drain(uploading(part_s=1.0, time_wait_s=5))
    with MosaicoClient.connect_url(station.url) as client:
        found = known(client.describe_topic(f"{_sequence(station.url)}/imu/p000000"))
    assert found.user_metadata["recorder"]["clock_source"] == "none"


def test_heartbeats_of_a_live_session_are_sent_after_a_minute(drive, station, uploading):
    age(drive, 61)
    drive.tell_time()
    drive.beat()
    uploader = uploading()
    drain(uploader)
    assert list(topics(station.url)) == ["recorder/session/p000000"]
    drive.end()
    drain(uploader)
    assert list(topics(station.url)) == [
        "recorder/session/p000000",
        "recorder/session/p000001",
        "recorder/summary",
    ]


def test_heartbeats_go_beside_a_long_part_that_is_under_way(drive, station, uploading, monkeypatch):
    age(drive, 10)
    drive.tell_time()
    drive.camera(12, size_bytes=BATCH_BYTES // 5)
    drive.beat()
    uploader = uploading(part_s=1.0, part_bytes=64 << 20)
    monkeypatch.setattr("recorder.upload.planner.SESSION_LOG_S", 0.001)
    write = PutStream.write
    beats: list[object] = []

    def beat_and_write(stream, batch):
        if "format" in batch.schema.names and not beats:  # the first batch of pictures
            beats.append(drive.beat())
        write(stream, batch)

    monkeypatch.setattr(PutStream, "write", beat_and_write)
    drain(uploader)
    assert beats
    steps = [
        (one["part"], one["entry"])
        for one in journal.read(uploader._config.upload_dir / drive.id)
        if one["entry"] in ("putting", "put_ok")
    ]
    (camera, first), *between, (last_part, last) = steps[steps.index((1, "putting")) :]
    assert ((camera, first), (last_part, last)) == ((1, "putting"), (1, "put_ok"))
    assert between == [(2, "putting"), (2, "put_ok")]
    monkeypatch.undo()
    drive.end()
    drain(uploader)
    name = _sequence(station.url)
    assert differences(server_rows(station.url, name, "camera"), drive.expected("camera")) == []


def flip(path, from_end):
    """Turn a bit over in the byte that lies so far before the end of a file."""
    with path.open("r+b") as file:
        file.seek(-from_end, os.SEEK_END)
        byte = file.read(1)[0]
        file.seek(-from_end, os.SEEK_END)
        file.write(bytes([byte ^ 1]))


#: From the end of a segment: into its last picture; and to the byte of 2 years in the time of it.
PICTURE_BYTES = 20_000
IN_PICTURE = 1000
IN_TIME = PICTURE_BYTES + CAMERA.row_bytes + record.HEADER_BYTES - 47


@pytest.mark.parametrize(
    "case",
    [(IN_PICTURE, "delete", 1), (IN_PICTURE, "write", 1), (IN_TIME, "delete", 0)],
)
def test_a_picture_that_is_damaged_under_recording_is_left_out_and_all_others_come_once(
    drive, station, uploading, monkeypatch, case
):
    place, key, planned_again = case
    if key == "write":  # such a key gives the name of a broken topic up
        monkeypatch.setattr(MosaicoClient, "delete_topic", lambda *_: None)
    age(drive, 10)
    drive.tell_time()
    drive.camera(9, PICTURE_BYTES)
    drive.beat()
    _, second, *_ = drive.spool.segments(drive.id, "camera")
    flip(second, place)
    uploader = uploading(part_s=1.0)
    drain(uploader)
    drive.camera(3)
    drive.end()
    drain(uploader)
    entries = journal.read(uploader._config.upload_dir / drive.id)
    plans = [one["part"] for one in entries if one["entry"] == "planned"]
    assert len(plans) - len(set(plans)) == planned_again
    abandoned = {one["topic"] for one in entries if one["entry"] == "abandoned"}
    assert abandoned == ({"camera/p000000"} if key == "write" else set())
    expected = drive.expected("camera")
    found = server_rows(station.url, _sequence(station.url), "camera")
    lost = {one["header.sample_counter"] for one in expected} - {
        one["header.sample_counter"] for one in found
    }
    assert len(lost) == 1
    whole = [one for one in expected if one["header.sample_counter"] not in lost]
    assert differences(found, whole) == []


#: In a record's header: to the byte of 2^48 of its number, and to that of 256 of its length.
IN_NUMBER, IN_LENGTH = 30, 37


@pytest.mark.parametrize("place", [IN_NUMBER, IN_LENGTH])
def test_a_header_that_is_damaged_at_a_parts_end_costs_its_own_picture_and_covers_no_other(
    drive, station, uploading, place
):
    age(drive, 10)
    drive.tell_time()
    drive.camera(9, PICTURE_BYTES)
    drive.beat()
    (first, *_) = drive.spool.segments(drive.id, "camera")
    with SegmentReader(first) as segment:
        offset, head = [(offset, head) for offset, head, _ in segment.records() if head.rows][1]
    flip(first, first.stat().st_size - offset - place)
    uploader = uploading(part_bytes=3 * PICTURE_BYTES)  # two pictures, and what belongs to them
    drain(uploader)
    given = receipts(uploader._config.upload_dir / drive.id)
    assert {(one.from_seqno, one.to_seqno, one.rows) for one in given} >= {(0, 1, 1), (1, 4, 2)}
    drive.end()
    drain(uploader)
    whole = [one for one in drive.expected("camera") if one["header.sample_counter"] != head.seqno]
    rows = server_rows(station.url, _sequence(station.url), "camera")
    assert differences(rows, whole) == []


def test_pictures_are_read_once_on_their_way_from_a_recording(
    drive, station, uploading, monkeypatch
):
    read_bytes: list[int] = []
    pread = os.pread

    def counted(file, size_bytes, offset):
        found = pread(file, size_bytes, offset)
        read_bytes.append(len(found))
        return found

    age(drive, 10)
    drive.tell_time()
    drive.camera(30, size_bytes=20_000)
    drive.beat()
    uploader = uploading(part_s=1.0)
    monkeypatch.setattr(os, "pread", counted)
    drain(uploader)
    monkeypatch.undo()
    assert topics(station.url)["camera/p000000"] == 30
    assert 600_000 < sum(read_bytes) < 700_000


def test_times_never_step_back_from_part_to_part(drive, station, uploading):
    age(drive, 10)
    drive.tell_time()
    drive.imu(20)
    drive.beat()
    uploader = uploading(part_s=1.0)
    drain(uploader)
    # A later anchor says that the clock is half a second earlier than was thought.
    late = anchor_now(
        drive.start_ns + 20 * 10 * PERIOD_NS, UTC_NS + 500_000_000, 600_000_000, "gps"
    )
    log = journal.Journal(drive.spool.anchors_path(boot_id().hex()))
    log.record(vars(late))
    log.close()
    drive.imu(20)
    drive.end()
    drain(uploader)
    rows = server_rows(station.url, _sequence(station.url), "imu")
    stamps = [one["timestamp_ns"] for one in rows]
    assert len(stamps) == 400
    assert all(a < b for a, b in itertools.pairwise(stamps))


def test_the_process_waits_for_the_spool_and_ends_at_once_when_told(tmp_path):
    config = settings.Config(
        lanes=[settings.Lane(name="imu", driver="mpu6050")],
        spool=settings.Spool(directory=tmp_path / "data", run_dir=tmp_path / "run"),
        upload=settings.Upload(server="grpc://127.0.0.1:1"),
    )
    stop = Stop()
    thread = threading.Thread(target=main, args=(config, stop))
    thread.start()
    sign = wait_until(lambda: status.read(tmp_path / "run", "upload"))
    stop.set()
    thread.join(10)
    assert not thread.is_alive()
    assert (sign["state"], sign["drained"]) == ("waiting", False)


def test_the_process_carries_arrow_and_neither_numpy_nor_pandas(tmp_path):
    config = settings.Config(
        lanes=[settings.Lane(name="imu", driver="mpu6050")],
        spool=settings.Spool(directory=tmp_path / "data", run_dir=tmp_path / "run"),
        upload=settings.Upload(server="grpc://127.0.0.1:1"),
    )
    command = [sys.executable, "-m", "recorder.uploader", settings.to_json(config)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: _sign(config, "state", "waiting"))
            carried = Path(f"/proc/{process.pid}/maps").read_text()
        finally:
            process.terminate()
    assert "libarrow_flight" in carried
    assert "numpy" not in carried
    assert "pandas" not in carried


def test_the_service_uploads_and_says_so_and_survives_a_server_that_comes_late(drive, tmp_path):
    port = free_port()
    drive.tell_time()
    drive.imu(3)
    drive.end()
    config = drive.config(f"grpc://127.0.0.1:{port}")
    command = [sys.executable, "-m", "recorder.uploader", settings.to_json(config)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            away = wait_until(lambda: _sign(config, "state", "away"))
            assert "127.0.0.1" in away["error"]
            with GroundStation(tmp_path / "ground", port=port) as station:
                done = wait_until(lambda: _sign(config, "drained", True))
                assert done["done"] == [drive.id]
                rows = server_rows(station.url, _sequence(station.url), "imu")
            assert differences(rows, drive.expected("imu")) == []
        finally:
            process.terminate()
            assert process.wait(10) == 0


def _sign(config, key, value):
    sign = status.read(config.spool.run_dir, "upload")
    return sign if sign is not None and sign[key] == value else None
