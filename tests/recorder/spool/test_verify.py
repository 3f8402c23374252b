from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from recorder import record
from recorder.errors import SpoolError, SpoolFormatError
from recorder.session.session import Session
from recorder.spool.findings import LaneCheck
from recorder.spool.journal import Journal
from recorder.spool.segment import SegmentReader
from recorder.spool.segment_writer import SegmentWriter
from recorder.spool.spool import Spool
from recorder.spool.verify import verify
from tests.recorder.building import Shelf, shelf, used

RECORD_BYTES = record.HEADER_BYTES + 10 * 16


def filled(directory: Path, **options: Any) -> Shelf:
    """A recording of 90 samples in several segments; still running."""
    one = Shelf(directory, segment_bytes=1400, **options)
    for _ in range(9):
        one.producer.put(10)
    one.commit()
    return one


def lane(directory: Path) -> LaneCheck:
    (session,) = verify(directory / "spool").sessions
    (found,) = session.lanes
    return found


def hurt(path: Path, offset: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[offset] ^= 1
    path.write_bytes(raw)


def test_a_whole_spool_is_sound_and_all_of_it_was_read(tmp_path: Path) -> None:
    one = filled(tmp_path)
    one.recording.end("shutdown", is_destination=True)
    seen: list[tuple[int, int]] = []
    found = verify(tmp_path / "spool", lambda done, total: seen.append((done, total)))
    sizes = [path.stat().st_size for path in one.segments()]
    assert found.is_sound
    assert found.bytes == sum(sizes)
    assert seen == [(sum(sizes[: n + 1]), sum(sizes)) for n in range(len(sizes))]
    plain = found.to_dict()
    (session,) = plain["sessions"]
    assert (session["state"], session["recording"]) == ("closed", "stopped")
    assert session["lanes"][0] == {
        "lane": "imu",
        "segments": len(sizes),
        "records": 9,
        "rows": 90,
        "lost_ring": 0,
        "evicted": 0,
        "torn": 0,
        "missing": 0,
        "doubled": 0,
        "torn_bytes": 0,
        "damaged_records": 0,
        "damaged_bytes": 0,
        "problems": [],
        "holes": 0,
        "is_sound": True,
    }
    one.close()


def test_nothing_is_written(tmp_path: Path) -> None:
    one = filled(tmp_path)
    hurt(one.segments()[0], 700)
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "spool").rglob("*")}
    verify(tmp_path / "spool")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "spool").rglob("*")} == files
    one.close()


def test_numbers_that_the_ring_had_no_room_for_are_explained(tmp_path: Path) -> None:
    with shelf(tmp_path, capacity_bytes=4096) as one:
        for _ in range(40):
            one.producer.put(10)
        one.commit()
        one.producer.put(10)
        one.commit()
        dropped = 400 - (4096 // RECORD_BYTES) * 10
        found = lane(tmp_path)
        assert (found.lost_ring, found.missing, found.holes) == (dropped, 0, dropped)
        assert found.is_sound


def test_damage_in_the_middle_is_named_with_its_place_and_its_numbers(tmp_path: Path) -> None:
    one = filled(tmp_path)
    path = one.segments()[1]
    begin = path.stat().st_size - 2 * RECORD_BYTES
    hurt(path, begin + 130)
    found = lane(tmp_path)
    assert (found.damaged_records, found.damaged_bytes) == (1, RECORD_BYTES)
    assert (found.missing, found.rows) == (10, 80)
    assert any(f"{path}, byte {begin}" in text for text in found.problems)
    assert not verify(tmp_path / "spool").is_sound
    one.close()


def test_a_torn_tail_of_a_recording_that_was_cut_off_is_no_damage(tmp_path: Path) -> None:
    one = filled(tmp_path)
    path = one.segments()[-1]
    path.write_bytes(used(path)[:-7])
    found = lane(tmp_path)
    assert (found.torn_bytes, found.damaged_records) == (RECORD_BYTES - 7, 0)
    assert found.is_sound
    one.close()


def test_a_tail_that_is_gone_from_a_finished_recording_is_a_finding(tmp_path: Path) -> None:
    one = filled(tmp_path)
    one.recording.end("shutdown", is_destination=True)
    path = one.segments()[-1]
    path.write_bytes(path.read_bytes()[:-7])
    found = lane(tmp_path)
    assert found.missing == 10
    assert not found.is_sound
    one.close()


def test_a_torn_segment_before_the_newest_is_damage(tmp_path: Path) -> None:
    one = filled(tmp_path)
    path = one.segments()[0]
    path.write_bytes(path.read_bytes()[:-7])
    found = lane(tmp_path)
    assert (found.damaged_records, found.missing) == (1, 10)
    assert not found.is_sound
    one.close()


@pytest.mark.parametrize("index", [0, -1])
def test_a_head_that_does_not_verify_over_records_is_damage(tmp_path: Path, index: int) -> None:
    one = filled(tmp_path)
    hurt(one.segments()[index], 20)
    found = lane(tmp_path)
    assert found.damaged_records == 1
    assert not found.is_sound
    one.close()


def test_a_file_cut_off_in_its_head_is_a_torn_tail(tmp_path: Path) -> None:
    one = filled(tmp_path)
    folder = one.segments()[0].parent
    (folder / "000000000090-00000000000000aa.seg").write_bytes(b"RSEG\0\0")
    found = lane(tmp_path)
    assert found.torn_bytes == 6
    assert found.is_sound
    one.close()


@pytest.mark.parametrize("raw", [b"garbage", b"RSEG\0\0\0\x09 another version", b"\0\1"])
def test_a_file_that_is_no_segment_is_a_finding(tmp_path: Path, raw: bytes) -> None:
    one = filled(tmp_path)
    path = one.segments()[0].parent / "000000000090-00000000000000aa.seg"
    path.write_bytes(raw)
    found = lane(tmp_path)
    assert found.problems == [f"{path}: is no segment"]
    assert (found.torn_bytes, found.damaged_bytes) == (0, len(raw))
    one.close()


@pytest.mark.parametrize("raw", [b"", bytes(200)])
def test_a_file_whose_bytes_never_reached_the_disk_is_torn(tmp_path: Path, raw: bytes) -> None:
    one = filled(tmp_path)
    (one.segments()[0].parent / "000000000090-00000000000000aa.seg").write_bytes(raw)
    found = lane(tmp_path)
    assert (found.torn_bytes, found.is_sound) == (len(raw), True)
    one.close()


def test_the_state_is_what_the_uploader_settled(tmp_path: Path) -> None:
    one = filled(tmp_path)
    one.recording.end("shutdown", is_destination=False)
    (before,) = verify(tmp_path / "spool").sessions
    final = Session.from_dict(one.recording.session.to_dict())
    final.finish()
    log = Journal(tmp_path / "upload" / final.id)
    log.record({"entry": "final", "session": final.to_dict()})
    log.close()
    (after,) = verify(tmp_path / "spool").sessions
    assert (before.state, after.state) == ("open", "closed")
    one.close()


def test_a_spool_that_cannot_be_read_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    Spool.make(tmp_path)
    (tmp_path / "sessions").rmdir()
    (tmp_path / "sessions").touch()
    with pytest.raises(NotADirectoryError):
        verify(tmp_path)


def test_a_segment_that_is_gone_is_missed_unless_a_tombstone_says_so(tmp_path: Path) -> None:
    one = filled(tmp_path)
    path = one.segments()[1]
    raw = path.read_bytes()
    path.unlink()
    found = lane(tmp_path)
    assert found.missing > 0
    assert any(f"{path}: a sealed segment" in text for text in found.problems)
    facts = {"entry": "evicted", "lane": "imu", "file": path.name, "rows": found.missing}
    one.recording.bury({**facts, "delivered": False})
    after = lane(tmp_path)
    assert (after.evicted, after.missing) == (found.missing, 0)
    assert after.is_sound
    one.recording.end("shutdown", is_destination=True)
    assert verify(tmp_path / "spool").is_sound
    assert raw
    one.close()


def test_the_first_segment_is_missed_too(tmp_path: Path) -> None:
    one = filled(tmp_path)
    one.segments()[0].unlink()
    assert lane(tmp_path).missing > 0
    one.close()


def test_samples_that_are_there_twice_are_a_finding(tmp_path: Path) -> None:
    one = filled(tmp_path)
    path = one.segments()[0]
    with SegmentReader(path) as segment:
        records = [(at, one) for at, one in segment.scan() if isinstance(one, record.Header)]
        second, header = records[1]
        position, seqno = header.position, header.seqno
        head = dataclasses.replace(segment.head, first_position=position, first_seqno=seqno)
    writer = SegmentWriter(path.parent, head)
    writer.append([memoryview(used(path)[second:])], 0)
    writer.close()
    found = lane(tmp_path)
    assert found.doubled > 0
    assert any("there twice" in text for text in found.problems)
    assert not found.is_sound
    one.close()


@pytest.mark.parametrize("payload", [[b"x" * 15], [b"x" * 17], []])
def test_rows_of_the_wrong_width_are_a_finding(tmp_path: Path, payload: list[bytes]) -> None:
    with shelf(tmp_path) as one:
        one.producer.put(1, payload)
        one.commit()
        assert any("are not 1 rows" in text for text in lane(tmp_path).problems)


def test_a_damaged_journal_is_a_finding_and_a_torn_one_is_not(tmp_path: Path) -> None:
    one = filled(tmp_path)
    path = one.spool.journal_path(one.recording.session.id)
    raw = path.read_bytes()
    path.write_bytes(raw + b"1234 half a li")
    assert verify(tmp_path / "spool").is_sound
    hurt(path, raw.index(b"\n") + 30)
    (session,) = verify(tmp_path / "spool").sessions
    assert not session.is_sound
    assert "1 lines of the journal" in session.problems[0]
    path.write_bytes(b"nothing")
    (session,) = verify(tmp_path / "spool").sessions
    assert not session.is_sound
    path.unlink()
    (session,) = verify(tmp_path / "spool").sessions
    assert not session.is_sound
    one.close()


def test_a_folder_that_is_no_spool_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpoolError, match="not a spool"):
        verify(tmp_path)
    (tmp_path / "FORMAT").write_text("edge-recorder spool 2\n")
    with pytest.raises(SpoolFormatError):
        verify(tmp_path)


def test_an_empty_spool_is_sound(tmp_path: Path) -> None:
    Spool.make(tmp_path)
    assert verify(tmp_path).is_sound
