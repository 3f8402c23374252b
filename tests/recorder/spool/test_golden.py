"""The golden spools of `tests/data`: every later version must read them, and write the same bytes.

`make_golden` made each once. It holds two lanes in two sessions, every kind of record, losses, a
segment given up with a tombstone, unused space, a torn tail, a torn line, a damaged record, and a
schema with a key that its version did not know.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import zlib
from pathlib import Path
from typing import Any

import pytest

from recorder import record
from recorder.spool.reader import read_from
from recorder.spool.recording import Recording
from recorder.spool.recover import contents
from recorder.spool.segment import SegmentReader
from recorder.spool.spool import Spool
from recorder.spool.takeover import left_running
from recorder.spool.verify import verify
from recorder.spool.watermark import durable
from tests.recorder.building import numbers_in, schema
from tests.recorder.spool.independent_reader import read_segment
from tests.recorder.spool.make_golden import BOOT, COLUMNS, SEGMENT_BYTES, SESSIONS, journal_lines

GOLDEN = Path(__file__).parent.parent.parent / "data" / "spool-1"
SPOOL = GOLDEN / "spool"
#: Over every file's path and bytes: made once, and never to be made again.
DIGEST = "16ddf9e688ad7f0813d15b7a85150b1e2fb9bb2407b16b446ca557a28970a384"
Line = list[Any]


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((GOLDEN / "expected.json").read_text())
    assert tuple(found["columns"]) == COLUMNS
    return found


def test_the_golden_files_are_those_that_were_made() -> None:
    digest = hashlib.sha256()
    for path in sorted(path for path in GOLDEN.rglob("*") if path.is_file()):
        digest.update(str(path.relative_to(GOLDEN)).encode() + b"\0" + path.read_bytes())
    assert digest.hexdigest() == DIGEST


def test_the_recorder_reads_every_record_of_it(told: dict[str, Any]) -> None:
    spool = Spool(SPOOL)
    assert spool.session_ids() == list(SESSIONS)
    found: dict[str, list[Line]] = {}
    for session_id in spool.session_ids():
        for lane in spool.lanes(session_id):
            for path, end_bytes in durable(spool, session_id, lane, None):
                lines = found.setdefault(str(path.relative_to(SPOOL)), [])
                for one in read_from([(path, end_bytes)], None):
                    lines.append(line(one.begin, one.header, bytes(one.payload)))
                    if one.header.kind == record.DATA:
                        rows = bytes(one.payload)[: one.schema.row_bytes * one.header.rows]
                        behind = one.header.seqno + one.header.rows
                        assert numbers_in(rows) == list(range(one.header.seqno, behind))
                    elif one.header.kind == record.ANCHOR:
                        anchor = record.Anchor.unpack(one.payload)
                        assert (anchor.source, anchor.uncertainty_ns) in {
                            ("gps", 1000),
                            ("pps", 1000),
                        }
                        assert anchor.utc_ns == 10**18 + anchor.boot_ns
                    else:
                        assert set(json.loads(bytes(one.payload))) == {"event"}
    assert found == told["records"]


def line(offset: int, header: record.Header, payload: bytes) -> Line:
    lost = header.losses
    return [
        offset,
        header.kind,
        header.seqno,
        header.rows,
        [header.boot_ns, header.period_ns, header.expected],
        [lost.source, lost.absent, lost.broken, lost.ring, 0, 0],
        len(payload),
        zlib.crc32(payload),
    ]


def test_the_independent_reader_reads_every_record_of_it(told: dict[str, Any]) -> None:
    found: dict[str, list[Line]] = {}
    for path in SPOOL.rglob("*.seg"):
        segment = read_segment(path)
        assert segment is not None
        found[str(path.relative_to(SPOOL))] = [
            [one.offset, one.kind, one.seqno, one.rows, list(one.times), list(one.losses),
             len(one.payload), zlib.crc32(one.payload)]
            for one in segment.records
        ]  # fmt: skip
    assert found == told["records"]


def test_damage_and_torn_tails_of_it_are_found_where_they_are(told: dict[str, Any]) -> None:
    damage, torn = told["hurt"]["damage"], told["hurt"]["torn"]
    for path in SPOOL.rglob("*.seg"):
        name, found = str(path.relative_to(SPOOL)), contents(path)
        holes = [(one.offset, one.size_bytes) for one in found.damage]
        assert holes == ([(damage["offset"], damage["bytes"])] if name == damage["file"] else [])
        assert found.torn_bytes == (torn["bytes"] if name == torn["file"] else 0)
        if name == torn["file"]:
            assert found.end_bytes == torn["offset"]
            assert path.stat().st_size > torn["offset"] + torn["bytes"]


def test_verify_says_of_it_what_it_always_said(told: dict[str, Any]) -> None:
    hurt = told["hurt"]
    first, second = verify(SPOOL).sessions
    assert [one.state for one in (first, second)] == [
        told["sessions"][one]["state"] for one in SESSIONS
    ]
    assert [(one.lane, one.missing, one.damaged_records) for one in first.lanes] == [
        ("cam", 0, 0),
        ("imu", hurt["damage"]["rows"], 1),
    ]
    assert not first.is_sound
    cam, imu = second.lanes
    assert (cam.evicted, cam.missing, cam.torn_bytes) == (0, 0, 0)
    assert (imu.evicted, imu.missing, imu.torn_bytes) == (
        sum(hurt["evicted"].values()),
        0,
        hurt["torn"]["bytes"],
    )
    assert second.is_sound
    ring_lost = told["sessions"][SESSIONS[0]]["lanes"][0]["lost_ring"]
    assert ring_lost > 0
    assert first.lanes[1].lost_ring == ring_lost


def test_its_schemas_are_read_and_a_later_key_is_passed_over() -> None:
    for path in SPOOL.rglob("*.seg"):
        with SegmentReader(path) as segment:
            head = segment.head
        lane = path.parent.name
        assert head.schema == schema(lane, blob="jpeg" if lane == "cam" else None)
        assert head.boot_id == BOOT.bytes
        assert head.session_id.hex() == path.parent.parent.name.replace("-", "")
        raw = path.read_bytes()
        assert (b"of a later version" in raw) == (lane == "cam")
        if lane == "imu":
            assert raw.startswith(head.pack())


def test_the_same_record_is_written_with_the_same_bytes_today() -> None:
    count = 0
    for path in SPOOL.rglob("*.seg"):
        raw = path.read_bytes()
        with SegmentReader(path) as segment:
            for offset, header, payload in segment.records():
                whole = record.pack(header, [payload]) + bytes(payload)
                assert raw[offset : offset + len(whole)] == whole
                count += 1
                payload.release()
    assert count > 30


def test_its_journals_are_read_line_by_line(told: dict[str, Any]) -> None:
    spool = Spool(SPOOL)
    for session_id in SESSIONS:
        entries = spool.entries(session_id)
        assert entries == list(journal_lines(spool.journal_path(session_id).read_bytes()))
        said = [one["session"] for one in entries if one["entry"] == "session"]
        assert said[-1] == told["sessions"][session_id]
        kept = spool.session(session_id).to_dict()
        known = {key: kept[key] for key in said[-1]}
        pairs = zip(kept["lanes"], said[-1]["lanes"], strict=True)
        known["lanes"] = [{key: now[key] for key in then} for now, then in pairs]
        assert known == said[-1]
    kinds = {one["entry"] for one in spool.entries(SESSIONS[1])}
    assert {"announced", "config", "epoch", "evicted", "sealed", "segment", "session"} <= kinds
    times = [(one.source, one.utc_ns - one.boot_ns) for one in spool.anchors(BOOT.hex)]
    assert times == [("rtc", 10**18), ("gps", 10**18)]


def test_it_is_recovered_with_every_sample_accounted_for(
    tmp_path: Path, told: dict[str, Any]
) -> None:
    shutil.copytree(SPOOL, tmp_path / "spool")
    spool = Spool(tmp_path / "spool")
    (session,) = left_running(spool)
    assert session.id == SESSIONS[1]
    recording = Recording.resume(spool, session, SEGMENT_BYTES, None)
    assert recording.refused == []
    for account in recording.session.lanes:
        start = f"sessions/{session.id}/{account.name}/"
        held = sum(
            one[COLUMNS.index("rows")]
            for name, lines in told["records"].items()
            if name.startswith(start)
            for one in lines
        )
        given_up = sum(
            rows for name, rows in told["hurt"]["evicted"].items() if name.startswith(start)
        )
        assert account.imbalances() == []
        assert (account.pending, account.lost_evicted, account.lost_crc) == (held, given_up, 0)
        assert account.stored == held + given_up
    recording.end("power_loss", is_destination=True)
    assert spool.session(session.id).state.name == "abandoned"
    torn = told["hurt"]["torn"]
    assert (spool.directory / torn["file"]).stat().st_size == torn["offset"]
    damaged = told["hurt"]["damage"]["file"]
    assert (spool.directory / damaged).read_bytes() == (SPOOL / damaged).read_bytes()
