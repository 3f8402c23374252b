"""A process that died between a session's announcement and its first watermark."""

from __future__ import annotations

import pytest

from tests.crash.machine import Machine

_STEPS = range(8, 40)


@pytest.mark.parametrize("dies_first", [10, 12, 13])
def test_nothing_that_a_failed_sync_left_is_trusted(dies_first: int) -> None:
    # The campaign's finding, at every instant of the second death.
    for steps in _STEPS:
        life = Machine()
        try:
            life.begin(seed=0, is_own=True, is_uploading=True, steps=dies_first, dies=True)
            if life.world.spooler is None:
                life.restart(dies=True, steps=steps)
            if life.world.spooler is None:
                life.restart(dies=False, steps=0)
            life.commit_what_cannot_be_synced(kills=False)
            life.cut_the_power(cuts=0, steps=18)
        finally:
            life.teardown()
