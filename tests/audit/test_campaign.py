from __future__ import annotations

from collections import Counter

import pytest

from recorder.audit import audit_spool
from recorder.ground import GroundStation
from tests.audit import uploads
from tests.audit.machine import AuditMachine, first_difference, run
from tests.audit.wrong import BUILDS, UPLOAD_BUILDS, loses_a_tail_in_silence
from tests.recorder.audit.filled import ID, S, filled


@pytest.mark.timeout(400)  # 6 s of one core alone; the machine may be shared
def test_whatever_happens_every_recording_adds_up_again() -> None:
    run(60, 1)
    # A campaign in which nothing happens would pass too.
    for what in (
        "lost_source",
        "lost_broken",
        "lost_ring",
        "in_ring",
        "power cuts",
        "late samples",
    ):
        assert AuditMachine.tally[what] > 5, AuditMachine.tally
    assert AuditMachine.tally["audits of recordings that run"] > 50
    assert AuditMachine.tally["audits"] > AuditMachine.tally["audits of recordings that run"] + 20


@pytest.mark.parametrize("build", BUILDS)
def test_the_audit_finds_a_count_that_is_off(build: str) -> None:
    with BUILDS[build]():
        assert first_difference(150, 2), f"{build} was not noticed in 150 lives"


def test_the_audit_finds_a_tail_that_went_with_the_power_in_silence(tmp_path) -> None:
    with filled(tmp_path, {"imu": 200.0}, boot="ab" * 16, begin_ns=1000 * S) as one:
        one.fill("imu", 20)
        one.commit()
        one.lanes["imu"].put(4000, 100)
        one.beat()
        with loses_a_tail_in_silence():
            one.recover()
        found = audit_spool(one.spool.directory, ID).all_differences
        assert any("its last heartbeat knew of 4100" in text for text in found), found


def test_what_was_lost_on_the_way_adds_up_in_the_spool_and_on_the_server(tmp_path) -> None:
    tally: Counter[str] = Counter()
    found: list[str] = []
    with GroundStation(tmp_path / "ground") as station:
        for number in range(5):
            folder = tmp_path / str(number)
            folder.mkdir()
            found += uploads.run(folder, station.url, number, tally)
    assert found == []
    for one in ("source", "absent", "ring", "evicted", "rejected"):
        assert tally[f"lost_{one}"] > 10, tally


@pytest.mark.parametrize("build", UPLOAD_BUILDS)
def test_the_audit_finds_a_terminal_record_that_is_off(build: str, tmp_path) -> None:
    found: list[str] = []
    with UPLOAD_BUILDS[build](), GroundStation(tmp_path / "ground") as station:
        for number in range(6):
            folder = tmp_path / str(number)
            folder.mkdir()
            found += uploads.run(folder, station.url, number, Counter())
    assert found
