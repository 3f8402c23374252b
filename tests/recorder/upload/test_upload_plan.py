"""Where parts end; a part is the same whoever plans it, and however often it is looked at."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder import record
from recorder.clock import Mapping
from recorder.ground import names
from recorder.record import Header, Losses
from recorder.spool.reader import Stored
from recorder.upload.naming import legal_keys, sequence_name, topic_path
from recorder.upload.parts import Part, Piece, trimmed
from recorder.upload.plan import Draft, LaneWalk
from tests.recorder.upload.made import CAMERA, IMU


def stored(seqno, rows, payload, schema=IMU, *, epoch=1, kind=record.DATA):
    header = Header(kind, 1, epoch, 0, seqno, rows, len(payload), seqno * 1000, 1, 0, Losses())
    fields = record.unpack_fields(record.pack(header, [payload]))
    return Stored("a.seg", seqno * 200, schema, fields, memoryview(payload))


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.integers(1, 40))
def test_the_digest_does_not_depend_on_how_rows_were_cut_into_records(sizes, whole_burst):
    rows = sum(sizes)
    raw = bytes(i % 251 for i in range(rows * 12))

    def digest(cuts):
        draft, at = Draft({}), 0
        for size in cuts:
            draft.add(stored(100 + at, size, raw[at * 12 : (at + size) * 12]))
            at += size
        return draft.digest

    even = [min(whole_burst, rows - at) for at in range(0, rows, whole_burst)]
    due = hashlib.sha256(raw + struct.pack("<QQ", 100, 100 + rows)).hexdigest()
    assert digest(sizes) == digest(even) == f"sha256:{due}"


def test_the_digest_sees_a_changed_bit_and_a_changed_number_and_not_the_picture():
    def digest(seqno, row, picture=b""):
        draft = Draft({})
        draft.add(stored(seqno, 1, row + picture, CAMERA if picture else IMU))
        return draft.digest

    assert digest(0, bytes(12)) != digest(1, bytes(12))
    assert digest(0, bytes(12)) != digest(0, bytes(11) + b"\1")
    row = bytes(CAMERA.row_bytes)
    assert digest(0, row, b"one") == digest(0, row, b"two")
    assert digest(0, row, b"one") != digest(0, b"\1" + row[1:], b"one")


def test_a_draft_remembers_the_device_and_ends_at_another_epoch():
    draft = Draft({"model": "old"})
    event = b'{"event":"opened","device":{"model":"new"}}'
    draft.add(stored(5, 0, event, kind=record.EVENT))
    draft.add(stored(5, 1, bytes(12)))
    assert draft.device == {"model": "new"}
    assert draft.takes(stored(6, 1, bytes(12)), 10_000, 10**9)
    assert not draft.takes(stored(6, 1, bytes(12), epoch=2), 10_000, 10**9)
    assert not draft.takes(stored(6, 0, event, epoch=2, kind=record.EVENT), 10_000, 10**9)
    assert not draft.takes(stored(6, 1, bytes(12)), 10, 10**9)
    assert not draft.takes(stored(6, 1, bytes(12)), 10_000, 999)


@pytest.mark.parametrize("looks", [1, 3, 40])
def test_parts_are_the_same_however_often_the_spool_is_looked_at(drive, looks):
    for _ in range(looks):
        drive.camera(40 // looks, size_bytes=3000)
        drive.commit()
    drive.camera(40 - len(drive.rows["camera"]), size_bytes=3000)
    drive.commit()
    segments = [(path, path.stat().st_size) for path in drive.spool.segments(drive.id, "camera")]
    once = LaneWalk(20_000, 10**12, [], {})
    often = LaneWalk(20_000, 10**12, [], {})
    parts = []
    while once.walk(segments, leaves_pictures=True):
        parts.append(_facts(once.next_draft()))
    parts.append(_facts(once.next_draft()))
    found = []
    for number, (path, size) in enumerate(segments):
        for end in (size // 3, size // 2, size):
            while often.walk([*segments[:number], (path, end)]):
                found.append(_facts(often.next_draft()))
    found.append(_facts(often.next_draft()))
    assert found == parts
    assert sum(one[0] for one in parts) == 40
    assert len(parts) > 5


def _facts(draft):
    return draft.rows, draft.digest, tuple(draft.pieces), draft.to_seqno


def test_a_walk_goes_on_behind_what_was_planned_before(drive):
    drive.camera(10)
    drive.commit()
    segments = [(path, path.stat().st_size) for path in drive.spool.segments(drive.id, "camera")]
    first = LaneWalk(65_536, 10**12, [], {})
    assert first.walk(segments)
    done = first.next_draft()
    rest = LaneWalk(1 << 30, 10**12, done.pieces, done.device)
    assert not rest.walk(segments)
    assert done.rows + rest.draft.rows == 10
    assert rest.draft.from_seqno == done.rows


@given(
    st.lists(st.integers(0, 1000), min_size=1, max_size=8, unique=True),
    st.integers(-100, 1100),
    st.integers(0, 500),
)
def test_a_trimmed_mapping_says_the_same_between_its_ends(knots, first, span):
    mapping = Mapping(tuple((at, 10**6 + at * 3 // 2) for at in sorted(knots)), "gps", 1)
    short = trimmed(mapping, first, first + span)
    for at in range(first, first + span + 1, 7):
        assert short.utc_ns(at) == mapping.utc_ns(at)


def test_a_part_comes_back_from_its_journal_entry_as_it_was():
    mapping = Mapping(((1, 2), (3, 4)), "gps", 5)
    pieces = (Piece("a.seg", 1, 2, 3),)
    part = Part(0, "imu", "imu", 7, 0, 9, 3, pieces, "sha256:0", mapping, 5, {"model": "x"})
    assert Part.from_entry(part.to_entry()) == part
    assert Part.from_entry({**part.to_entry(), "of_later": 1}) == part
    assert replace(part, pieces=()).is_own


@given(st.text(max_size=80), st.text(max_size=40))
def test_names_and_keys_are_legal_whatever_people_write(vehicle, lane):
    name = sequence_name(vehicle, "unknown", "12345678-", 2)
    names.check_topic(f"{name}/{topic_path(lane, 7)}")
    names.check_metadata(legal_keys({vehicle: {lane: [{vehicle: 1}]}, lane: 2}))
