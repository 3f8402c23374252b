"""Every instant of a journal's compaction, and of a session's removal, as the last one."""

from __future__ import annotations

import pytest

from tests.crash.examine import examine
from tests.crash.uploading import acknowledge, conclude
from tests.crash.world import World
from tests.crash.wrong import no_burial_for_good

_MOST_STEPS = 25


def record(world: World) -> None:
    """Record a session, end it, and deliver it if it is to be."""
    world.start_spool()
    for _ in range(10):
        for name in ("cam", "imu", "gps"):
            world.lanes.put(name)
        world.commit()
    world.order("new")
    if world.is_uploading:
        acknowledge(world)
        give_up(world)
        conclude(world)


def give_up(world: World, steps: int | None = None) -> None:
    """Commit on a disk that needs room; the power goes after so many changes, if any are given."""
    world.disk.faults.capacity_bytes = world.disk.used_bytes()
    world.disk.faults.steps_left = steps
    world.commit()
    world.disk.faults.capacity_bytes = None


def end_at(steps: int, *, is_own: bool, is_uploading: bool) -> tuple[bool, list[str]]:
    """Let the power go after so many changes of the commit in which a journal is rewritten.

    Returns:
        Whether there were so many, and all that is wrong then.
    """
    with World(steps, is_own=is_own, is_uploading=is_uploading) as world:
        record(world)
        if is_uploading:
            world.disk.faults.steps_left = steps
            world.commit()
        else:  # nobody is waited for: it is rewritten when it is given up
            give_up(world, steps)
        is_over = world.spooler is None
        assert is_over or world.counts["journals compacted"] > 0
        world.cut_power()
        world.start_spool()
        for _ in range(3):
            world.commit()
        assert world.is_settled, world.trouble
        with world.disk.aside():
            verdict, words = examine(world)
    return is_over, [str(verdict)] * bool(verdict) + words


def sweep(*, is_own: bool, is_uploading: bool) -> tuple[int, list[str]]:
    """End at every step; return how often that was one, and all that was wrong."""
    cuts, found = 0, list[str]()
    for steps in range(_MOST_STEPS):
        is_over, words = end_at(steps, is_own=is_own, is_uploading=is_uploading)
        cuts += is_over
        found += words
    return cuts, found


@pytest.mark.parametrize("is_own", [True, False])
@pytest.mark.parametrize("is_uploading", [True, False])
def test_whenever_the_power_goes_the_journal_is_the_old_one_or_the_new(
    is_own: bool, is_uploading: bool
) -> None:
    cuts, found = sweep(is_own=is_own, is_uploading=is_uploading)
    assert found == []
    assert 5 < cuts < _MOST_STEPS


def test_tombstones_that_are_joined_too_early_are_found_out() -> None:
    with no_burial_for_good():
        _, found = sweep(is_own=False, is_uploading=True)
    assert any("came back" in one for one in found), found[:5]
