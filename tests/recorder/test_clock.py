from __future__ import annotations

import time
from pathlib import Path

from recorder.clock import Mapping, anchor_now, boot_id, boot_ns, system_anchor, wall_ns

S = 1_000_000_000
UTC = 1_700_000_000 * S


def test_the_boot_has_one_name_and_its_clock_is_the_kernels() -> None:
    text = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert boot_id().hex() == text.replace("-", "")
    before = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    assert before <= boot_ns() <= time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def test_a_mapping_is_straight_between_its_knots_and_at_rate_one_outside() -> None:
    mapping = Mapping(((100, UTC), (200, UTC + 150)), "gps", 5)
    assert [mapping.utc_ns(at) - UTC for at in (90, 100, 150, 200, 230)] == [-10, 0, 75, 150, 180]


def test_an_anchor_of_a_while_ago_has_the_raw_clock_of_that_while() -> None:
    now = boot_ns()
    one, two = anchor_now(now, UTC, 5, "gps"), anchor_now(now - S, UTC - S, 5, "gps")
    assert 0.9 * S < one.monotonic_raw_ns - two.monotonic_raw_ns < 1.1 * S
    system = system_anchor()
    assert system.source == "none"
    assert abs(system.utc_ns - time.time_ns()) < S


def test_the_wall_clock_is_read_at_the_boot_time_that_is_asked_for() -> None:
    before_ns, boot = time.time_ns(), boot_ns()
    now_ns = wall_ns(boot)
    assert before_ns - S < now_ns < time.time_ns() + S
    assert abs(wall_ns(boot - 5 * S) - (now_ns - 5 * S)) < S
