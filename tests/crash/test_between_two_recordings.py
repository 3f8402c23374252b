"""A process that ends what was left behind too long, and dies before the next recording begins."""

from __future__ import annotations

import pytest

from tests.crash.machine import Machine


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("steps", range(0, 48, 3))
def test_what_a_full_ring_dropped_in_between_is_counted_by_the_next(seed: int, steps: int) -> None:
    life = Machine()
    try:
        life.begin(seed=seed, is_own=False, is_uploading=False, steps=0, dies=False)
        life.commit()
        life.acquire(name="cam", times=5, absent=0)
        life.commit()
        life.kill_the_spool()
        life.wait(seconds=25.0)
        life.fill_the_ring(name="cam")
        life.restart(dies=True, steps=steps)
    finally:
        life.teardown()
