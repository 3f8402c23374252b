"""The worked examples of the specification, as spools: to the digit, and audited."""

from __future__ import annotations

from pathlib import Path

from recorder.audit import Audit, audit_spool
from recorder.session.session import Session
from recorder.session.states import State
from recorder.spool.segment import SegmentReader
from tests.recorder.audit.filled import ID, Filled, S, filled

OTHER_BOOT = "ab" * 16


def audited(one: Filled) -> Audit:
    found = audit_spool(one.spool.directory, ID)
    assert found.is_equal, found.all_differences
    return found


def told(session: Session) -> tuple[float, str, float, str]:
    quality = session.quality
    return quality.value, quality.basis, quality.least, quality.least_lane


def test_a_an_hour_of_which_six_camera_minutes_are_evicted(tmp_path: Path) -> None:
    with filled(tmp_path, {"gps": 10, "imu": 200, "cam": 30}) as one:
        one.fill("gps", 3600, lost=[(600 * i - 300, 600 * i - 299) for i in range(1, 61)])
        one.fill("imu", 3600, lost=[(500 * i - 250, 500 * i - 249) for i in range(1, 1441)])
        one.fill(
            "cam", 3600, lost=[(600 * i - 330, 600 * i - 300) for i in range(1, 181)], seal_s=60
        )
        one.commit()
        assert told(one.session) == (0.9821, "held", 0.95, "cam")
        assert [(each.expected, each.held) for each in one.session.lanes] == [
            (36_000, 35_940),
            (720_000, 718_560),
            (108_000, 102_600),
        ]
        one.beat()
        audited(one)
        assert one.evict("cam", 6) == 10_260
        one.end()
        assert one.session.state is State.truncated
        assert told(one.session) == (0.9504, "delivered", 0.855, "cam")
        assert one.ledger("cam").delivered == 92_340
        assert audited(one).found_quality["quality"] == 0.9504


def test_b_a_gps_that_is_unplugged_for_ten_minutes(tmp_path: Path) -> None:
    with filled(tmp_path, {"gps": 10, "imu": 1000, "cam": 30}) as one:
        one.fill("gps", 3600, away=[(12_000, 18_000)])
        one.fill("imu", 3600, lost=[(1_000_000, 1_000_018)])
        one.fill("cam", 3600)
        one.end()
        assert one.session.state is State.closed
        assert told(one.session) == (0.9444, "delivered", 0.8333, "gps")
        assert one.ledger("gps").lost == {"lost_absent": 6_000}
        assert one.ledger("imu").lost == {"lost_source": 18}
        audited(one)


def test_c_a_power_cut_with_a_torn_tail_and_two_corrupt_records(tmp_path: Path) -> None:
    rates = {"gps": 10.0, "imu": 200.0, "cam": 30.0}
    with filled(tmp_path, rates, boot=OTHER_BOOT, begin_ns=1000 * S) as one:
        for name in rates:
            one.fill(name, 1800)
        one.commit()
        one.beat()
        one.recording.close()
        for name, records in (("gps", 3), ("imu", 3), ("cam", 4)):
            tear(newest(one, name), records)
        for number in (500, 900):
            corrupt(newest(one, "cam"), number)
        one.recover()
        assert [each.held for each in one.session.lanes] == [17_970, 359_400, 53_820]
        assert one.session.state is State.abandoned
        assert told(one.session) == (0.9977, "delivered", 0.9966, "cam")
        assert one.session.quality.lower == 0.9922
        assert round(one.session.duration_ns / 1e9, 1) == 1797.0
        assert one.ledger("cam").lost == {"lost_crc": 180}
        audited(one)


def test_c_a_recording_that_lost_its_power_is_audited_before_anybody_recovers_it(
    tmp_path: Path,
) -> None:
    with filled(tmp_path, {"gps": 10}, boot=OTHER_BOOT, begin_ns=1000 * S) as one:
        one.fill("gps", 60)
        one.commit()
        one.beat()
        tear(newest(one, "gps"), 3)
        found = audited(one)
        assert found.state == "open"
        assert any("30 samples that its heartbeat told of are lost" in each for each in found.notes)


def test_d_a_required_camera_that_never_came(tmp_path: Path) -> None:
    with filled(tmp_path, {"gps": 10, "imu": 200, "cam": 30}) as one:
        one.fill("gps", 3600)
        one.fill("imu", 3600)
        camera = one.recording.lanes["cam"].account
        camera.count_absence(None, one.begin_ns, one.begin_ns + 3600 * S)
        one.end()
        assert told(one.session) == (0.6666, "delivered", 0.0, "cam")
        assert one.ledger("cam").lost == {"lost_absent": 108_000}
        assert one.session.state is State.closed
        audited(one)


def newest(one: Filled, lane: str) -> Path:
    return one.spool.segments(ID, lane)[-1]


def offsets(path: Path) -> list[int]:
    with SegmentReader(path) as segment:
        found = []
        for offset, _, payload in segment.records():
            payload.release()
            found.append(offset)
    return found


def tear(path: Path, records: int) -> None:
    """Let the last records of a segment never have come to the disk."""
    at = offsets(path)[-records]
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(at)
        file.truncate(size)


def corrupt(path: Path, number: int) -> None:
    """Flip a byte of a record."""
    at = offsets(path)[number] + 125
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 0xFF]))
