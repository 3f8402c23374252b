from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from recorder.clock import Mapping, anchor_now, boot_id, boot_ns, system_anchor
from recorder.record import Anchor

S = 1_000_000_000
UTC = 1_700_000_000 * S


def anchor(boot_s: float, off_ns: int = 0, source: str = "gps", bound_ns: int = 1000) -> Anchor:
    boot = round(boot_s * S)
    return Anchor(boot, boot, UTC + boot + off_ns, bound_ns, source)


def test_the_boot_has_one_name_and_its_clock_is_the_kernels() -> None:
    text = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert boot_id().hex() == text.replace("-", "")
    before = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    assert before <= boot_ns() <= time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def test_before_the_first_knot_and_behind_the_last_time_runs_at_its_own_rate() -> None:
    mapping = Mapping.through([anchor(100), anchor(200)])
    assert mapping.utc_ns(5 * S) == UTC + 5 * S
    assert mapping.utc_ns(900 * S) == UTC + 900 * S


def test_between_two_knots_time_is_straight() -> None:
    mapping = Mapping.through([anchor(100), anchor(200, off_ns=50_000_000)])
    assert mapping.utc_ns(150 * S) == UTC + 150 * S + 25_000_000


def test_the_best_source_counts_alone() -> None:
    mapping = Mapping.through([anchor(10, 7, "none"), anchor(20, 0, "gps"), anchor(5, 9, "rtc")])
    assert (mapping.source, mapping.knots) == ("gps", ((20 * S, UTC + 20 * S),))


def test_an_anchor_that_jumps_is_left_out() -> None:
    mapping = Mapping.through([anchor(10), anchor(20, off_ns=5 * S), anchor(30, off_ns=-60 * S)])
    assert mapping.knots == ((10 * S, UTC + 10 * S),)


def test_the_uncertainty_is_that_of_the_worst_knot() -> None:
    worse = replace(anchor(20), uncertainty_ns=5000)
    assert Mapping.through([anchor(10), worse]).uncertainty_ns == 5000


@given(
    offsets=st.lists(st.integers(-(10**7), 10**7), min_size=1, max_size=8),
    times=st.lists(st.integers(0, 200 * S), min_size=2, max_size=20),
)
def test_time_never_steps_back(offsets: list[int], times: list[int]) -> None:
    anchors = [anchor(10 + 10 * index, off) for index, off in enumerate(offsets)]
    mapping = Mapping.through(anchors)
    mapped = [mapping.utc_ns(one) for one in sorted(times)]
    assert mapped == sorted(mapped)


def test_an_anchor_of_a_while_ago_has_the_raw_clock_of_that_while() -> None:
    now = boot_ns()
    one, two = anchor_now(now, UTC, 5, "gps"), anchor_now(now - S, UTC - S, 5, "gps")
    assert 0.9 * S < one.monotonic_raw_ns - two.monotonic_raw_ns < 1.1 * S
    system = system_anchor()
    assert system.source == "none"
    assert abs(system.utc_ns - time.time_ns()) < S
