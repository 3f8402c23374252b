from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.base import TYPES, Field
from recorder import record
from recorder.record import Anchor, Header, Losses
from recorder.schema import LaneSchema

u64 = st.integers(0, 2**64 - 1)
i64 = st.integers(-(2**63), 2**63 - 1)
headers = st.builds(
    Header,
    kind=st.sampled_from(sorted(record.KINDS)),
    lane=st.integers(0, 2**16 - 1),
    epoch=u64,
    position=u64,
    seqno=u64,
    rows=st.integers(0, 2**32 - 1),
    payload_bytes=st.just(0),
    boot_ns=i64,
    period_ns=i64,
    expected=u64,
    losses=st.builds(Losses, u64, u64, u64, u64),
)


@given(header=headers, parts=st.lists(st.binary(max_size=50), max_size=4))
def test_a_record_says_what_it_was_told_however_its_payload_is_cut(
    header: Header, parts: list[bytes]
) -> None:
    header = dataclasses.replace(header, payload_bytes=sum(map(len, parts)))
    raw = record.pack(header, parts)
    assert len(raw) == record.HEADER_BYTES == 120
    found = record.unpack_fields(raw)
    assert record.is_plausible(found)
    assert dataclasses.replace(record.header_of(found), crc=0) == header
    assert record.verifies(raw, found, [b"".join(parts)])
    assert raw == record.pack(header, [b"".join(parts)])


@given(header=headers, payload=st.binary(min_size=1, max_size=40), bit=st.integers(0, 10_000))
def test_a_single_flipped_bit_is_never_overlooked(header: Header, payload: bytes, bit: int) -> None:
    header = dataclasses.replace(header, payload_bytes=len(payload))
    raw = bytearray(record.pack(header, [payload]) + payload)
    bit %= 8 * len(raw)
    raw[bit // 8] ^= 1 << bit % 8
    found = record.unpack_fields(bytes(raw[:120]))
    is_whole = record.verifies(bytes(raw[:120]), found, [bytes(raw[120:])])
    assert not (record.is_plausible(found) and is_whole)


@given(raw=st.binary(min_size=120, max_size=120))
def test_any_bytes_are_no_record(raw: bytes) -> None:
    assert not record.is_plausible(record.unpack_fields(raw))


def test_the_bytes_of_a_record_are_those_of_the_docstring() -> None:
    losses = Losses(1, 2, 3, 4)
    header = Header(record.DATA, 0x0201, 5, 6, 7, 2, 4, -8, 9, 10, losses)
    raw = record.pack(header, [b"abcd"])
    assert raw[:4] == b"RREC"
    assert raw[4:8] == bytes([1, 1, 0x01, 0x02])
    places = {8: 5, 16: 6, 24: 7, 48: 9, 56: 10, 64: 1, 72: 2, 80: 3, 88: 4, 96: 0, 104: 0}
    for offset, value in places.items():
        assert int.from_bytes(raw[offset : offset + 8], "little") == value
    assert int.from_bytes(raw[32:36], "little") == 2
    assert int.from_bytes(raw[36:40], "little") == 4
    assert int.from_bytes(raw[40:48], "little", signed=True) == -8
    assert raw[116:] == b"CERR"


@pytest.mark.parametrize(
    "payload_bytes", [record.MOST_PAYLOAD_BYTES, record.MOST_PAYLOAD_BYTES + 1]
)
def test_a_length_beyond_the_limit_is_no_record(payload_bytes: int) -> None:
    header = Header(1, 1, 1, 0, 0, 1, payload_bytes, 0, 0, 1, Losses())
    allowed = payload_bytes <= record.MOST_PAYLOAD_BYTES
    assert record.is_plausible(record.unpack_fields(record.pack(header, []))) == allowed


def test_the_times_of_a_burst_follow_from_its_first_row() -> None:
    header = Header(1, 1, 1, 100, 40, 10, 60, 1000, 5, 10, Losses())
    assert (header.last_boot_ns, header.next_seqno) == (1045, 50)
    assert (header.size_bytes, header.end_position) == (180, 280)
    assert dataclasses.replace(header, rows=0).last_boot_ns == 1000


@given(st.builds(Anchor, i64, i64, i64, i64, st.sampled_from(record.ANCHOR_SOURCES)))
def test_an_anchor_is_read_back(anchor: Anchor) -> None:
    assert Anchor.unpack(anchor.pack()) == anchor


def test_losses_are_told_by_cause_since_an_earlier_count() -> None:
    assert Losses(5, 6, 7, 8).since(Losses(1, 1, 1, 1)) == Losses(4, 5, 6, 7)
    assert Losses(5, 6, 7, 8).total == 26


kinds = st.tuples(st.sampled_from("<>"), st.sampled_from(sorted(TYPES))).map("".join)


@given(types=st.lists(kinds, min_size=1, max_size=6))
def test_a_row_is_as_wide_as_its_fields_whatever_their_byte_order(types: list[str]) -> None:
    fields = tuple(Field(f"f{index}", one, "1") for index, one in enumerate(types))
    lane = LaneSchema("imu", "d", "IMU", 200.0, 0.03, fields, metadata={"a": {"b": [1.5, None]}})
    assert lane.row_bytes == sum(int(one[2:]) for one in types)
    assert sum(each.size for each in lane.row_structs()) == lane.row_bytes
    assert LaneSchema.from_json(lane.to_json()) == lane
    assert LaneSchema.from_json(lane.to_json()).to_json() == lane.to_json()
