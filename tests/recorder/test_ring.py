from __future__ import annotations

import functools
import os
import random
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder import record
from recorder.errors import RingError
from recorder.lane_state import LaneState
from recorder.ring import RingReader, RingWriter, write_empty
from recorder.ring_files import ReaderSet, attach, hold
from tests.recorder.building import (
    ROOT,
    Producer,
    numbers_in,
    rows,
    schema,
    wait_until,
)

CAPACITY = 65_536
HEADS, TAILS = (128, 256), (384, 448)


def read_all(reader: RingReader) -> list[int]:
    found: list[int] = []
    for header, runs in reader.records():
        if header.kind == record.DATA:
            payload = b"".join(runs)[record.HEADER_BYTES :]
            assert numbers_in(payload)[0] == header.seqno
            found += numbers_in(payload)
    return found


def test_a_record_goes_round_the_end_at_every_offset(tmp_path: Path) -> None:
    capacity = 512
    size = record.HEADER_BYTES + 16
    starts = set()
    path = tmp_path / f"imu.{1:016x}.ring"
    write_empty(path, schema(), 1, capacity)
    writer, reader = RingWriter(path), RingReader(path)
    for number in range(3 * capacity):
        # A payload of changing length moves the beginning to every offset in turn.
        tail = bytes([number % 256]) * (number % 7)
        starts.add(writer.state.position % capacity)
        assert writer.put(record.DATA, 1, writer.state, [rows(number), tail], number + 1)
        ((header, runs),) = list(reader.records())
        assert (header.seqno, header.boot_ns) == (number, number + 1)
        assert b"".join(runs)[record.HEADER_BYTES :] == rows(number) + tail
        assert sum(map(len, runs)) == size + len(tail)
        reader.free(reader.position)
        del runs  # the ring's memory, which cannot go while somebody looks at it
    assert starts == set(range(capacity))
    writer.close()
    reader.close()


@given(steps=st.lists(st.tuples(st.booleans(), st.integers(1, 9)), max_size=40))
def test_a_full_ring_drops_whole_records_and_counts_them_exactly(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[bool, int]]
) -> None:
    producer = Producer(tmp_path_factory.mktemp("rings"), schema(), 1024)
    reader = RingReader(producer.ring.path)
    kept: list[int] = []
    found: list[int] = []
    dropped = used = 0
    for is_put, count in steps:
        if is_put:
            first = producer.ring.state.seqno
            size = record.HEADER_BYTES + 16 * count
            assert producer.put(count) == (used + size <= 1024)
            if used + size <= 1024:
                used += size
                kept += range(first, first + count)
            else:
                dropped += count
        else:
            found += read_all(reader)
            reader.free(reader.position)
            used = 0
    found += read_all(reader)
    assert found == kept
    assert producer.ring.state.losses.ring == dropped
    assert producer.ring.state.seqno == len(kept) + dropped
    reader.free(reader.position)
    producer.put(1)
    assert [header.losses.ring for header, _ in reader.records()] == [dropped]
    producer.close()
    reader.close()


def test_what_is_not_freed_is_read_again_by_the_next_reader(tmp_path: Path) -> None:
    producer = Producer(tmp_path, schema())
    producer.put(5)
    first = RingReader(producer.ring.path)
    assert read_all(first) == list(range(5))
    first.close()
    second = RingReader(producer.ring.path)
    assert read_all(second) == list(range(5))
    second.free(second.position)
    second.close()
    third = RingReader(producer.ring.path)
    assert read_all(third) == []
    third.close()
    producer.close()


def test_bytes_of_the_last_lap_never_verify(tmp_path: Path) -> None:
    producer = Producer(tmp_path, schema(), 1024)
    reader = RingReader(producer.ring.path)
    for _ in range(20):
        while producer.put(1):
            pass
        read_all(reader)
        reader.free(reader.position)
        # The whole ring is full of whole records of this lap; none is at a position of the next.
        for offset in range(1024):
            assert reader.record_at(reader.position + offset) is None
    producer.close()
    reader.close()


def test_a_record_copied_into_another_ring_never_verifies_there(tmp_path: Path) -> None:
    one = Producer(tmp_path, schema("one"))
    two = Producer(tmp_path, schema("two"))
    one.put(3)
    raw = one.ring.path.read_bytes()
    begin = one.ring._begin
    with two.ring.path.open("r+b") as file:
        file.seek(two.ring._begin)
        file.write(raw[begin : begin + 1000])
    reader = RingReader(two.ring.path)
    assert list(reader.records()) == []
    for each in (one, two, reader):
        each.close()


@pytest.mark.parametrize(
    ("at", "wrong"),
    [
        (0, b"RREX"),
        (4, b"\2"),  # a later version
        (5, b"\5"),  # no kind
        (8, bytes(8)),  # another ring
        (16, (1).to_bytes(8, "little")),  # another place
        (36, (65_536).to_bytes(4, "little")),  # longer than the ring
        (116, b"CERX"),
    ],
)
def test_a_header_with_one_wrong_field_is_no_record_whatever_its_checksum(
    tmp_path: Path, at: int, wrong: bytes
) -> None:
    producer = Producer(tmp_path, schema())
    producer.put(3)
    reader = RingReader(producer.ring.path)
    begin = producer.ring._begin
    size = record.HEADER_BYTES + len(rows(0, 3))
    raw = bytearray(producer.ring._memory[begin : begin + size])

    def resigned() -> bytes:
        crc = record.checksum(bytes(raw[: record.CRC_OFFSET]), [bytes(raw[record.HEADER_BYTES :])])
        raw[record.CRC_OFFSET : record.CRC_OFFSET + 4] = crc.to_bytes(4, "little")
        return bytes(raw)

    assert resigned() == producer.ring._memory[begin : begin + size]
    raw[at : at + len(wrong)] = wrong
    producer.ring._memory[begin : begin + size] = resigned()
    assert reader.record_at(0) is None
    assert reader.run(1 << 20) is None
    producer.close()
    reader.close()


def test_a_run_tells_of_its_records_what_each_of_them_says(tmp_path: Path) -> None:
    producer = Producer(tmp_path, schema(), 4096)
    reader = RingReader(producer.ring.path)
    for lap in range(40):  # round the ring's end at many offsets
        first = producer.ring.state.seqno
        producer.event("before")
        begun = [producer.put(rows) for rows in (2, 3, 1 + lap % 4)]
        producer.event("behind")
        each = [header for header, _ in RingReader(producer.ring.path).records()]
        assert all(begun)
        run = reader.run(1 << 20)
        assert run is not None
        assert (run.first, run.last) == (each[0], each[-1])
        assert run.opening == each[:2]
        assert run.rows == producer.ring.state.seqno - first
        assert (run.first_boot_ns, run.last_boot_ns) == (each[1].boot_ns, each[3].last_boot_ns)
        assert run.size_bytes == sum(one.size_bytes for one in each)
        del run
        reader.free(reader.position)
    producer.close()
    reader.close()


@pytest.mark.parametrize("at", range(108))
def test_a_torn_head_leaves_the_one_before(tmp_path: Path, at: int) -> None:
    producer = Producer(tmp_path, schema())
    producer.put(3)
    producer.put(4)
    generation = producer.ring._head.generation
    place = HEADS[generation & 1] + at
    producer.close()
    with producer.ring.path.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 0x55]))
    again = Producer(tmp_path, schema())
    state = again.ring.state
    assert (state.seqno, state.losses) == (7, record.Losses())  # the record itself told the rest
    again.put(2)
    reader = RingReader(again.ring.path)
    assert read_all(reader) == list(range(9))
    reader.close()
    again.close()


def test_a_torn_tail_word_frees_less_and_never_more(tmp_path: Path) -> None:
    producer = Producer(tmp_path, schema())
    reader = RingReader(producer.ring.path)
    ends = [0]
    for _ in range(3):
        producer.put(1)
        read_all(reader)
        reader.free(reader.position)
        ends.append(reader.position)
    place = TAILS[reader._tail.generation & 1]
    reader.close()
    with producer.ring.path.open("r+b") as file:
        file.seek(place + 9)
        file.write(b"\x55")
    again = RingReader(producer.ring.path)
    assert again.position == ends[-2]
    again.close()
    producer.close()


def test_a_head_survives_its_process_with_all_counts(tmp_path: Path) -> None:
    producer = Producer(tmp_path, schema())
    state = LaneState(0, 0, 77, 5, 6, -9, 11, record.Losses(1, 2, 3, 4))
    producer.ring.note(state)
    producer.close()
    again = attach(tmp_path, schema(), CAPACITY)
    assert again.state == state
    again.close()


WRITER = """
import sys
from pathlib import Path
from tests.recorder.building import Producer, schema
producer = Producer(Path(sys.argv[1]), schema(), int(sys.argv[2]))
print("up", flush=True)
while True:
    producer.put(1 + producer.ring.state.seqno % 5)
"""


def drain(reader: RingReader, found: list[int], enough: int = 0) -> bool:
    found += read_all(reader)
    reader.free(reader.position)
    return len(found) > enough


def test_a_writer_killed_at_any_instant_is_followed_without_a_gap(tmp_path: Path) -> None:
    dice = random.Random(3)
    found: list[int] = []
    readers = ReaderSet(tmp_path)
    for _ in range(12):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), "4096"], cwd=ROOT, stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        readers.look()
        (reader,) = readers
        wait_until(functools.partial(drain, reader, found, len(found) + 20))
        time.sleep(dice.uniform(0, 0.01))  # the instant; nothing waits for it
        process.kill()
        process.wait()
        process.stdout.close()
        drain(reader, found)
    writer = attach(tmp_path, schema(), 4096)
    lost = writer.state.losses.ring
    assert found == sorted(set(found))
    assert writer.state.seqno == len(found) + lost
    writer.close()
    readers.close()


def test_another_schema_or_size_starts_a_new_ring_and_the_old_one_is_drained_first(
    tmp_path: Path,
) -> None:
    first = Producer(tmp_path, schema())
    first.put(2)
    second = Producer(tmp_path, schema(rate_hz=100.0))
    third = Producer(tmp_path, schema(rate_hz=100.0), 2 * CAPACITY)
    assert len({one.ring.epoch for one in (first, second, third)}) == 3
    third.put(3)
    readers = ReaderSet(tmp_path)
    assert readers.look() == []
    assert [read_all(one) for one in readers] == [[0, 1], [], [0, 1, 2]]
    readers.retire()
    assert [one.path for one in readers] == [third.ring.path]
    assert not first.ring.path.exists()
    for each in (first, second, third, readers):
        each.close()


def test_an_older_ring_that_fits_again_is_not_taken_up(tmp_path: Path) -> None:
    # The spooler removes what is older than the newest: the lane would write into nothing.
    first = Producer(tmp_path, schema())
    first.close()
    second = Producer(tmp_path, schema(rate_hz=100.0))
    second.close()
    third = Producer(tmp_path, schema())
    assert third.ring.epoch != first.ring.epoch
    readers = ReaderSet(tmp_path)
    readers.look()
    readers.retire()
    third.put(1)
    assert [read_all(one) for one in readers] == [[0]]
    readers.close()
    third.close()


@pytest.mark.parametrize("raw", [b"", b"x" * 100, b"RRING\0\0\1" + bytes(600)])
def test_a_file_that_is_no_ring_is_left_alone_and_told_once(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / f"imu.{5:016x}.ring"
    path.write_bytes(raw)
    readers = ReaderSet(tmp_path)
    assert len(readers.look()) == 1
    assert readers.look() == []
    producer = Producer(tmp_path, schema())
    readers.look()
    assert [one.path for one in readers] == [producer.ring.path]
    assert path.read_bytes() == raw
    producer.close()
    readers.close()


def test_a_ring_of_another_boot_is_refused_by_the_reader_and_not_gone_on_with(
    tmp_path: Path,
) -> None:
    producer = Producer(tmp_path, schema())
    path = producer.ring.path
    producer.close()
    raw = bytearray(path.read_bytes())
    raw[32] ^= 1
    length = int.from_bytes(raw[12:16], "little")
    crc = zlib.crc32(raw[512 : 512 + length], zlib.crc32(raw[:56]))
    raw[56:60] = struct.pack("<I", crc)
    path.write_bytes(raw)
    with pytest.raises(RingError, match="another boot"):
        RingReader(path)
    again = Producer(tmp_path, schema())
    assert again.ring.path != path
    again.close()


def test_a_lane_is_run_by_one_process(tmp_path: Path) -> None:
    held = hold(tmp_path, "imu")
    with pytest.raises(RingError, match="another process"):
        hold(tmp_path, "imu")
    os.close(hold(tmp_path, "gps"))
    os.close(held)
    os.close(hold(tmp_path, "imu"))


def test_a_record_larger_than_the_ring_is_dropped_and_counted(tmp_path: Path) -> None:
    producer = Producer(tmp_path, schema(blob="jpeg"), 1024)
    assert not producer.put(1, [rows(0), bytes(2000)])
    assert producer.ring.state.losses.ring == 1
    producer.put(1)
    reader = RingReader(producer.ring.path)
    assert [(header.seqno, header.losses.ring) for header, _ in reader.records()] == [(1, 1)]
    reader.close()
    producer.close()
