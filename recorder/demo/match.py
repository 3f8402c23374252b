"""Finds the stored rows again among the samples that a model made: by order, values and time.

The numbers of the two are no help: the recorder counts what it acquired, the model what it made.
Each row goes to another sample, in order, and to none that is further in time than a bound. Of all
such ways the one is taken that leaves the fewest rows without a sample or with wrong values (one
without weighs as two that are wrong), and of these the one with the least sum of time errors.

So a stamp that is off by some samples on a busy machine costs nothing but its time error; a row
whose value was changed still finds its sample and shows as wrong; a row that was stored twice finds
none the second time, because no two rows have the same sample.
"""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WRONG, WITHOUT = 1, 2


class _Way(NamedTuple):
    """One way to place the rows so far; ways are compared by their first two."""

    faults: int
    error_ns: int
    last: int
    placed: tuple[int, int] | None
    before: _Way | None


def match(
    rows_ns: Sequence[int],
    samples_ns: Sequence[int],
    agrees: Callable[[int, int], bool],
    bound_ns: int,
) -> dict[int, int]:
    """Place rows among samples.

    Args:
        rows_ns: times of the rows, in the order of their numbers.
        samples_ns: times of the samples, not decreasing.
        agrees: whether a row (by index) holds what a sample (by index) states.
        bound_ns: no row is placed further from its time.

    Returns:
        Index of the row to index of its sample, both increasing; rows without a sample are missing.

    >>> match([9, 12, 41], [0, 10, 20, 30], lambda row, sample: True, 5)
    {0: 1}
    >>> match([9, 18, 41], [0, 10, 20, 40], lambda row, sample: True, 5)
    {0: 1, 1: 2, 2: 3}
    """
    ways = [_Way(0, 0, -1, None, None)]
    for row, row_ns in enumerate(rows_ns):
        first = bisect.bisect_left(samples_ns, row_ns - bound_ns)
        end = bisect.bisect_right(samples_ns, row_ns + bound_ns)
        # Ways that end before the first sample in question differ only in their cost by now.
        del ways[: max(0, bisect.bisect_left(ways, first, key=_last) - 1)]
        longer = [way._replace(faults=way.faults + WITHOUT) for way in ways]
        for sample in range(first, end):
            # Ways are kept by where they end: the last one that ends before is also the best.
            before = bisect.bisect_left(ways, sample, key=_last) - 1
            if before >= 0:
                longer.append(
                    _placed(ways[before], row, sample, abs(samples_ns[sample] - row_ns), agrees)
                )
        ways = _worth_keeping(longer)
    found: dict[int, int] = {}
    way: _Way | None = ways[-1]
    while way is not None:
        found.update([way.placed] if way.placed else [])
        way = way.before
    return dict(sorted(found.items()))


def _last(way: _Way) -> int:
    return way.last


def _placed(
    before: _Way, row: int, sample: int, error_ns: int, agrees: Callable[[int, int], bool]
) -> _Way:
    faults = before.faults + (0 if agrees(row, sample) else WRONG)
    return _Way(faults, before.error_ns + error_ns, sample, (row, sample), before)


def _worth_keeping(ways: Sequence[_Way]) -> list[_Way]:
    """Leave out each way than which another one is no worse and ends no later."""
    kept: list[_Way] = []
    for way in sorted(ways, key=lambda way: (way.last, way.faults, way.error_ns)):
        if not kept or way[:2] < kept[-1][:2]:
            kept.append(way)
    return kept
