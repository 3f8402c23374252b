"""Every scenario, each on a machine of its own."""

from __future__ import annotations

import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from hil.scenarios import of_box, of_camera, of_gps, of_imu
from hil.scenarios.bench import Bench
from hil.scenarios.judge import judge
from hil.vm.machine import Machine
from hil.vm.ready import configure

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hil.scenarios.recording import Recording
    from hil.scenarios.scenario import Scenario
    from hil.vm.ready import Ready

JOURNAL = "journalctl --no-pager -u 'recorder*' | tail -60"
ALL = (*of_imu.SCENARIOS, *of_gps.SCENARIOS, *of_camera.SCENARIOS, *of_box.SCENARIOS)


def params() -> list[object]:
    return [
        pytest.param(one, id=one.name, marks=[pytest.mark.short] if one.is_short else [])
        for one in ALL
    ]


@pytest.mark.parametrize("scenario", params())
def test_what_was_recorded_is_what_happened(
    scenario: Scenario, saved: Ready, tmp_path: Path, tell: Callable[[str], None]
) -> None:
    with (
        Machine(saved.image, scenario.power_on) as machine,
        closing(Bench(machine, scenario.make(tmp_path), tmp_path)) as bench,
    ):
        if scenario.is_cold:
            machine.boot(lambda: bench.plug(*scenario.lost))
        else:
            machine.wake(saved.saved)
        if scenario.settings:
            configure(machine, scenario.settings)
        try:
            problems, shown = play(scenario, bench)
        finally:
            # pytest shows it with what failed.
            sys.stdout.write(machine.try_(JOURNAL)[1])
        for text in (shown, *bench.told):
            tell(text)
    assert problems == [], scenario.says


def play(scenario: Scenario, bench: Bench) -> tuple[list[str], str]:
    """Play it; return what is wrong with the recording, and what is in it."""
    for step in scenario.steps:
        step(bench)
    recording = bench.recording()
    problems = judge(scenario, recording, bench)
    if scenario.shows is not None:
        scenario.shows(recording, bench)
    return problems, ", ".join(_shown(recording, lane) for lane in scenario.lost)


def _shown(recording: Recording, lane: str) -> str:
    lost = "".join(f" {cause} {n}" for cause, n in recording.losses(lane).items())
    return f"{lane} {recording.ledger(lane).stored}{lost}"
