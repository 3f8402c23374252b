"""What parts were told of the time stays; later knots only append."""

from __future__ import annotations

import itertools
import json

from hypothesis import given
from hypothesis import strategies as st

from recorder.clock import Mapping
from recorder.record import Anchor
from recorder.stamps import Stamps
from recorder.time_model import TimeModel
from recorder.upload.frozen import STEP_NS, Frozen, is_restated
from recorder.upload.parts import Part, Piece

MS, S = 1_000_000, 1_000_000_000
UTC = 1_790_000_000 * S


def anchor(at_s: float, off_ns: int = 0, source: str = "gps", bound_ns: int = 100 * MS) -> Anchor:
    boot = round(at_s * S)
    return Anchor(boot, boot, UTC + boot + off_ns, bound_ns, source)


def part_of(mapping: Mapping) -> Part:
    pieces = (Piece("a.seg", 1, 2, 3),)
    return Part(0, "imu", "imu", 1, 0, 3, 3, pieces, "sha256:0", mapping, None)


def journalled(mapping: Mapping) -> Mapping:
    entry = json.loads(json.dumps(part_of(mapping).to_entry()))
    return Part.from_entry(entry).mapping


@given(
    offsets=st.lists(st.integers(-90 * MS, 90 * MS), min_size=6, max_size=6),
    parts=st.lists(
        st.tuples(st.integers(0, 60 * S), st.integers(0, 30 * S), st.integers(1, 6)),
        min_size=1,
        max_size=8,
    ),
)
def test_the_same_boot_time_is_the_same_utc_in_every_part_and_after_every_restart(
    offsets: list[int], parts: list[tuple[int, int, int]]
) -> None:
    anchors = [anchor(10 * number + 1, off) for number, off in enumerate(offsets)]
    frozen = Frozen([])
    told: list[Mapping] = []
    for first, span, known in sorted(parts, key=lambda one: one[2]):
        model = TimeModel(anchors[:known])
        mapping = journalled(frozen.extended(model, first, first + span))
        assert mapping == frozen.extended(model, first, first + span)
        assert mapping == Frozen(told).extended(model, first, first + span)
        frozen.keep(mapping)
        told.append(mapping)
    for one, other in itertools.combinations(told, 2):
        begin = max(one.knots[0][0], other.knots[0][0])
        end = min(one.knots[-1][0], other.knots[-1][0])
        for boot in range(begin, end + 1, max((end - begin) // 7, 1)):
            assert abs(one.utc_ns(boot) - other.utc_ns(boot)) <= 1
    for mapping in told:
        utcs = [utc for _, utc in mapping.knots]
        assert utcs == sorted(set(utcs))
        assert [*Stamps(mapping).of(5 * S, 7, 50)] == [
            *Stamps(journalled(mapping)).of(5 * S, 7, 50)
        ]


@given(
    offsets=st.lists(st.integers(-90 * MS, 90 * MS), min_size=4, max_size=10),
    spans=st.lists(st.integers(1, 25 * S), min_size=2, max_size=10),
)
def test_a_lanes_times_rise_from_part_to_part_while_more_becomes_known(
    offsets: list[int], spans: list[int]
) -> None:
    frozen = Frozen([])
    stamps: list[int] = []
    begin = 0
    for number, span in enumerate(spans):
        model = TimeModel([anchor(10 * i, off) for i, off in enumerate(offsets[: number + 1])])
        mapping = frozen.extended(model, begin, begin + span)
        frozen.keep(mapping)
        stamps += Stamps(mapping).of(begin, max(span // 20, 2), 20)
        begin += span + 1_000
    assert all(a < b for a, b in itertools.pairwise(stamps))


def test_behind_what_is_frozen_time_is_led_over_and_the_bound_says_so() -> None:
    frozen = Frozen([])
    frozen.keep(frozen.extended(TimeModel([anchor(0, 80 * MS)]), 0, 20 * S))
    better = TimeModel([anchor(0, 80 * MS), *(anchor(t, 0, "pps", 20_000) for t in (20, 30, 40))])
    part = frozen.extended(better, 20 * S, 40 * S)
    assert part.knots[0] == (20 * S, UTC + 20 * S + 80 * MS)
    assert part.utc_ns(40 * S) == UTC + 40 * S
    rates = [(d - b) / (c - a) for (a, b), (c, d) in itertools.pairwise(part.knots)]
    assert 0.9 <= min(rates) <= max(rates) <= 1.1
    assert part.uncertainty_ns is not None
    assert 80 * MS <= part.uncertainty_ns < 81 * MS
    assert (part.source, frozen.extended(better, 31 * S, 40 * S).uncertainty_ns) == ("pps", 21_250)


def test_rows_from_before_what_is_frozen_are_led_to_it() -> None:
    frozen = Frozen([])
    frozen.keep(frozen.extended(TimeModel([anchor(100, 50 * MS)]), 100 * S, 120 * S))
    model = TimeModel([anchor(at) for at in range(0, 200, 10)])
    part = frozen.extended(model, 0, 150 * S)
    assert (part.utc_ns(0), part.utc_ns(150 * S)) == (UTC, UTC + 150 * S)
    assert part.utc_ns(110 * S) == UTC + 110 * S + 50 * MS


def test_a_time_that_was_wrong_by_more_than_a_second_is_restated() -> None:
    frozen = Frozen([])
    first = frozen.extended(TimeModel([anchor(0, 30 * S, "none", 0)]), 0, 20 * S)
    frozen.keep(first)
    assert first.uncertainty_ns is None
    model = TimeModel([anchor(0, 30 * S, "none", 0), anchor(15)])
    second = frozen.extended(model, 10 * S, 30 * S)
    assert is_restated(first, second)
    assert (second.source, second.utc_ns(10 * S)) == ("gps", UTC + 10 * S)
    frozen.keep(second)
    third = frozen.extended(model, 0, 5 * S)
    assert abs(third.utc_ns(5 * S) - UTC - 5 * S) < STEP_NS // 1000
