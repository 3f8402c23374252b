"""A lane's records in order, from any point on, over whatever happened to its segments."""

from __future__ import annotations

import pytest

from recorder.errors import DamagedError
from recorder.record import SEQNO
from recorder.spool.reader import Point, read_from, read_piece
from recorder.spool.watermark import Watermark, durable
from tests.recorder.upload.made import Drive


@pytest.fixture
def stored(tmp_path):
    """Forty pictures in about a dozen segments."""
    drive = Drive(tmp_path)
    drive.camera(40)
    drive.beat()
    yield drive
    drive.recording.close()


def segments(drive):
    return [(path, path.stat().st_size) for path in drive.spool.segments(drive.id, "camera")]


def seqnos(found):
    return [one.header.seqno for one in found]


def test_all_records_come_in_order_over_all_segments(stored):
    assert len(segments(stored)) > 5
    assert seqnos(read_from(segments(stored), None)) == list(range(40))


def test_from_behind_any_record_the_rest_comes(stored):
    ends = [one.end for one in read_from(segments(stored), None)]
    for number, end in enumerate(ends):
        assert seqnos(read_from(segments(stored), end)) == list(range(number + 1, 40))


def test_nothing_beyond_the_durable_length_is_read(stored):
    stored.camera(3)
    water = Watermark.read(stored.folder / "run" / "watermark")
    found = durable(stored.spool, stored.id, "camera", water)
    assert seqnos(read_from(found, None)) == list(range(40))


def test_after_its_segment_was_given_up_reading_goes_on_with_the_next_that_was_not_read(stored):
    all_records = list(_plain(read_from(segments(stored), None)))
    third = segments(stored)[2][0].name
    point = next(end for _, end in all_records if end.file == third)
    passed = {path.name for path, _ in segments(stored)[:3]}
    rest = [seqno for seqno, end in all_records if end.file not in passed]
    for path, _ in segments(stored)[1:3]:
        path.unlink()
    assert seqnos(read_from(segments(stored), point, passed)) == rest


def _plain(found):
    for one in found:
        yield one.header.seqno, one.end


def test_damage_is_passed_over_and_shows_by_the_numbers(stored):
    path, _ = segments(stored)[1]
    first, *_ = list(_plain(read_from(segments(stored)[1:2], None)))
    raw = bytearray(path.read_bytes())
    raw[first[1].offset - 10] ^= 0xFF
    path.write_bytes(raw)
    assert seqnos(read_from(segments(stored), None)) == [n for n in range(40) if n != first[0]]


def hurt_head(path):
    raw = bytearray(path.read_bytes())
    raw[20] ^= 0xFF
    path.write_bytes(raw)


def test_a_segment_whose_head_is_damaged_is_read_by_the_one_in_the_journal(stored):
    path, _ = segments(stored)[1]
    hurt_head(path)
    whole = [(one, one.stat().st_size) for one in sorted(path.parent.glob("*.seg"))]
    assert seqnos(read_from(whole, None)) == list(range(40))


def test_a_segment_whose_heads_are_both_damaged_is_passed_over(stored):
    path, _ = segments(stored)[1]
    lost = seqnos(read_from(segments(stored)[1:2], None))
    hurt_head(path)
    (path.parent.parent / "journal").unlink()
    whole = [(one, one.stat().st_size) for one in sorted(path.parent.glob("*.seg"))]
    assert seqnos(read_from(whole, None)) == [n for n in range(40) if n not in lost]


def test_a_piece_is_exactly_its_records_and_what_is_gone_is_told(stored):
    path, _ = segments(stored)[1]
    first, second = list(_plain(read_from(segments(stored)[1:2], None)))[:2]
    (piece,) = read_piece(path, first[1].offset, second[1].offset)
    assert piece[0][SEQNO] == second[0]
    hurt_head(path)
    (path.parent.parent / "journal").unlink()
    with pytest.raises(DamagedError):
        list(read_piece(path, first[1].offset, second[1].offset))
    path.unlink()
    with pytest.raises(FileNotFoundError):
        list(read_piece(path, first[1].offset, second[1].offset))


def test_a_point_at_the_end_gives_nothing(stored):
    path, size = segments(stored)[-1]
    assert seqnos(read_from(segments(stored), Point(path.name, size))) == []
