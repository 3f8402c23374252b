"""A segment without a sample, sealed by an end of the recording that did not come to its end."""

from __future__ import annotations

import pytest

from tests.crash.examine import examine
from tests.crash.world import World

_MOST_STEPS = 32


@pytest.mark.parametrize("is_cut", [True, False])
@pytest.mark.parametrize("is_own", [True, False])
def test_the_session_goes_on_in_it_wherever_the_process_dies(is_own: bool, is_cut: bool) -> None:
    # The campaign's finding: the next segment had the same name, and the process died of that each
    # time it was started, until the session was stale.
    deaths = 0
    for steps in range(_MOST_STEPS):
        with World(steps, is_own=is_own, is_uploading=False) as world:
            world.start_spool()
            world.commit()
            world.lanes.say("cam", anchor=False)
            world.disk.faults.steps_left = steps
            world.order("new")
            deaths += world.spooler is None
            world.disk.faults.steps_left = None
            if world.spooler is None:
                world.start_spool()
            world.lanes.put("cam")
            world.commit()
            if is_cut:
                world.cut_power()
                world.start_spool()
            world.order("start")
            for _ in range(2):
                world.commit()
            assert world.is_settled, (steps, world.trouble)
            with world.disk.aside():
                verdict, words = examine(world)
            assert not verdict, (steps, verdict, words)
            assert words == [], steps
    assert deaths > 10
