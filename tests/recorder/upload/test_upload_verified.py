"""`recorder upload --verify-all` after the spool has lost some of what the server got."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest
from click.testing import CliRunner

from recorder import record
from recorder.cli import recorder
from recorder.config import MIB
from recorder.mosaico import MosaicoClient
from recorder.spool.segment import SegmentReader
from recorder.uploader import upload_once, verify_all
from tests.recorder.upload import made

#: Pictures of one part, in three batches.
FRAMES = 250


def delivered(drive, url):
    """Record pictures and deliver them as one part; return the settings."""
    drive.tell_time()
    drive.camera(FRAMES)
    drive.end()
    config = drive.config(url, part_bytes=64 * MIB)
    assert upload_once(config).done == [drive.id]
    return config


def spoil(drive, *frames):
    """Spoil a byte of each of these pictures in the spool."""
    for path in drive.spool.segments(drive.id, "camera"):
        raw = bytearray(path.read_bytes())
        with SegmentReader(path) as segment:
            found = [(at, head.seqno) for at, head, _ in segment.records() if head.rows]
        for at, seqno in found:
            raw[at + record.HEADER_BYTES] ^= seqno in frames
        path.write_bytes(raw)


def alter(monkeypatch, frame):
    """Let the server give another picture than it got."""
    read = MosaicoClient.read

    def altered(client, locator, *args, **kwargs):
        for batch in read(client, locator, *args, **kwargs):
            rows = batch.to_pylist()
            for row in rows:
                if locator.endswith("camera") and row["header"]["sample_counter"] == frame:
                    row["data"] = b"another"
            yield pa.RecordBatch.from_pylist(rows, batch.schema)

    monkeypatch.setattr(MosaicoClient, "read", altered)


def verified(config):
    (found,) = verify_all(config, lambda _: None).values()
    return found


def test_what_the_spool_lost_is_told_and_the_others_are_compared_with_their_own_rows(
    drive, station
):
    config = delivered(drive, station.url)
    whole = verified(config)
    assert (whole.digest_rows, whole.gone, whole.wrong) == (0, {}, [])
    spoil(drive, 5, 7, 8, FRAMES - 1)
    found = verified(config)
    assert found.gone == {"camera": [(5, 5), (7, 8), (FRAMES - 1, FRAMES - 1)]}
    assert (found.rows, found.digest_rows, found.wrong) == (whole.rows - 4, 4, [])


def test_each_record_is_read_once(drive, station, monkeypatch):
    config = delivered(drive, station.url)
    found = []
    walk = SegmentReader.walk

    def noted(segment, offset=None):
        for at, fields, payload in walk(segment, offset):
            found.append((segment.path, at))
            yield at, fields, payload

    monkeypatch.setattr(SegmentReader, "walk", noted)
    assert verified(config).wrong == []
    assert len(found) == len(set(found)) == FRAMES


def test_a_picture_that_is_another_is_named_by_its_own_number_behind_a_hole(
    drive, station, monkeypatch
):
    config = delivered(drive, station.url)
    spoil(drive, 5)
    alter(monkeypatch, 200)
    assert verified(config).wrong == ["camera: sample 200 is another"]


def test_another_picture_is_found_in_the_hole_too(drive, station, monkeypatch):
    config = delivered(drive, station.url)
    spoil(drive, 5)
    alter(monkeypatch, 5)
    assert verified(config).wrong == ["camera: other values than were sent"]


def test_times_that_were_kept_rising_over_what_is_lost_are_not_called_wrong(
    drive, station, monkeypatch
):
    monkeypatch.setattr(made, "PERIOD_NS", 0)  # each picture 1 ns after the one before
    config = delivered(drive, station.url)
    spoil(drive, 5)
    found = verified(config)
    assert (found.gone, found.digest_rows, found.wrong) == ({"camera": [(5, 5)]}, 1, [])


def test_rows_that_nobody_sent_are_told_as_such(drive, station, monkeypatch):
    config = delivered(drive, station.url)
    read = MosaicoClient.read

    def doubled(client, locator, *args, **kwargs):
        for batch in read(client, locator, *args, **kwargs):
            yield batch
            yield batch.slice(batch.num_rows - 1)

    monkeypatch.setattr(MosaicoClient, "read", doubled)
    found = verified(config)
    assert found.gone == {}
    (wrong,) = [one for one in found.wrong if one.startswith("camera")]
    assert f"rows where {FRAMES} were sent" in wrong


@pytest.mark.parametrize("frame", [0, 100, FRAMES - 1])
def test_a_picture_that_the_server_lacks_is_named(drive, station, monkeypatch, frame):
    config = delivered(drive, station.url)
    read = MosaicoClient.read

    def thinned(client, locator, *args, **kwargs):
        for batch in read(client, locator, *args, **kwargs):
            rows = batch.to_pylist()
            kept = [one for one in rows if one.get("header", {}).get("sample_counter") != frame]
            yield pa.RecordBatch.from_pylist(kept, batch.schema)

    monkeypatch.setattr(MosaicoClient, "read", thinned)
    (wrong,) = verified(config).wrong
    assert wrong.startswith(f"camera: sample {frame} ")
    assert "missing" in wrong


def test_a_person_reads_how_many_are_lost_and_which(drive, station):
    delivered(drive, station.url)
    spoil(drive, 5, 7, 8)
    file = drive.folder / "recorder.toml"
    file.write_text(
        '[spool]\ndirectory = "data"\nrun_dir = "run"\n'
        f'[upload]\nmode = "off"\nserver = {json.dumps(station.url)}\n'
        '[[lanes]]\nname = "imu"\ndriver = "mpu6050"\n'
    )
    called = CliRunner().invoke(recorder, ["upload", "--verify-all", "--config", str(file)])
    text = " ".join(called.output.split())
    assert called.exit_code == 0
    assert "3 more by their digest, all as sent" in text
    assert "camera: the spool does not give 3 samples any more: 5, 7 to 8" in text
