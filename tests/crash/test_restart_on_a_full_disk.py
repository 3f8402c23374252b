"""A process that dies on a disk without a free byte: the next one goes on where it was."""

from __future__ import annotations

import pytest

from tests.crash.machine import Machine


@pytest.mark.parametrize("seed", range(4))
def test_the_session_goes_on_though_its_journal_must_be_written_anew(seed: int) -> None:
    life = Machine()
    try:
        life.begin(seed=seed, is_own=False, is_uploading=False, steps=0, dies=False)
        life.drive(rounds=2)
        (session_id,) = life.world.session_ids()
        life.fill_the_disk(room_bytes=0)
        life.kill_the_spool()
        life.restart(dies=False, steps=0)
        assert life.world.is_recording, life.world.trouble
        assert life.world.session_ids() == [session_id]
    finally:
        life.teardown()
