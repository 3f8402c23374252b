"""Every scenario, each on a machine of its own."""

from __future__ import annotations

import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from hil.scenarios.bench import Bench
from hil.scenarios.every import ALL
from hil.scenarios.play import play
from hil.vm.machine import Machine
from hil.vm.ready import configure

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hil.scenarios.scenario import Scenario
    from hil.vm.ready import Ready

JOURNAL = "journalctl --no-pager -u 'recorder*' | tail -60"


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
            problems, shown = play(scenario, bench, level="1")
        finally:
            # pytest shows it with what failed.
            sys.stdout.write(machine.try_(JOURNAL)[1])
        for text in (shown, *bench.told):
            tell(text)
    assert problems == [], scenario.says
