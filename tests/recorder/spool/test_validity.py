from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from drivers.base import Field
from recorder import record
from recorder.audit import audit_spool
from recorder.schema import LaneSchema
from recorder.session.session import Session
from recorder.spool.recording import Recording
from recorder.spool.validity import place_of
from recorder.spool.watermark import Watermark
from tests.recorder.building import PERIOD_NS, Shelf, schema, shelf

GPS = LaneSchema(
    "gps",
    "nmea_gps",
    "GPS",
    500.0,
    0.01,
    (Field("utc_ns", "<i8", "ns"), Field("status.status", "<i1", "1"), Field("fix", "<u1", "1")),
)


@contextlib.contextmanager
def receiver(folder: Path, segment_bytes: int = 1 << 20) -> Iterator[Shelf]:
    with shelf(folder, lane=GPS, segment_bytes=segment_bytes) as one:
        yield one


def report(one: Shelf, *states: int) -> None:
    """Let the receiver report, each row with GGA's code of its fix."""
    from dataclasses import replace  # noqa: PLC0415 - beside its one use

    ring = one.producer.ring
    for state in states:
        at_ns = 1_000_000_000 + ring.state.seqno * PERIOD_NS
        booked = replace(ring.state, expected=ring.state.expected + 1)
        row = bytes(8) + bytes([state, 0])
        assert ring.put(record.DATA, 1, booked, [row], at_ns)


def test_the_byte_is_found_where_it_lies_and_only_in_gps_rows() -> None:
    assert place_of(GPS) == 8
    assert place_of(schema()) is None


def test_rows_without_a_fix_are_counted_and_are_no_loss(tmp_path: Path) -> None:
    with receiver(tmp_path) as one:
        report(one, 1, 1, 0, 0, 0, 4, 1, 1, 1, 1)
        one.commit()
        assert (one.ledger.invalid, one.ledger.validity) == (3, 0.7)
        assert one.ledger.lost == {}
        one.end()
        assert one.recording.session.quality.value == 1.0
        assert audit_spool(one.spool.directory, one.recording.session.id).is_equal


def test_the_count_goes_on_after_the_death_of_the_spools_process(tmp_path: Path) -> None:
    with receiver(tmp_path, segment_bytes=2048) as one:
        for _ in range(12):
            report(one, 1, 0, 1)
            water = one.commit()
        session = one.recording.session
        assert len(one.segments()) > 2
        one.recording.close()
        one.recording = again(one, session, water)
        assert one.ledger.invalid == 12
        report(one, 0, 0)
        one.reader.position = one.recording.lanes["gps"].account.durable_position(one.reader.epoch)
        one.commit()
        assert one.ledger.invalid == 14
        one.recording.note_session()
        one.recording.commit()
        found = audit_spool(one.spool.directory, session.id)
        assert found.is_equal, found.all_differences
        one.end()
        found = audit_spool(one.spool.directory, session.id)
        assert found.is_equal, found.all_differences
        assert found.lanes[0].to_dict()["invalid"] == [14, 14]


def again(one: Shelf, session: Session, water: Watermark) -> Recording:
    return Recording.resume(one.spool, session, 2048, water)
