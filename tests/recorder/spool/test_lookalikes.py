"""Bytes that look like a record and are none where they lie: nobody takes them for one.

Proved from both sides: by the ring's reader and writer, and by every reader of segments.
"""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from recorder import record
from recorder.errors import RingError
from recorder.ring import RingReader, RingWriter, write_empty
from recorder.ring_files import ReaderSet
from recorder.run import Run
from recorder.spool.reader import read_from
from recorder.spool.recover import contents
from tests.recorder.building import Producer, Shelf, rows, schema, shelf
from tests.recorder.spool.independent_reader import read_segment

LANE = schema("cam", blob="jpeg")
#: Sixteen records of this length fill the ring exactly: each lap's lie where the last one's lay.
CAPACITY_BYTES, LAP, SIZE_BYTES = 4096, 16, 256
_BLOB_AT = record.HEADER_BYTES + LANE.row_bytes
_BLOB_BYTES = SIZE_BYTES - _BLOB_AT
_RING_EPOCH_AT, _RING_BOOT_AT, _RING_CRC_AT = 24, 32, 56


@dataclass(frozen=True)
class Place:
    """Where an impostor will lie: the ring's epoch, its place there, and what there is to copy."""

    epoch: int
    position: int
    segment: bytes
    ring: bytes
    begin: int


def forged(place: Place, **changes: Any) -> bytes:
    """Return a record that is right for a place in every value but those changed."""
    payload = rows(7_000_000) + b"forged"
    header = record.Header(
        record.DATA,
        record.lane_id(LANE.lane),
        place.epoch,
        place.position,
        7_000_000,
        1,
        len(payload),
        5,
        0,
        7_000_001,
        record.Losses(),
    )
    return record.pack(replace(header, **changes), [payload]) + payload


def picture(_: Place) -> bytes:
    words = record.MAGIC + bytes([record.VERSION, record.DATA]) + bytes(110) + record.END_MAGIC
    comment = b"\xff\xfe" + struct.pack(">H", 2 + 3 * len(words)) + 3 * words
    return b"\xff\xd8" + comment + b"\xff\xd9"


def another_segment(place: Place) -> bytes:
    """Return a whole segment of another incarnation whose records claim the very places."""
    first = place.position + place.begin
    head = bytearray(place.segment[: place.begin])
    struct.pack_into("<QQ", head, 16, place.epoch ^ 1, first)
    return bytes(head) + forged(replace(place, position=first), epoch=place.epoch ^ 1)


IMPOSTORS: dict[str, Callable[[Place], bytes]] = {
    "a picture with the magic in it": picture,
    "a whole segment, this one": lambda place: place.segment,
    "a whole segment of another incarnation": another_segment,
    "the records of this segment": lambda place: place.segment[place.begin :],
    "a whole ring, this one": lambda place: place.ring,
    "the records of this ring": lambda place: place.ring[-CAPACITY_BYTES:],
    "a record of the last lap": lambda place: forged(
        place, position=(place.position - CAPACITY_BYTES) % 2**64
    ),
    "a record of the next lap": lambda place: forged(
        place, position=place.position + CAPACITY_BYTES
    ),
    "a record of another incarnation or boot": lambda place: forged(place, epoch=place.epoch ^ 1),
    "a record of the place beside": lambda place: forged(place, position=place.position + 3),
    "a record of a later version": lambda place: forged(place)[:4] + b"\x02" + forged(place)[5:],
    "a record cut short": lambda place: forged(place)[:-1],
    "a head alone": lambda place: forged(place)[: record.HEADER_BYTES],
}
impostors = pytest.mark.parametrize(
    "make", IMPOSTORS.values(), ids=[one.replace(" ", "-") for one in IMPOSTORS]
)


def filled(directory: Path) -> Shelf:
    """Two records of a camera; the ring is in its second lap, and all of it was written."""
    one = Shelf(directory, lane=LANE, capacity_bytes=CAPACITY_BYTES, segment_bytes=1 << 16)
    for _ in range(LAP + 2):
        assert one.producer.put(1, [rows(one.producer.ring.state.seqno), bytes(_BLOB_BYTES)])
        one.commit()
    return one


def place_at(one: Shelf, position: int) -> Place:
    (path,) = one.segments()
    segment = read_segment(path)
    assert segment is not None
    raw = path.read_bytes()[: segment.records[-1].offset + SIZE_BYTES]
    ring = one.producer.ring.path.read_bytes()
    return Place(one.producer.ring.epoch, position, raw, ring, segment.records[0].offset)


def seqnos(path: Path) -> list[int]:
    """Return the first numbers of every record that anybody finds in a segment."""
    segment = read_segment(path)
    assert segment is not None
    found = [one.seqno for one in segment.records]
    assert [one.header.seqno for one in read_from([(path, 1 << 40)], None)] == found
    assert contents(path).records == len(found)
    return found


# --- in a segment ---------------------------------------------------------------------------------


@impostors
@pytest.mark.parametrize("hurt", ["", "head", "payload"])
def test_inside_a_payload_it_is_never_taken_for_a_record(
    tmp_path: Path, make: Callable[[Place], bytes], hurt: str
) -> None:
    with shelf(tmp_path, lane=LANE, capacity_bytes=1 << 17, segment_bytes=1 << 20) as one:
        small = filled(tmp_path / "small")
        epoch = one.producer.ring.epoch
        assert one.producer.put(1, [rows(0), b"before"])
        begin = one.producer.ring.state.position
        place = replace(place_at(small, begin + _BLOB_AT), epoch=epoch)
        small.close()
        blob = make(place)
        assert one.producer.put(1, [rows(1), blob])
        assert one.producer.put(1, [rows(2), b"behind"])
        one.commit()
        (path,) = one.segments()
        assert seqnos(path) == [0, 1, 2]
        if hurt:
            raw = bytearray(path.read_bytes())
            at = place.begin + begin + (40 if hurt == "head" else _BLOB_AT - 1)
            raw[at] ^= 1  # now the readers look for the next record, byte by byte
            path.write_bytes(raw)
            assert seqnos(path) == [0, 2]
            assert [hole.size_bytes for hole in contents(path).damage] == [_BLOB_AT + len(blob)]


def test_even_a_perfect_forgery_inside_a_sound_payload_is_no_record(tmp_path: Path) -> None:
    with shelf(tmp_path, lane=LANE) as one:
        ring = one.producer.ring
        place = Place(ring.epoch, _BLOB_AT, b"", b"", 0)
        assert one.producer.put(1, [rows(0), forged(place)])
        one.commit()
        (path,) = one.segments()
        assert seqnos(path) == [0]
        raw = path.read_bytes()
        begin = raw.index(record.MAGIC)
        # The same bytes count where no record covers them: so the test can tell.
        path.write_bytes(raw[:begin] + bytes(_BLOB_AT) + raw[begin + _BLOB_AT :])
        assert seqnos(path) == [7_000_000]


@impostors
def test_behind_the_last_record_it_is_never_taken_for_one(
    tmp_path: Path, make: Callable[[Place], bytes]
) -> None:
    one = filled(tmp_path)
    (path,) = one.segments()
    place = place_at(one, one.producer.ring.state.position)
    stale = make(place)
    true = seqnos(path)
    for distance in (0, 1, 119, 4000):  # at the very place, and further on in the unused space
        path.write_bytes(place.segment + bytes(distance) + stale + bytes(100))
        assert seqnos(path) == true
        assert contents(path).damage == []
        assert contents(path).end_bytes == len(place.segment)
        assert contents(path).torn_bytes == distance + len(stale.rstrip(b"\0"))
    one.close()


@impostors
def test_in_a_damaged_stretch_it_is_never_taken_for_a_record(
    tmp_path: Path, make: Callable[[Place], bytes]
) -> None:
    one = filled(tmp_path)
    (path,) = one.segments()
    true = seqnos(path)
    for index in (0, 5, 14):
        place = place_at(one, index * SIZE_BYTES)
        stale = make(place)[: 2 * SIZE_BYTES]
        at = place.begin + place.position
        hidden = -(-max(len(stale), 1) // SIZE_BYTES)
        # A copy of this segment's records lies where it belongs only if it covers its own places.
        raw = place.segment[:at] + stale + b"\x55" * (hidden * SIZE_BYTES - len(stale))
        path.write_bytes(raw + place.segment[at + hidden * SIZE_BYTES :])
        left = [n for n in true if not index <= n < index + hidden]
        if stale == place.segment[place.begin :][: len(stale)] and index == 0:
            left = true  # these are the records of this very place
        assert seqnos(path) == left, index
        path.write_bytes(place.segment)
    one.close()


def test_what_a_recycled_file_held_before_is_never_taken_for_a_record(tmp_path: Path) -> None:
    """A file whose blocks were those of earlier segments of the same ring epoch."""
    chance = random.Random(4)
    with shelf(tmp_path, lane=LANE, segment_bytes=1500) as one:
        for _ in range(12):
            assert one.producer.put(1, [rows(one.producer.ring.state.seqno), bytes(_BLOB_BYTES)])
            one.commit()
        paths = one.segments()
        assert len(paths) > 2
        whole = {path: path.read_bytes() for path in paths}
        true = {path: seqnos(path) for path in paths}
        for path in paths:
            for other in paths:
                if path != other:
                    kept = chance.randrange(len(true[path]))
                    end = whole[path].index(record.MAGIC) + kept * SIZE_BYTES
                    path.write_bytes(whole[path][:end] + whole[other][end:])
                    assert seqnos(path) == true[path][:kept]
                    path.write_bytes(whole[path])


# --- in a ring ------------------------------------------------------------------------------------


def pending(path: Path) -> list[int]:
    """Return the first numbers of what a ring's reader finds, whatever was there before."""
    reader = RingReader(path)
    found = [header.seqno for header, _ in reader.records()]
    reader.close()
    reader = RingReader(path)
    assert rows_of(reader.run(1 << 30)) == len(found)
    reader.close()
    return found


def rows_of(run: Run | None) -> int:
    return run.rows if run else 0


def full_lap(directory: Path) -> Producer:
    """A ring all of whose bytes are records of the last lap, read and freed."""
    one = Producer(directory, LANE, CAPACITY_BYTES)
    for _ in range(LAP):
        assert one.put(1, [rows(one.ring.state.seqno), bytes(_BLOB_BYTES)])
    reader = RingReader(one.ring.path)
    assert len(list(reader.records())) == LAP
    reader.free(reader.position)
    reader.close()
    return one


def test_the_last_lap_at_the_very_places_is_not_read_again(tmp_path: Path) -> None:
    one = full_lap(tmp_path)
    assert pending(one.ring.path) == []
    for count in range(1, LAP + 1):
        assert one.put(1, [rows(one.ring.state.seqno), bytes(_BLOB_BYTES)])
        assert pending(one.ring.path) == list(range(LAP, LAP + count))
    assert not one.put(1, [rows(0), bytes(_BLOB_BYTES)])
    one.close()


def test_the_last_lap_is_not_taken_up_by_the_next_incarnation_of_the_lane(tmp_path: Path) -> None:
    one = full_lap(tmp_path)
    for count in range(LAP):
        after = RingWriter(one.ring.path)
        assert (after.state.seqno, after.state.position) == (
            LAP + count,
            CAPACITY_BYTES + count * 256,
        )
        after.close()
        assert one.put(1, [rows(one.ring.state.seqno), bytes(_BLOB_BYTES)])
    one.close()


@pytest.mark.parametrize("copy_at", [128, 256])
def test_a_head_torn_in_mid_write_costs_no_record_and_wakes_no_old_one(
    tmp_path: Path, copy_at: int
) -> None:
    one = full_lap(tmp_path)
    for _ in range(5):
        assert one.put(1, [rows(one.ring.state.seqno), bytes(_BLOB_BYTES)])
    path = one.ring.path
    one.close()
    with path.open("r+b") as file:
        file.seek(copy_at + 60)
        file.write(b"torn")
    after = RingWriter(path)
    assert (after.state.seqno, after.state.position) == (LAP + 5, CAPACITY_BYTES + 5 * SIZE_BYTES)
    after.close()
    assert pending(path) == list(range(LAP, LAP + 5))


def test_a_record_whose_stores_came_in_any_order_is_there_only_when_all_came(
    tmp_path: Path,
) -> None:
    chance = random.Random(4)
    one = full_lap(tmp_path)
    path = one.ring.path
    before = path.read_bytes()
    assert one.put(1, [rows(LAP), b"\xaa" * _BLOB_BYTES])
    after = path.read_bytes()
    one.close()
    begin = len(after) - CAPACITY_BYTES
    words = [
        at
        for at in range(begin, begin + SIZE_BYTES, 8)
        if before[at : at + 8] != after[at : at + 8]
    ]
    assert len(words) > 10
    for missing in [*([at] for at in words), *(chance.sample(words, 5) for _ in range(200))]:
        raw = bytearray(after)
        for at in missing:
            raw[at : at + 8] = before[at : at + 8]
        path.write_bytes(raw)
        assert pending(path) == []
    path.write_bytes(after)
    assert pending(path) == [LAP]


def test_what_another_incarnation_left_in_the_memory_is_not_read(tmp_path: Path) -> None:
    one = full_lap(tmp_path)
    old = one.ring.path.read_bytes()
    epoch = one.ring.epoch
    one.close()
    path = tmp_path / "cam.0000000000000007.ring"
    write_empty(path, LANE, 7, CAPACITY_BYTES)
    new = path.read_bytes()
    path.write_bytes(new[: len(new) - CAPACITY_BYTES] + old[-CAPACITY_BYTES:])
    assert pending(path) == []
    writer = RingWriter(path)
    assert writer.state.position == 0
    writer.close()
    # The same bytes count under the epoch that they were written in: so the test can tell.
    head = bytearray(path.read_bytes())
    struct.pack_into("<Q", head, _RING_EPOCH_AT, epoch)
    length = int.from_bytes(head[12:16], "little")
    crc = zlib.crc32(head[512 : 512 + length], zlib.crc32(head[:_RING_CRC_AT]))
    struct.pack_into("<I", head, _RING_CRC_AT, crc)
    path.write_bytes(head)
    assert pending(path) == list(range(LAP))


def test_a_ring_of_another_boot_is_refused_whole_and_named(tmp_path: Path) -> None:
    one = full_lap(tmp_path)
    assert one.put(1, [rows(LAP), b"not yet read"])
    path = one.ring.path
    one.close()
    raw = bytearray(path.read_bytes())
    raw[_RING_BOOT_AT] ^= 1
    length = int.from_bytes(raw[12:16], "little")
    crc = zlib.crc32(raw[512 : 512 + length], zlib.crc32(raw[:_RING_CRC_AT]))
    struct.pack_into("<I", raw, _RING_CRC_AT, crc)
    path.write_bytes(raw)
    with pytest.raises(RingError, match="another boot"):
        RingReader(path)
    rings = ReaderSet(tmp_path)
    assert [path.name in text for text in rings.look()] == [True]
    assert list(rings) == []
    rings.close()
    new = Producer(tmp_path, LANE, CAPACITY_BYTES)
    assert new.ring.path != path
    assert new.ring.state.seqno == 0
    new.close()


@impostors
def test_in_the_ring_it_is_never_taken_for_a_record(
    tmp_path: Path, make: Callable[[Place], bytes]
) -> None:
    small = filled(tmp_path / "small")
    one = Producer(tmp_path, LANE, 1 << 17)
    assert one.put(1, [rows(0), b"before"])
    place = replace(place_at(small, one.ring.state.position + _BLOB_AT), epoch=one.ring.epoch)
    assert one.put(1, [rows(1), make(place)])
    assert one.put(1, [rows(2), b"behind"])
    assert pending(one.ring.path) == [0, 1, 2]
    # And where the next record will be: what was there before is not there yet.
    place = replace(place, position=one.ring.state.position)
    path = one.ring.path
    one.close()
    raw = bytearray(path.read_bytes())
    at = len(raw) - (1 << 17) + place.position
    stale = make(place)
    raw[at : at + len(stale)] = stale
    path.write_bytes(raw)
    assert pending(path) == [0, 1, 2]
    writer = RingWriter(path)
    assert writer.state.seqno == 3
    writer.close()
    small.close()


def test_the_ring_would_take_a_record_made_for_the_very_place(tmp_path: Path) -> None:
    """What the tests above rest on: only epoch, place, lap and checksum keep the impostors out."""
    one = Producer(tmp_path, LANE, CAPACITY_BYTES)
    assert one.put(1, [rows(0), b"before"])
    place = Place(one.ring.epoch, one.ring.state.position, b"", b"", 0)
    path = one.ring.path
    one.close()
    raw = bytearray(path.read_bytes())
    at = len(raw) - CAPACITY_BYTES + place.position
    raw[at : at + len(forged(place))] = forged(place)
    path.write_bytes(raw)
    assert pending(path) == [0, 7_000_000]
