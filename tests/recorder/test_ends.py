"""How a recording ends when not everything went well: every sample is stored or counted."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import TYPE_CHECKING

from drivers.base import boot_ns
from recorder.spool.spool import Spool
from tests.recorder.building import Machine, lane_numbers, machine, wait_until

if TYPE_CHECKING:
    from recorder.session.ledger import LaneLedger
    from recorder.session.session import Session

ALLOWANCE_S = 5.0


def newest(one: Machine) -> tuple[Session, LaneLedger]:
    spool = Spool(one.spool)
    session = spool.session(spool.session_ids()[-1])
    account = session.lanes[0]
    assert account.imbalances() == []
    return session, account


def grows(one: Machine, by: int = 50) -> None:
    before = one.stored()
    wait_until(lambda: one.stored() >= before + by)


def passes(seconds: float) -> None:
    until_ns = boot_ns() + round(seconds * 1e9)
    wait_until(lambda: boot_ns() > until_ns)


def record_until_the_disk_is_full(one: Machine) -> None:
    spool = one.start("spool")
    one.start("lane")
    grows(one)
    # A limit on the size of files is the full disk, and nobody needs to be root for it.
    hard = resource.prlimit(spool.pid, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(spool.pid, resource.RLIMIT_FSIZE, (60_000, hard))
    wait_until(lambda: "cannot write" in one.sign("spool")["state"])


def test_what_a_full_disk_did_not_take_until_the_end_is_counted(tmp_path: Path) -> None:
    with machine(tmp_path, rate_hz=500, segment_bytes=1 << 20) as one:
        record_until_the_disk_is_full(one)
        stored = one.stored()
        wait_until(lambda: one.sign("lane-imu")["samples"] > stored + 200)
        assert one.end("lane") == 0
        acquired = one.sign("lane-imu")["samples"]
        assert one.end("spool") == 0
        session, account = newest(one)
        assert account.acquired == acquired
        assert account.lost_write == acquired - len(lane_numbers(one.spool, "imu")) > 0
        assert session.quality.value < 1.0


def test_what_an_earlier_recording_left_in_the_ring_is_not_the_next_ones(tmp_path: Path) -> None:
    with machine(tmp_path, rate_hz=500, segment_bytes=1 << 20) as one:
        record_until_the_disk_is_full(one)
        one.end("lane")
        one.end("spool")
        first, _ = newest(one)
        one.start("lane")
        one.start("spool")
        wait_until(lambda: one.stored() > 50 and one.sign("spool")["session"]["id"] != first.id)
        one.end("lane")
        one.end("spool")
        second, account = newest(one)
        assert second.id != first.id
        assert account.first_boot_ns is not None
        assert first.lanes[0].last_boot_ns is not None
        assert account.first_boot_ns > first.heartbeat_boot_ns
        assert (account.lost_absent, account.lost_write) == (0, 0)


def test_a_lane_that_is_dead_at_the_end_was_due_until_then(tmp_path: Path) -> None:
    with machine(tmp_path, rate_hz=500) as one:
        one.start("spool")
        one.start("lane")
        grows(one)
        one.kill("lane")
        passes(0.4)
        assert one.end("spool") == 0
        session, account = newest(one)
        assert account.last_boot_ns is not None
        due = (session.heartbeat_boot_ns - account.last_boot_ns) * 500 // 1_000_000_000
        assert account.lost_absent > 0.4 * 500 - 2
        assert due - 25 <= account.lost_absent <= due  # the heartbeat comes just behind the count
        assert account.expected == account.stored + account.lost_absent


def test_a_required_lane_that_never_came_was_due_all_the_time(tmp_path: Path) -> None:
    with machine(tmp_path, rate_hz=500) as one:
        one.start("spool")
        wait_until(lambda: one.sign("spool").get("session") is not None)
        passes(ALLOWANCE_S + 0.5)
        assert one.end("spool") == 0
        session, account = newest(one)
        whole_s = (session.heartbeat_boot_ns - session.announced_boot_ns) / 1e9
        assert whole_s * 500 - 50 <= account.lost_absent <= whole_s * 500
        assert account.expected == account.lost_absent
        assert session.quality.value == 0.0
