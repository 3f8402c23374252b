from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.spool import pace as module
from recorder.spool.pace import Pace
from tests.crash.replacing import replaced

MS = 1_000_000


class StoppedClock:
    """CLOCK_BOOTTIME that passes when it is told to."""

    def __init__(self) -> None:
        self.now_ns = 10**12

    def __call__(self) -> int:
        return self.now_ns


@pytest.fixture(autouse=True)
def clock() -> Iterator[StoppedClock]:
    stopped = StoppedClock()
    with replaced((module, "boot_ns", stopped)):
        yield stopped


def commit(pace: Pace, clock: StoppedClock, behind_ns: int, took_ns: int) -> None:
    """Let a commit begin so long after now, and take so long."""
    clock.now_ns += behind_ns
    began_ns = clock.now_ns
    clock.now_ns += took_ns
    pace.over(began_ns)


def test_a_quick_disk_is_committed_to_at_the_configured_interval() -> None:
    pace = Pace(500 * MS, 2000 * MS)
    for _ in range(100):
        pace.note(20 * MS)
    assert pace.interval_ns == 500 * MS
    assert pace.promise_ns == 520 * MS


def test_a_slow_disk_is_given_as_much_time_as_it_takes_and_the_promise_says_so() -> None:
    pace = Pace(500 * MS, 2000 * MS)
    pace.note(600 * MS)
    assert pace.interval_ns == 1200 * MS
    assert pace.promise_ns == 1800 * MS


def test_the_interval_grows_no_further_than_the_window_allows() -> None:
    pace = Pace(500 * MS, 2000 * MS)
    pace.note(1200 * MS)
    assert pace.interval_ns == 800 * MS
    assert pace.promise_ns == 2000 * MS


def test_a_disk_slower_than_the_window_is_committed_to_as_often_as_it_can_be() -> None:
    pace = Pace(500 * MS, 2000 * MS)
    pace.note(5000 * MS)
    assert pace.interval_ns == 500 * MS
    assert pace.promise_ns == 5500 * MS


def test_a_stall_is_forgotten_by_and_by() -> None:
    pace = Pace(500 * MS, 2000 * MS)
    pace.note(900 * MS)
    for _ in range(60):
        pace.note(10 * MS)
    assert pace.interval_ns == 500 * MS
    assert pace.promise_ns < 512 * MS
    assert pace.to_dict()["slowest_ms"] == 900


@given(st.lists(st.integers(0, 20_000 * MS), max_size=50))
def test_what_is_promised_holds_for_every_commit_of_late(took: list[int]) -> None:
    pace = Pace(500 * MS, 2000 * MS)
    for one in took:
        pace.note(one)
        assert pace.interval_ns >= 500 * MS
        assert pace.promise_ns >= pace.interval_ns + one
        assert pace.promise_ns <= max(2000 * MS, 500 * MS + max(took)) + 1
    found = pace.to_dict()
    assert found["count"] == sum(found["histogram_ms"].values()) == len(took)


def test_the_histogram_counts_each_commit_below_its_bound() -> None:
    pace = Pace(500 * MS, 2000 * MS)
    for one in (0, MS, MS + 1, 11_000 * MS):
        pace.note(one)
    found = {bound: count for bound, count in pace.to_dict()["histogram_ms"].items() if count}
    assert found == {"1": 2, "2": 1, "inf": 1}


def test_a_commit_that_came_late_counts_with_the_time_before_it(clock: StoppedClock) -> None:
    pace = Pace(500 * MS, 2000 * MS)
    commit(pace, clock, 500 * MS, 20 * MS)
    assert pace.promise_ns == 520 * MS
    commit(pace, clock, 3000 * MS, 20 * MS)
    assert pace.promise_ns == 3040 * MS
    for _ in range(60):
        commit(pace, clock, 480 * MS, 20 * MS)
    assert pace.promise_ns == 520 * MS


def test_while_no_commit_succeeds_the_promise_grows_with_the_time(clock: StoppedClock) -> None:
    pace = Pace(500 * MS, 2000 * MS)
    commit(pace, clock, 500 * MS, 20 * MS)
    clock.now_ns += 30_000 * MS
    assert pace.promise_ns == 30_020 * MS
    assert pace.to_dict()["promise_ms"] == 30_020
    commit(pace, clock, 0, 20 * MS)
    assert pace.promise_ns == 30_040 * MS, "what was at stake, behind the stall"
    commit(pace, clock, 480 * MS, 20 * MS)
    assert pace.promise_ns < 30_040 * MS, "and it is forgotten by and by"
