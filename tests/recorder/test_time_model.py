"""What is believed of a boot's time, case by case; the campaign in tests/clock does many."""

from __future__ import annotations

import calendar
import itertools
from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from recorder.record import Anchor
from recorder.time_model import TimeModel, near

MS = 1_000_000
S = 1_000_000_000
WEEKS_1024 = 1024 * 7 * 86_400 * S
UTC = 1_790_000_000 * S
GPS_NS, NTP_NS, PPS_NS = 100 * MS, 30 * MS, 20_000


def said(
    at_s: float,
    off_ns: int = 0,
    source: str = "gps",
    bound_ns: int = GPS_NS,
    raw_off_ns: int = 0,
) -> Anchor:
    """Return what a source says that is off by so much; true UTC is `UTC` plus boot time."""
    boot = round(at_s * S)
    return Anchor(boot, boot + raw_off_ns, UTC + boot + off_ns, bound_ns, source)


def every_ten(begin: int, end: int, off_ns: int = 0, source: str = "gps") -> list[Anchor]:
    bound_ns = {"gps": GPS_NS, "ntp": NTP_NS, "pps": PPS_NS, "rtc": 60 * S, "none": 0}[source]
    return [said(at, off_ns, source, bound_ns) for at in range(begin, end, 10)]


def error_ns(model: TimeModel, at_s: float) -> int:
    return model.utc_ns(round(at_s * S)) - UTC - round(at_s * S)


def bound_ns(model: TimeModel, at_s: float) -> int:
    found = model.bound_ns(round(at_s * S), round(at_s * S))
    assert found is not None
    return found


def assert_true(model: TimeModel, times_s: Iterable[float], most_ns: int = 150 * MS) -> None:
    for at_s in times_s:
        assert abs(error_ns(model, at_s)) <= bound_ns(model, at_s) <= most_ns


def test_one_anchor_tells_the_time_and_its_own_bound() -> None:
    model = TimeModel([said(100)])
    assert (model.source, error_ns(model, 100), bound_ns(model, 100)) == ("gps", 0, GPS_NS)


def test_the_bound_grows_away_from_the_anchors_by_what_an_oscillator_may_drift() -> None:
    clocks = every_ten(1, 1200, source="none")
    model = TimeModel([*clocks, *every_ten(600, 700, source="pps")])
    assert bound_ns(model, 650) < 30_000
    before_ns = [bound_ns(model, at) for at in (590, 400, 200, 5)]
    assert before_ns == sorted(before_ns)
    # 590 s at the 10 ppm that a rate measured over 100 s may wander, and 0.4 ppm of measuring it.
    assert 5 * MS < before_ns[-1] < 7 * MS
    assert before_ns[0] < bound_ns(model, 800) < bound_ns(model, 1180) < 6 * MS


def test_the_rate_is_measured_and_carried_to_before_the_first_fix() -> None:
    def fast(boot_s: float, source: str) -> Anchor:  # an oscillator that is 40 ppm slow
        return said(boot_s, round(boot_s * 40_000), source, PPS_NS if source == "pps" else 0)

    clocks = [fast(at, "none") for at in range(0, 1000, 10)]
    model = TimeModel([*clocks, *(fast(at, "pps") for at in range(500, 900, 10))])
    for at in (1, 100, 300, 800, 990):
        due_ns = UTC + at * S + at * 40_000
        assert abs(model.utc_ns(at * S) - due_ns) <= 1 * MS


def test_a_clock_that_nobody_vouches_for_counts_once_whatever_it_says_later() -> None:
    jumps = [said(10, 0, "none", 0), said(20, 86_400 * S, "none", 0), said(30, -5, "none", 0)]
    model = TimeModel(jumps)
    assert (model.source, model.bound_ns(0, 10**12)) == ("none", None)
    assert [error_ns(model, at) for at in (5, 10, 25, 100)] == [0, 0, 0, 0]


def test_sources_that_agree_narrow_the_bound_and_the_best_gives_its_name() -> None:
    model = TimeModel([*every_ten(0, 100), *every_ten(5, 100, 20 * MS, "ntp")])
    assert model.source == "gps"
    assert bound_ns(model, 50) < 32 * MS
    assert abs(error_ns(model, 50) - 20 * MS) < 2 * MS


def test_a_less_trusted_source_that_does_not_agree_is_left_out() -> None:
    model = TimeModel([*every_ten(0, 100), *every_ten(5, 100, 7_300 * MS, "ntp")])
    assert (model.source, error_ns(model, 50)) == ("gps", 0)


def test_single_strays_are_left_out_even_within_their_own_bounds() -> None:
    anchors = every_ten(0, 300)
    anchors[7] = said(70, -90 * MS)
    anchors[15] = said(150, -4 * S)
    anchors[22] = said(220, 2 * S)
    model = TimeModel(anchors)
    assert all(abs(error_ns(model, at)) < 3 * MS for at in range(0, 300, 7))


def test_a_receiver_that_had_not_heard_of_leap_seconds_is_right_afterwards() -> None:
    model = TimeModel([*every_ten(10, 600, 2 * S), *every_ten(600, 640)])
    assert all(abs(error_ns(model, at)) < 3 * MS for at in (0, 300, 590, 620))
    assert_true(model, (0, 300, 595, 620, 640))


def test_a_week_number_that_rolls_over_changes_no_time() -> None:
    later = [*every_ten(0, 100), *every_ten(100, 400, -WEEKS_1024)]
    assert_true(TimeModel(later), (0, 50, 99, 200, 399))
    # From the first fix on: only another clock can tell.
    alone = [*every_ten(50, 400, -WEEKS_1024), *every_ten(0, 400, 20 * S, "rtc")]
    assert_true(TimeModel(alone), (0, 50, 399))


def test_an_ntp_that_stepped_is_right_afterwards() -> None:
    anchors = [*every_ten(0, 300, 3_400 * MS, "ntp"), *every_ten(300, 340, source="ntp")]
    assert_true(TimeModel(anchors), (5, 150, 295, 330))


def test_a_leap_second_at_the_end_of_june_is_no_fault() -> None:
    midnight_ns = calendar.timegm((2030, 7, 1, 0, 0, 0)) * S
    begin_ns = midnight_ns - 300 * S

    def at(boot_s: int) -> Anchor:
        leap_ns = S if boot_s > 300 else 0
        return Anchor(boot_s * S, boot_s * S, begin_ns + boot_s * S - leap_ns, GPS_NS, "gps")

    model = TimeModel([at(boot_s) for boot_s in range(5, 600, 10)])
    for boot_s in (10, 250, 350, 590):
        due_ns = begin_ns + boot_s * S - (S if boot_s > 300 else 0)
        assert abs(model.utc_ns(boot_s * S) - due_ns) <= bound_ns(model, boot_s) < 150 * MS
    assert bound_ns(model, 300) > 900 * MS


def test_through_a_suspend_both_sides_have_their_own_evidence() -> None:
    before = every_ten(0, 200)
    # Half an hour asleep, by the RTC's whole seconds: boot time is 0.7 s ahead ever since.
    behind = [
        Anchor(
            boot := (2000 + at) * S,
            200 * S + at * S,
            UTC + boot - 700 * MS,
            GPS_NS,
            "gps",
        )
        for at in range(10, 210, 10)
    ]
    model = TimeModel([*before, *behind])
    assert_true(model, (5, 100, 185))
    assert [abs(error_ns(model, 2000 + at) + 700 * MS) < 50 * MS for at in (15, 100, 195)] == [
        True
    ] * 3
    assert bound_ns(model, 1000) > 600 * MS
    assert bound_ns(model, 2100) < 150 * MS


def test_slewing_by_ntp_does_not_pass_for_drift() -> None:
    # From 100 s to 200 s boot time runs 500 ppm fast; the raw clock does not.
    def slewed(at_s: int, source: str) -> Anchor:
        ahead = 500_000 * min(max(at_s - 100, 0), 100)
        boot = at_s * S + ahead
        return Anchor(boot, at_s * S + 7 * S, UTC + at_s * S, PPS_NS, source)

    clocks = [slewed(at, "none") for at in range(0, 400, 10)]
    model = TimeModel([*clocks, *(slewed(at, "pps") for at in range(300, 400, 10))])
    for at in (10, 90, 150, 210, 350):
        boot = at * S + 500_000 * min(max(at - 100, 0), 100)
        assert abs(model.utc_ns(boot) - UTC - at * S) <= model.bound_ns(boot, boot)  # type: ignore[operator] # pps is no none
        assert abs(model.utc_ns(boot) - UTC - at * S) < 100_000


def test_of_a_long_boot_only_what_is_near_counts_if_anybody_vouched_for_it() -> None:
    many = [
        one
        for at in range(10, 80_000, 10)
        for one in (said(at, 0, "none", 0), said(at + 1, -at * 1000, bound_ns=PPS_NS, source="pps"))
    ]
    kept = near(many, 40_000 * S, 43_600 * S)
    assert len(kept) < 0.2 * len(many)
    for at_s in (40_000, 43_000):
        assert abs(error_ns(TimeModel(kept), at_s) + at_s * 1000) < 10_000
    early = [said(5), *(one for one in many if one.source == "none")]
    assert near(early, 40_000 * S, 43_600 * S) == early


@given(
    offsets=st.lists(st.integers(-200 * MS, 200 * MS), min_size=1, max_size=12),
    slews=st.lists(st.integers(-5 * MS, 900 * MS), min_size=12, max_size=12),
    times=st.lists(st.integers(0, 200 * S), min_size=2, max_size=30, unique=True),
)
def test_time_rises_whatever_anybody_says(
    offsets: list[int], slews: list[int], times: list[int]
) -> None:
    raws = list(itertools.accumulate(10 * S - slew for slew in slews))
    anchors = [
        Anchor((10 + 10 * i) * S, raws[i], UTC + (10 + 10 * i) * S + off, GPS_NS, "gps")
        for i, off in enumerate(offsets)
    ]
    model = TimeModel(anchors)
    mapped = [model.utc_ns(one) for one in sorted(times)]
    assert mapped == sorted(mapped)


@given(
    anchors=st.lists(
        st.builds(
            Anchor,
            st.integers(0, 100 * S),
            st.integers(0, 100 * S),
            st.integers(UTC - 5 * S, UTC + 105 * S),
            st.integers(0, S),
            st.sampled_from(["none", "rtc", "ntp", "gps", "pps"]),
        ),
        min_size=1,
        max_size=15,
    ),
    ends=st.tuples(st.integers(0, 120 * S), st.integers(0, 120 * S)),
)
def test_a_mapping_is_the_model_and_its_bound_the_largest(
    anchors: list[Anchor], ends: tuple[int, int]
) -> None:
    model = TimeModel(anchors)
    first, last = sorted(ends)
    mapping = model.mapping(first, last)
    assert mapping.source == model.source
    assert [mapping.knots[0][0], mapping.knots[-1][0]] == [first, last]
    for boot in (first, (first + last) // 2, last):
        assert abs(mapping.utc_ns(boot) - model.utc_ns(boot)) <= 1
        if mapping.uncertainty_ns is not None:
            found = model.bound_ns(boot, boot)
            assert found is not None
            assert found <= mapping.uncertainty_ns
