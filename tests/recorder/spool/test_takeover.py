"""The watchdog's rules on the vehicle: who may end a session that somebody else recorded."""

from __future__ import annotations

import contextlib
import json
import signal
from pathlib import Path
from typing import Any

import pytest

from recorder.clock import boot_ns
from recorder.errors import SpoolError
from recorder.spool.journal import Journal
from recorder.spool.spool import Spool
from recorder.spooler import Spooler
from tests.recorder.building import lane_numbers, machine, wait_until
from tests.recorder.steered import Bench, bench

S = 1_000_000_000
HEARTBEAT_S = 1.0
STALE_S = 3 * HEARTBEAT_S + 5


def let_be_silent(one: Bench, age_s: float, **changes: Any) -> str:
    """Kill the process, and make the last sign of life of its session so old."""
    session = one.now
    one.spooler.close()
    session.heartbeat_boot_ns = session.announced_boot_ns = boot_ns() - round(age_s * S)
    for name, value in changes.items():
        setattr(session, name, value)
    path = Spool(one.config.spool_dir).journal_path(session.id)
    with contextlib.closing(Journal(path)) as journal:
        journal.record({"entry": "session", "session": json.loads(json.dumps(session.to_dict()))})
    return session.id


@pytest.mark.parametrize("utc_ns", [0, 2**62])
@pytest.mark.parametrize("age_s", [0.1, STALE_S - 2])
def test_a_session_of_this_boot_goes_on_within_three_periods_whatever_utc_is(
    tmp_path: Path, age_s: float, utc_ns: int
) -> None:
    with bench(tmp_path) as one:
        one.record()
        session_id = let_be_silent(one, age_s, heartbeat_utc_ns=utc_ns)
        one.spooler = Spooler(one.config)
        assert one.now.id == session_id
        one.record()
        assert lane_numbers(one.config.spool_dir, "imu") == list(range(20))


@pytest.mark.parametrize("utc_ns", [0, 2**62])
def test_one_that_was_silent_for_longer_is_ended_and_followed_without_a_gap(
    tmp_path: Path, utc_ns: int
) -> None:
    with bench(tmp_path) as one:
        one.record()
        one.producer.put(5)
        session_id = let_be_silent(one, STALE_S + 2, heartbeat_utc_ns=utc_ns)
        one.spooler = Spooler(one.config)
        one.record()
        old, new = one.records()
        assert (old.id, old.recording, old.end_reason) == (session_id, "stopped", "watchdog")
        assert old.state.name == "abandoned"  # with upload off, the spool is where it was to go
        assert new.predecessor == session_id
        assert lane_numbers(one.config.spool_dir, "imu") == list(range(25))


@pytest.mark.parametrize("has_samples", [False, True])
def test_one_of_another_boot_is_ended_at_once_however_young(
    tmp_path: Path, has_samples: bool
) -> None:
    with bench(tmp_path) as one:
        if has_samples:
            one.record()
        session_id = let_be_silent(one, 0.0, boot_id="00" * 16)
        one.spooler = Spooler(one.config)
        old, new = one.records()
        assert (old.id, old.end_reason, old.state.name) == (session_id, "power_loss", "abandoned")
        assert old.quality.basis == ("delivered" if has_samples else "no_data")
        assert new.predecessor == ""
        assert new.state.name == "waiting"


def test_a_session_whose_lock_is_held_is_never_touched_however_long_it_is_silent(
    tmp_path: Path,
) -> None:
    with machine(tmp_path, heartbeat_s=HEARTBEAT_S) as one:
        process = one.start("spool")
        wait_until(lambda: one.sign("spool").get("session"))
        process.send_signal(signal.SIGSTOP)  # hung, not dead
        try:
            spool = Spool(one.spool)
            (session_id,) = spool.session_ids()
            session = spool.session(session_id)
            session.heartbeat_boot_ns = session.announced_boot_ns = boot_ns() - 100 * S
            with contextlib.closing(Journal(spool.journal_path(session_id))) as journal:
                journal.record({"entry": "session", "session": session.to_dict()})
            before = spool.journal_path(session_id).read_bytes()
            with pytest.raises(SpoolError, match=f"process {process.pid} writes"):
                Spooler(one.config)
            assert spool.journal_path(session_id).read_bytes() == before
            assert spool.session_ids() == [session_id]
        finally:
            process.send_signal(signal.SIGCONT)
