"""The real picamera2 and libcamera record a USB camera, through all its faults."""

from __future__ import annotations

import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from hil.scenarios.bench import Bench
from hil.scenarios.of_camera import BY_PICAMERA
from hil.scenarios.play import play
from hil.vm.machine import Machine

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hil.scenarios.scenario import Scenario
    from hil.vm.ready import Ready

JOURNAL = "journalctl --no-pager -u 'recorder*' | tail -60"


@pytest.mark.parametrize("scenario", BY_PICAMERA, ids=[one.name for one in BY_PICAMERA])
def test_what_was_recorded_is_what_happened(
    scenario: Scenario, picamera: Ready, tmp_path: Path, tell: Callable[[str], None]
) -> None:
    with (
        Machine(picamera.image) as machine,
        closing(Bench(machine, scenario.make(tmp_path), tmp_path)) as bench,
    ):
        machine.wake(picamera.saved)
        try:
            problems, shown = play(scenario, bench, level="1")
        finally:
            # pytest shows it with what failed.
            sys.stdout.write(machine.try_(JOURNAL)[1])
        for text in (shown, *bench.told):
            tell(text)
    assert problems == [], scenario.says
