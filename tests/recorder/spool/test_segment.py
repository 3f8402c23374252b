from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.base import TYPES, Field
from recorder import record
from recorder.clock import boot_id
from recorder.errors import DamagedError
from recorder.schema import LaneSchema
from recorder.spool.recover import contents
from recorder.spool.segment import Hole, SegmentHead, SegmentReader
from recorder.spool.segment_writer import SegmentWriter
from tests.recorder.building import (
    full_disk,
    lane_numbers,
    numbers_in,
    rows,
    schema,
    segment_numbers,
    shelf,
)
from tests.recorder.spool.independent_reader import read_segment

RECORDS = 5


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A segment of five records of two rows, durable and sealed."""
    with shelf(tmp_path / "shelf") as one:
        for _ in range(RECORDS):
            one.producer.put(2)
        one.commit()
        one.end()
        (path,) = one.segments()
        copy = tmp_path / path.name
        shutil.copy(path, copy)
    return copy


def begin_bytes(path: Path) -> int:
    with SegmentReader(path) as segment:
        return segment.begin_bytes


def test_a_segment_torn_at_every_byte_keeps_every_record_before(small: Path) -> None:
    raw, begin = small.read_bytes(), begin_bytes(small)
    size = (len(raw) - begin) // RECORDS
    for length in range(len(raw)):
        small.write_bytes(raw[:length])
        if length < begin:
            with pytest.raises(DamagedError):
                contents(small)
            assert read_segment(small) is None
            continue
        found = contents(small)
        whole = (length - begin) // size
        assert (found.records, found.rows, found.damage) == (whole, 2 * whole, [])
        assert found.end_bytes == begin + whole * size
        assert found.torn_bytes == len(raw[found.end_bytes : length].rstrip(b"\0"))
        assert segment_numbers(small) == list(range(2 * whole))


def test_a_segment_flipped_at_every_byte_loses_one_record_and_says_which(small: Path) -> None:
    raw, begin = small.read_bytes(), begin_bytes(small)
    size = (len(raw) - begin) // RECORDS
    for at in range(len(raw)):
        flipped = bytearray(raw)
        flipped[at] ^= 1 << (at % 8)
        small.write_bytes(flipped)
        if at < begin:
            with pytest.raises(DamagedError):
                contents(small)
            continue
        hurt = (at - begin) // size
        found = contents(small)
        left = [n for n in range(2 * RECORDS) if n // 2 != hurt]
        assert segment_numbers(small) == left
        if hurt == RECORDS - 1:
            assert (found.torn_bytes, found.damage, found.missing) == (size, [], 0)
        else:
            place = Hole(begin + hurt * size, size, is_tail=False)
            assert (found.torn_bytes, found.damage) == (0, [place])
            assert found.missing == (2 if hurt else 0)


@given(data=st.binary(max_size=400))
def test_bytes_that_are_no_segment_are_refused_and_never_more(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.mktemp("any") / "000000000000-0000000000000001.seg"
    path.write_bytes(data)
    with pytest.raises(DamagedError):
        SegmentReader(path)


@given(junk=st.binary(max_size=300), at=st.integers(0, 10_000), length=st.integers(0, 400))
def test_any_bytes_in_place_of_others_never_make_a_record(
    tmp_path_factory: pytest.TempPathFactory, junk: bytes, at: int, length: int
) -> None:
    folder = tmp_path_factory.mktemp("any")
    with shelf(folder) as one:
        for _ in range(RECORDS):
            one.producer.put(2)
        one.commit()
        one.end()
        (path,) = one.segments()
        raw, begin = path.read_bytes(), begin_bytes(path)
        at = begin + at % (len(raw) - begin)
        path.write_bytes(raw[:at] + junk + raw[at + length :])
        found = segment_numbers(path)
        assert found == sorted(set(found))
        assert set(found) <= set(range(2 * RECORDS))
        before = 2 * ((at - begin) // ((len(raw) - begin) // RECORDS))
        assert found[:before] == list(range(before))


def nested(kind: str, tmp_path: Path) -> bytes:
    """Return bytes that a reader which looks for records might fall for."""
    with shelf(tmp_path / f"inner-{kind}") as inner:
        inner.producer.put(3)
        inner.commit()
        inner.end()
        (path,) = inner.segments()
        raw = path.read_bytes()
        return raw if kind == "segment" else raw[begin_bytes(path) :]


@pytest.mark.parametrize("kind", ["segment", "record", "own record elsewhere"])
def test_a_record_inside_a_payload_is_never_taken_for_one(tmp_path: Path, kind: str) -> None:
    with shelf(tmp_path / "outer", lane=schema(blob="jpeg")) as one:
        one.producer.put(1)
        one.commit()
        (path,) = one.segments()
        begin = begin_bytes(path)
        inside = (
            path.read_bytes()[begin:].rstrip(b"\0") if "own" in kind else nested(kind, tmp_path)
        )
        one.producer.put(1, [rows(1), inside])
        one.producer.put(1, [rows(2), b"behind"])
        one.commit()
        raw = bytearray(path.read_bytes())
        with SegmentReader(path) as segment:
            offsets = [offset for offset, _, _ in segment.records()]
        assert len(offsets) == 3
        raw[offsets[1] + 60] ^= 1  # now the reader has to look for the next record, byte by byte
        path.write_bytes(raw)
        with SegmentReader(path) as segment:
            found = [(offset, header.seqno) for offset, header, _ in segment.records()]
        second = read_segment(path)
        assert found == [(offsets[0], 0), (offsets[2], 2)]
        assert second is not None
        assert [(rec.offset, rec.seqno) for rec in second.records] == found


def test_a_record_of_the_same_place_in_another_ring_does_not_count(tmp_path: Path) -> None:
    with shelf(tmp_path / "a") as one, shelf(tmp_path / "b") as other:
        for each in (one, other):
            each.producer.put(2)
            each.producer.put(2)
            each.commit()
            each.end()
        (mine,), (theirs,) = one.segments(), other.segments()
        raw, strange = bytearray(mine.read_bytes()), theirs.read_bytes()
        size = (len(raw) - begin_bytes(mine)) // 2
        raw[-size:] = strange[-size:]
        mine.write_bytes(raw)
        assert segment_numbers(mine) == [0, 1]


fields = st.lists(
    st.builds(
        Field,
        name=st.text(min_size=1, max_size=8),
        type=st.tuples(st.sampled_from("<>"), st.sampled_from(sorted(TYPES))).map("".join),
        unit=st.sampled_from(["1", "m/s^2"]),
        scale=st.floats(0.001, 1000),
        offset=st.floats(-5, 5),
        null=st.none() | st.integers(-5, 5),
    ),
    min_size=1,
    max_size=4,
)
numbers = st.integers(0, 2**63 - 1)


@given(fields=fields, epoch=numbers, position=numbers, seqno=numbers, made=numbers)
def test_a_segment_says_of_itself_what_it_was_told(
    *,
    tmp_path_factory: pytest.TempPathFactory,
    fields: list[Field],
    epoch: int,
    position: int,
    seqno: int,
    made: int,
) -> None:
    folder = tmp_path_factory.mktemp("head")
    lane = LaneSchema("gps", "d", "GPS", 10.0, 0.1, tuple(fields), metadata={"ü": [1, None]})
    head = SegmentHead(epoch, position, boot_id(), bytes(16), seqno, made, lane)
    writer = SegmentWriter(folder, head)
    writer.close()
    with SegmentReader(folder / head.name) as segment:
        assert segment.head == head
        assert list(segment.scan()) == []
    second = read_segment(folder / head.name)
    assert second is not None
    assert (second.epoch, second.first_position, second.first_seqno) == (epoch, position, seqno)
    assert second.schema.decode() == lane.to_json()


@pytest.mark.parametrize("room_bytes", [0, 1, 119, 120, 250])
def test_what_an_append_could_not_write_leaves_the_file_as_it_was(
    tmp_path: Path, room_bytes: int
) -> None:
    with shelf(tmp_path) as one:
        one.producer.put(2)
        with full_disk(4096):  # the segment's blocks cannot be taken at once
            one.commit()
        (path,) = one.segments()
        before = path.read_bytes()
        one.producer.put(2)
        one.producer.put(2)
        with full_disk(len(before) + room_bytes), pytest.raises(OSError, match="too large"):
            one.take()
        assert path.read_bytes() == before
        one.commit()
        assert one.numbers() == list(range(6))


def test_a_reader_goes_no_further_than_it_was_told(tmp_path: Path) -> None:
    with shelf(tmp_path) as one:
        one.producer.put(2)
        one.commit()
        (path,) = one.segments()
        end = path.stat().st_size
        one.producer.put(2)
        one.commit()
        for limit in range(end, path.stat().st_size):
            with SegmentReader(path, limit) as segment:
                found = [n for _, _, payload in segment.records() for n in numbers_in(payload)]
            assert found == [0, 1]
        assert lane_numbers(one.spool.directory, "imu") == [0, 1, 2, 3]


def test_more_records_than_one_system_call_takes_arrive_whole(tmp_path: Path) -> None:
    with shelf(tmp_path, capacity_bytes=1 << 20, segment_bytes=1 << 24) as one:
        for _ in range(3000):
            assert one.producer.put(1)
        one.commit()
        assert one.numbers() == list(range(3000))
        assert one.segments()[0].stat().st_size > record.HEADER_BYTES * 3000
