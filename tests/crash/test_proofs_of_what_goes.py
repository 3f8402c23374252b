"""What says what a segment held may go with a failed sync; what gives it up must say it again."""

from __future__ import annotations

import pytest

from tests.crash.machine import Machine

_MOST_STEPS = 16


@pytest.mark.parametrize("steps", range(1, _MOST_STEPS))
def test_a_disk_that_is_full_after_a_failed_sync_loses_count_of_nothing(steps: int) -> None:
    # The campaign's finding, at every instant at which the process may die.
    life = Machine()
    try:
        life.begin(seed=0, is_own=True, is_uploading=False, steps=0, dies=False)
        life.commit()
        life.fill_the_ring(name="cam")
        life.commit()
        life.commit_what_cannot_be_synced(kills=False)
        life.fill_the_disk(room_bytes=0)
        life.die_in_a_commit(steps=steps)
    finally:
        life.teardown()


def test_a_proof_that_was_said_twice_goes_with_its_segment_when_the_journal_shrinks() -> None:
    life = Machine()
    try:
        life.begin(seed=0, is_own=False, is_uploading=True, steps=0, dies=False)
        life.drive(rounds=2)
        life.kill_the_spool()
        life.wait(seconds=25.0)
        life.fill_the_disk(room_bytes=0)
        life.restart(dies=False, steps=0)
        life.conclude()
    finally:
        life.teardown()
