from __future__ import annotations

import contextlib
import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recorder.session.ledger import LaneLedger
from recorder.session.quality import quality
from recorder.session.session import Session
from recorder.session.states import TRANSITIONS, State, follow

S = 1_000_000_000
EVENTS = ("first_sample", "drained_whole", "drained_short", "drained_error", "drained_orphan")


def session(*lanes: LaneLedger) -> Session:
    return Session("id", "00" * 16, "Test", "", "car", lanes=list(lanes))


def lane(name: str, expected: int, stored: int, **facts: Any) -> LaneLedger:
    lost = expected - stored
    known = {"lost_source": lost, **facts} if "lost_absent" not in facts else facts
    return LaneLedger(
        name,
        rate_hz=100.0,
        expected=expected,
        acquired=stored,
        stored=stored,
        pending=stored - facts.get("lost_evicted", 0),
        **known,
    )


def delivered(*lanes: LaneLedger) -> None:
    for one in lanes:
        one.delivered, one.pending = one.pending, 0


@settings(max_examples=2000)
@given(
    steps=st.lists(
        st.one_of(
            st.sampled_from(EVENTS),
            st.sampled_from(["operator", "power_loss", "exception:OSError", "finish"]),
            st.tuples(st.integers(0, 1), st.integers(1, 10 * S)),
            st.just("beat"),
        ),
        max_size=25,
    )
)
def test_nothing_changes_a_terminal_state_and_nothing_runs_backwards(
    steps: list[str | tuple[int, int]],
) -> None:
    one = session(LaneLedger("a"), LaneLedger("b"))
    for step in steps:
        before = copy.deepcopy(one)
        happens(one, step)
        if before.state.is_terminal:
            assert one.state == before.state
            assert one.quality.basis != "default"
        if step == "beat":
            assert one.duration_ns == before.duration_ns
        assert one.revision >= before.revision
        assert one.duration_ns >= before.duration_ns
        assert one.end_reason == (before.end_reason or one.end_reason)
        assert Session.from_dict(one.to_dict()) == one


def happens(one: Session, step: str | tuple[int, int]) -> None:
    """Let something happen to a session; what its state does not allow must be refused."""
    if isinstance(step, tuple):
        account = one.lanes[step[0]]
        account.stored += 1
        account.last_boot_ns = max(each.last_boot_ns or S for each in one.lanes) + step[1]
        account.first_boot_ns = account.first_boot_ns or account.last_boot_ns
    elif step == "beat":
        one.beat(one.heartbeat_boot_ns + S, 0)
    elif step in EVENTS:
        allowed = (one.state, step) in TRANSITIONS
        with contextlib.nullcontext() if allowed else pytest.raises(ValueError, match="takes no"):
            one.happen(step)
    elif step == "finish":
        allowed = one.recording == "stopped" and not one.state.is_terminal
        with contextlib.nullcontext() if allowed else pytest.raises(ValueError, match="session"):
            one.finish()
        assert one.state.is_terminal or not allowed
    else:
        one.stop(step)


def test_the_table_has_no_way_out_of_a_terminal_state_nor_back() -> None:
    for state in State:
        for event in EVENTS:
            if state.is_terminal:
                with pytest.raises(ValueError, match="takes no"):
                    follow(state, event)
            else:
                assert follow(state, event) != State.waiting
    assert [int(state) for state in State] == [1, 2, 4, 12, 28, 44]


@pytest.mark.parametrize(
    ("reason", "facts", "state"),
    [
        ("operator", {}, State.closed),
        ("shutdown", {}, State.closed),
        ("roll_over", {}, State.closed),
        ("operator", {"lost_ring": 3}, State.closed),
        ("operator", {"lost_evicted": 1}, State.truncated),
        ("operator", {"lost_crc": 1}, State.truncated),
        ("operator", {"lost_rejected": 1}, State.truncated),
        ("exception:OSError", {"lost_evicted": 1}, State.failed),
        ("power_loss", {"lost_evicted": 1}, State.abandoned),
        ("watchdog", {}, State.abandoned),
    ],
)
def test_an_orphan_comes_before_an_error_before_a_short_before_a_whole_end(
    reason: str, facts: dict[str, Any], state: State
) -> None:
    for has_data in (False, True):
        one = session(LaneLedger("a", **facts))
        if has_data:
            one.happen("first_sample")
        one.stop(reason)
        one.stop("operator")
        one.finish()
        assert one.state is state


def test_example_a_evicted_camera_minutes_make_it_truncated() -> None:
    lanes = [
        lane("gps", 36_000, 35_940),
        lane("imu", 720_000, 718_560),
        lane("cam", 108_000, 102_600),
    ]
    one = session(*lanes)
    one.happen("first_sample")
    found = one.quality
    assert (found.value, found.basis, found.least, found.least_lane) == (
        0.9821,
        "held",
        0.95,
        "cam",
    )
    lanes[2].lost_evicted, lanes[2].pending = 10_260, 92_340
    one.stop("operator")
    delivered(*lanes)
    one.finish()
    found = one.quality
    assert [each.imbalances() for each in lanes] == [[], [], []]
    assert (one.state, found.value, found.basis) == (State.truncated, 0.9504, "delivered")
    assert found.least == 0.855


def test_example_b_a_gps_that_was_unplugged_shows() -> None:
    lanes = [
        lane("gps", 36_000, 30_000, lost_absent=6_000),
        lane("imu", 3_600_000, 3_599_982),
        lane("cam", 108_000, 108_000),
    ]
    one = session(*lanes)
    one.happen("first_sample")
    one.stop("operator")
    delivered(*lanes)
    one.finish()
    found = one.quality
    assert one.state is State.closed
    assert (found.value, found.least, found.least_lane) == (0.9444, 0.8333, "gps")


def test_example_c_a_torn_tail_has_a_lower_bound() -> None:
    rates = {"gps": (10.0, 18_000, 17_970), "imu": (200.0, 360_000, 359_400)}
    rates["cam"] = (30.0, 54_000, 53_820)
    lanes = []
    for name, (rate_hz, known, found) in rates.items():
        one = LaneLedger(name, rate_hz=rate_hz, expected=known, acquired=known, stored=known)
        one.pending, one.lost_crc = found, known - found
        one.first_boot_ns, one.last_boot_ns = S, S + 1_797 * S
        lanes.append(one)
    orphan = session(*lanes)
    orphan.happen("first_sample")
    orphan.unaccounted_max_ns = 10 * S
    orphan.stop("power_loss")
    states = [orphan.state]
    delivered(*lanes)
    orphan.finish()
    quality_of = orphan.quality
    assert [*states, orphan.state] == [State.open, State.abandoned]
    assert (quality_of.value, quality_of.lower) == (0.9977, 0.9922)
    assert (quality_of.least, quality_of.least_lane) == (0.9966, "cam")
    assert orphan.duration_ns == 1_797 * S


def test_example_d_a_camera_that_never_came() -> None:
    lanes = [lane("gps", 100, 100), lane("imu", 1000, 1000), lane("cam", 300, 0)]
    found = quality(lanes, delivered=False)
    assert (found.value, found.least, found.least_lane) == (0.6666, 0.0, "cam")


def test_a_session_without_data_says_so() -> None:
    one = session(LaneLedger("a"))
    assert (one.quality.value, one.quality.basis) == (0.9, "default")
    one.stop("operator")
    one.finish()
    assert (one.state, one.quality.value, one.quality.basis) == (State.closed, 0.0, "no_data")


def test_one_sample_of_millions_is_never_rounded_away() -> None:
    lanes = [lane("imu", 3_600_000, 3_599_999)]
    assert quality(lanes, delivered=False).value == 0.9999


def test_an_optional_lane_that_never_came_counts_for_nothing() -> None:
    gps, camera = lane("gps", 100, 90), LaneLedger("cam", required=False, rate_hz=30.0)
    assert quality([gps, camera], delivered=False).value == 0.9
    camera.expected = 100
    assert quality([gps, camera], delivered=False).value == 0.45


TERMS = [
    "lost_source",
    "lost_absent",
    "lost_broken",
    "lost_ring",
    "lost_damaged",
    "lost_write",
    "in_ring",
    "lost_evicted",
    "lost_crc",
    "lost_rejected",
    "pending",
    "delivered",
]


@given(
    counts=st.lists(st.integers(1, 100), min_size=len(TERMS), max_size=len(TERMS)),
    where=st.sampled_from([*TERMS, "expected", "acquired", "stored"]),
    off=st.sampled_from([-1, 1]),
)
def test_the_books_balance_and_a_single_sample_off_in_any_count_shows(
    counts: list[int], where: str, off: int
) -> None:
    facts = dict(zip(TERMS, counts, strict=True))
    stored = sum(counts[7:])
    acquired = stored + sum(counts[3:7])
    expected = acquired + sum(counts[:3])
    one = LaneLedger("a", expected=expected, acquired=acquired, stored=stored)
    for name, count in facts.items():
        setattr(one, name, count)
    assert one.imbalances() == []
    setattr(one, where, getattr(one, where) + off)
    assert len(one.imbalances()) == (2 if where in {"acquired", "stored"} else 1)
    assert LaneLedger.from_dict({**one.to_dict(), "later": 1}) == one


def test_a_required_lane_counts_when_it_is_due_and_at_the_end_in_any_case() -> None:
    gps, camera = lane("gps", 100, 90), LaneLedger("cam", rate_hz=30.0)
    assert quality([gps, camera], delivered=False).value == 0.9
    delivered(gps)
    assert quality([gps, camera], delivered=True).value == 0.45


def test_the_worst_lane_is_a_required_one() -> None:
    gps, camera = lane("gps", 100, 90), lane("cam", 100, 10)
    camera.required = False
    found = quality([gps, camera], delivered=False)
    assert (found.value, found.least, found.least_lane) == (0.5, 0.9, "gps")


def test_a_lane_of_events_counts_for_no_quality() -> None:
    gps, raw = lane("gps", 100, 90), lane("gps-raw", 100, 10)
    raw.rate_hz = 0.0
    assert quality([gps, raw], delivered=False).value == 0.9
    assert quality([raw], delivered=False).value == 1.0


def test_lanes_count_by_their_weight() -> None:
    gps, imu = lane("gps", 100, 100), lane("imu", 100, 0)
    imu.weight = 0.25
    assert quality([gps, imu], delivered=False).value == 0.8


@pytest.mark.parametrize("weight", [1e-14, 1e308])
def test_no_weight_hides_a_loss_or_makes_the_quality_no_number(weight: float) -> None:
    gps, imu, camera = lane("gps", 100, 100), lane("imu", 100, 100), lane("cam", 100, 0)
    gps.weight = imu.weight = max(weight, 1.0)
    camera.weight = min(weight, 1.0)
    found = quality([gps, imu, camera], delivered=False)
    assert (found.value, found.lower, found.least) == (0.9999, 0.9999, 0.0)


def test_rows_that_say_nothing_are_no_loss() -> None:
    gps = lane("gps", 100, 100)
    gps.invalid = 40
    assert (quality([gps], delivered=False).value, gps.validity) == (1.0, 0.6)
    assert gps.imbalances() == []
    assert LaneLedger("gps").validity is None
