from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from recorder.spool.pace import Pace

MS = 1_000_000


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
