from __future__ import annotations

import itertools
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from recorder.numbers import Numbers

RANGES = st.builds(
    lambda first, step, count: range(first, first + step * count, step),
    st.integers(-(2**60), 2**60),
    st.integers(1, 10**9),
    st.integers(1, 600),  # on both sides of where Arrow makes them
)
LISTS = st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=5)


@given(st.lists(RANGES | LISTS, min_size=1, max_size=6))
def test_numbers_come_out_as_they_were_added(found: list[Sequence[int]]) -> None:
    numbers = Numbers()
    for one in found:
        numbers.add(one)
    assert numbers.laid_out().to_pylist() == list(itertools.chain(*found))


@given(RANGES, st.lists(st.integers(0, 600), max_size=4))
def test_a_run_that_was_cut_comes_out_whole(run: range, cuts: list[int]) -> None:
    numbers = Numbers()
    for begin, end in itertools.pairwise([0, *sorted(cuts), len(run)]):
        if run[begin:end]:
            numbers.add(run[begin:end])
    assert numbers.laid_out().to_pylist() == list(run)
