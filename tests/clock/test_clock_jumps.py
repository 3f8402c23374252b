"""The system's clock jumps by a day while it records; and what NTP says is believed."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from recorder.clock import boot_ns
from recorder.record import Anchor
from recorder.session.session import Session
from recorder.spool import journal
from recorder.spool.session_time import time_model
from recorder.spool.spool import Spool
from tests.clock.wall import Wall
from tests.recorder.building import PERIOD_NS, Machine, lane_numbers, wait_until

DAY_NS = 86_400_000_000_000
MS = 1_000_000


@pytest.fixture
def wall(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wall:
    made = Wall(tmp_path)
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    return made


def said_by(code: str) -> str:
    """Return what another Python prints; `wall` is already in force there."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_wall_moves_the_wall_clock_and_no_other(wall: Wall) -> None:
    wall.set(DAY_NS)
    names = ("CLOCK_REALTIME", "CLOCK_BOOTTIME", "CLOCK_MONOTONIC", "CLOCK_MONOTONIC_RAW")
    code = f"import time; print([time.clock_gettime_ns(getattr(time, n)) for n in {names}])"
    there = json.loads(said_by(code))
    here = [time.clock_gettime_ns(getattr(time, name)) for name in names]
    ahead = [round((a - b) / DAY_NS, 2) for a, b in zip(there, here, strict=True)]
    assert ahead == [1.0, 0.0, 0.0, 0.0]


def stored_more(machine: Machine) -> int:
    before = machine.stored()
    return wait_until(lambda: machine.stored() > before + 100 and machine.stored())


def beats(spool: Spool, session_id: str) -> list[dict[str, Any]]:
    entries = journal.read(spool.journal_path(session_id))
    found = [one["session"] for one in entries if one["entry"] == "session"]
    return [one for one in found if one["heartbeat_boot_ns"]]


def file_names(folder: Path) -> set[str]:
    return {str(one.relative_to(folder)) for one in folder.rglob("*")}


@dataclass
class Jumped:
    """A recording in which the system's clock jumped by a day, both ways, and its process died."""

    spool: Spool
    session: Session
    took_ns: int
    early_names: set[str]
    anchors: list[Anchor]


@pytest.fixture
def jumped(tmp_path: Path, wall: Wall) -> Jumped:
    machine = Machine(tmp_path)
    begun_ns = boot_ns()
    for name in ("spool", "lane"):
        machine.start(name)
    try:
        wait_until(lambda: machine.sign("spool"))
        for ahead_ns in (0, DAY_NS, -DAY_NS):
            wall.set(ahead_ns)
            stored_more(machine)
        # The next process finds another day: the last heartbeat is still young.
        machine.kill("spool")
        wall.set(DAY_NS)
        machine.start("spool")
        stored_more(machine)
        names = file_names(machine.spool)
        wall.set(-DAY_NS)
        stored_more(machine)
    finally:
        codes = [machine.end(name) for name in ("lane", "spool")]
    assert codes == [0, 0]
    spool = Spool(machine.spool)
    (session_id,) = spool.session_ids()  # nobody took it for an orphan
    session = spool.session(session_id)
    anchors = spool.anchors(session.boot_id)
    return Jumped(spool, session, boot_ns() - begun_ns, names, anchors)


def test_a_clock_that_jumps_a_day_changes_neither_durations_nor_spacing_nor_file_names(
    jumped: Jumped,
) -> None:
    session = jumped.session
    assert (session.end_reason, session.state.name) == ("shutdown", "closed")
    stored = session.lanes[0].stored
    numbers = lane_numbers(jumped.spool.directory, "imu")
    assert numbers == list(range(numbers[0], numbers[0] + stored))
    assert session.duration_ns == (stored - 1) * PERIOD_NS < jumped.took_ns
    assert jumped.early_names <= file_names(jumped.spool.directory)


def test_nor_does_a_recordings_name_or_its_heartbeats_jump(jumped: Jumped) -> None:
    signs = beats(jumped.spool, jumped.session.id)
    assert len({one["identifier"] for one in signs if one["start_utc_ns"]}) == 1
    leads = [one["heartbeat_utc_ns"] - one["heartbeat_boot_ns"] for one in signs]
    assert max(leads) - min(leads) < MS
    said = [one.utc_ns - one.boot_ns for one in jumped.anchors]
    assert max(said) - min(said) > DAY_NS, "the jumps were not even seen"
    assert time_model(jumped.spool, jumped.session).source == "none"
    assert (jumped.session.clock_source, jumped.session.utc_uncertainty_ns) == ("none", None)


def test_ntp_is_an_anchor_while_the_kernel_calls_the_clock_synchronised(wall: Wall) -> None:
    code = "from recorder.system_time import ntp_anchor; print(repr(ntp_anchor()))"
    assert said_by(code) == "None"
    for most_us, bound_ns in ((80_000, 80 * MS), (0, 30 * MS)):
        wall.set(DAY_NS, is_synchronised=True, most_us=most_us)
        anchor: Anchor = eval(said_by(code), {"Anchor": Anchor})
        assert (anchor.source, anchor.uncertainty_ns) == ("ntp", bound_ns)
        assert abs(anchor.utc_ns - DAY_NS - time.time_ns()) < 10_000 * MS
        assert abs(anchor.boot_ns - boot_ns()) < 10_000 * MS
    wall.set(DAY_NS, is_synchronised=True, most_us=1_500_000)
    assert said_by(code) == "None"


def test_a_recording_on_a_machine_with_ntp_says_so_and_how_well_it_knows(
    tmp_path: Path, wall: Wall
) -> None:
    wall.set(5 * DAY_NS, is_synchronised=True, most_us=40_000)
    machine = Machine(tmp_path)
    for name in ("spool", "lane"):
        machine.start(name)
    try:
        wait_until(lambda: machine.stored() > 100)
    finally:
        for name in ("lane", "spool"):
            machine.end(name)
    spool = Spool(machine.spool)
    session = spool.session(spool.session_ids()[0])
    assert session.clock_source == "ntp"
    assert session.utc_uncertainty_ns is not None
    assert 40 * MS <= session.utc_uncertainty_ns < 60 * MS
    assert session.start_utc_ns is not None
    assert 0 < time.time_ns() + 5 * DAY_NS - session.start_utc_ns < 120_000 * MS
