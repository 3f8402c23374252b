"""What goes bad in the spool between plan and sending: that alone is lost, wherever it lies."""

from __future__ import annotations

import pytest

from recorder import record
from recorder.audit import audit_server, audit_spool
from recorder.errors import DamagedError, RemoteRefusedError
from recorder.mosaico import MosaicoClient
from recorder.spool import journal
from recorder.spool.receipts import covers, receipts
from recorder.spool.recording import Recording
from recorder.spool.segment import SegmentReader
from recorder.upload.state import UploadState
from recorder.uploader import upload_once, verify_all
from tests.recorder.upload.dying import kill_uploader
from tests.recorder.upload.made import BURST, PERIOD_NS, differences, server_rows

#: Bursts of a part, one record each, and its time.
RECORDS = 10
PART_S = RECORDS * BURST * PERIOD_NS / 1e9


@pytest.fixture
def recorded(drive):
    """Record three parts of the IMU."""
    drive.tell_time()
    drive.imu(3 * RECORDS)
    drive.end()
    return drive


def spoil(drive, *which):
    """Spoil records of the IMU by their number; return the numbers of their samples."""
    lost = set()
    for path in drive.spool.segments(drive.id, "imu"):
        raw = bytearray(path.read_bytes())
        with SegmentReader(path) as segment:
            found = [(offset, head) for offset, head, _ in segment.records() if head.rows]
        for offset, head in found:
            if head.seqno // BURST in which:
                raw[offset + record.HEADER_BYTES] ^= 1
                lost |= set(range(head.seqno, head.seqno + head.rows))
        path.write_bytes(raw)
    assert len(lost) == BURST * len(which)
    return lost


def take_over(drive):
    """Let the spool's process die, and another find the recording and end it."""
    drive.recording.close()
    session = drive.spool.session(drive.id)
    drive.recording = Recording.resume(drive.spool, session, 65_536, None)
    drive.recording.end("watchdog", is_destination=False)


def entries(config, drive, kind):
    return [one for one in journal.read(config.upload_dir / drive.id) if one["entry"] == kind]


def check(drive, config, url, lost):
    """The server holds every sample but those once, and everybody counts so."""
    with MosaicoClient.connect_url(url) as client:
        (name,) = client.sequences()
        assert audit_server(client, drive.id).all_differences == []
    due = [one for one in drive.expected("imu") if one["header.sample_counter"] not in lost]
    assert differences(server_rows(url, name, "imu"), due) == []
    (final,) = entries(config, drive, "final")
    imu = next(one for one in final["session"]["lanes"] if one["name"] == "imu")
    assert (imu["delivered"], imu["lost_crc"]) == (len(due), len(lost))
    assert final["session"]["ledger_ok"]
    assert audit_spool(drive.spool.directory, drive.id).all_differences == []
    assert [one.wrong for one in verify_all(config, lambda _: None).values()] == [[]]


def refuse(monkeypatch, topic):
    """Let the server refuse one topic; nothing of it is stored."""
    create = MosaicoClient.create_topic

    def refused(client, session, locator, **facts):
        if locator.endswith(topic):
            raise RemoteRefusedError("topic_create: invalid argument")
        return create(client, session, locator, **facts)

    monkeypatch.setattr(MosaicoClient, "create_topic", refused)


@pytest.fixture
def begun(recorded, station, monkeypatch):
    """Settings of an upload with all three parts planned, of which the server holds nothing."""
    config = recorded.config(station.url, part_s=PART_S, policy="delete")
    with monkeypatch.context() as server:
        refuse(server, "imu/p000002")
        assert recorded.id in upload_once(config).parked
    assert len(entries(config, recorded, "deleted")) == 1
    return config


@pytest.mark.parametrize("records", [(3,), (0,), (9,), (0, 4, 9), (19, 20, 29)], ids=str)
def test_only_what_is_damaged_is_lost_also_of_a_part_behind_which_others_are_planned(
    recorded, begun, station, records
):
    lost = spoil(recorded, *records)
    assert upload_once(begun).done == [recorded.id]
    assert not entries(begun, recorded, "dropped")
    check(recorded, begun, station.url, lost)


def test_receipts_cover_the_hole_too_so_that_the_segments_can_go(recorded, begun):
    spoil(recorded, 0, 9, 10, 19)
    assert upload_once(begun).done == [recorded.id]
    (epoch,) = {one["epoch"] for one in entries(begun, recorded, "receipt") if one["epoch"]}
    held = receipts(begun.upload_dir / recorded.id)
    assert covers(held, "imu", epoch, 0, 3 * RECORDS * BURST)


def test_a_part_of_which_nothing_is_left_is_lost_and_no_other_takes_its_name(
    recorded, begun, station
):
    lost = spoil(recorded, *range(RECORDS))
    assert upload_once(begun).done == [recorded.id]
    assert [one["part"] for one in entries(begun, recorded, "dropped")] == [0]
    check(recorded, begun, station.url, lost)


@pytest.mark.parametrize("step", [("before", "planned"), ("after", "planned"), ("mid", "")])
def test_what_goes_bad_between_two_tries_is_left_out_too(recorded, begun, station, step):
    lost = spoil(recorded, 3)
    kill_uploader(begun, *step)
    lost |= spoil(recorded, 5)
    assert upload_once(begun).done == [recorded.id]
    check(recorded, begun, station.url, lost)


def test_a_key_that_may_not_delete_spends_a_name_for_it(recorded, station, monkeypatch):
    config = recorded.config(station.url, part_s=PART_S)
    kill_uploader(config, "after", "planned")
    monkeypatch.setattr(MosaicoClient, "delete_topic", lambda *_: None)
    lost = spoil(recorded, 3)
    assert upload_once(config).done == [recorded.id]
    assert [one["topic"] for one in entries(config, recorded, "abandoned")] == ["imu/p000000"]
    check(recorded, config, station.url, lost)


def test_what_goes_bad_when_only_the_answer_was_missing_is_on_the_server_and_not_lost(
    recorded, station
):
    config = recorded.config(station.url, part_s=PART_S)
    kill_uploader(config, "before", "put_ok")
    spoil(recorded, 3)
    assert upload_once(config).done == [recorded.id]
    check(recorded, config, station.url, set())


def test_what_the_spool_found_damaged_and_what_goes_bad_later_are_both_counted(drive, station):
    drive.tell_time()
    drive.imu(3 * RECORDS)
    drive.beat()
    lost = spoil(drive, 7)
    take_over(drive)
    assert drive.recording.lanes["imu"].account.ledger.lost_crc == BURST
    lost |= spoil(drive, 3, 15)
    config = drive.config(station.url, part_s=PART_S)
    assert upload_once(config).done == [drive.id]
    check(drive, config, station.url, lost)


def test_a_journal_that_lost_how_a_part_was_sent_in_the_end_is_refused(recorded, begun):
    spoil(recorded, 3)
    assert upload_once(begun).done == [recorded.id]
    whole = journal.read(begun.upload_dir / recorded.id)
    again = [one for one in whole if one["entry"] == "planned" and one["part"] == 0][1]
    assert UploadState(whole).parts[0].rows == again["rows"] == (RECORDS - 1) * BURST
    with pytest.raises(DamagedError, match="part 0"):
        UploadState(one for one in whole if one is not again)
