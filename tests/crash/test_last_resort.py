"""The last resort on a full disk: a segment that the watermark names is given up, and that fails.

Another program has filled the disk, a lane that matters more finds no room, the least lane's open
segment was ended for it; and then the tombstone's sync fails, before its file is removed.
"""

from __future__ import annotations

from typing import Any

import pytest

from recorder.spool.quota import Room
from tests.crash.examine import examine
from tests.crash.replacing import replaced
from tests.crash.world import World

_MOST_COMMITS = 60


def starve(world: World) -> int:
    """Record on a disk without room until the last resort was tried; return how often it was."""
    bury = Room._bury
    tried: list[Any] = []

    def burying(room: Room, recording: Any, segments: Any, leased: Any) -> None:
        opened = recording.open_files() if recording else set()
        folder = room.spool.session_dir(segments[0].session_id)
        if any(folder / one.lane / one.file in opened for one in segments):
            tried.append(segments)
            world.let_syncs_fail(1)
        bury(room, recording, segments, leased)

    with replaced((Room, "_bury", burying)):
        for _ in range(_MOST_COMMITS):
            for name in ("cam", "imu", "gps"):
                world.lanes.put(name)
            with world.disk.aside():
                world.disk.faults.capacity_bytes = world.disk.used_bytes()
            world.commit()
            if tried:
                break
    return len(tried)


def heal(world: World) -> None:
    """Let the disk take everything again, and judge what is there."""
    world.disk.faults.capacity_bytes, world.disk.faults.sync_errors = None, 0
    if world.spooler is None:
        world.start_spool()
    for _ in range(2):
        world.commit()
    assert world.is_settled, world.trouble
    with world.disk.aside():
        verdict, words = examine(world)
    assert not verdict, (verdict, words)
    assert words == []


@pytest.mark.parametrize("then", ["it goes on", "it is killed", "the power goes"])
@pytest.mark.parametrize("seed", range(6))
def test_a_tombstone_that_cannot_be_synced_costs_no_row_that_it_does_not_name(
    seed: int, then: str
) -> None:
    with World(seed, is_own=seed % 2 == 0, is_uploading=False) as world:
        world.start_spool()
        for _ in range(4):
            world.lanes.put("cam")
            world.lanes.put("imu")
            world.commit()
        assert starve(world), "the last resort was never tried"
        if then == "it is killed":
            world.kill_spool()
        elif then == "the power goes":
            world.cut_power()
        heal(world)
