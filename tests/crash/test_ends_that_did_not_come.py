"""A recording whose end a process began to write, and died: it goes on, and then the power goes."""

from __future__ import annotations

import pytest

from tests.crash.machine import Machine


@pytest.mark.parametrize("steps", range(0, 16, 3))
def test_what_was_due_until_then_is_counted_beside_what_came_behind_it(steps: int) -> None:
    life = Machine()
    try:
        life.begin(seed=0, is_own=False, is_uploading=False, steps=0, dies=False)
        life.wait(seconds=25.0)
        life.drive(rounds=1)
        life.roll_over(command="stop", dies=True, steps=steps)
        life.fill_the_ring(name="gps")
        life.cut_the_power(cuts=0, steps=1)  # its rows are on the disk; no heartbeat knows them
        life.commit()
    finally:
        life.teardown()
