"""Many runs of rows, each by rising time, as one: a few windows of them in memory, never a run.

A run is opened only when the rows before its first time are out. If more than `MOST_OPEN` runs
overlap at one instant, they are first merged, so many at a time, into longer runs on disk, until no
more overlap; so at most `MOST_OPEN` windows and their merged copy are in memory, whatever a topic
holds.
"""

from __future__ import annotations

import bisect
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

TIME = "timestamp_ns"
#: What is read of a run at once; one larger row is a window of its own.
WINDOW_BYTES = 4 * 1024 * 1024
MOST_OPEN = 16


@dataclass(frozen=True)
class Run:
    """Rows by rising time.

    Args:
        first_ns: no row is earlier.
        last_ns: no row is later.
        windows: opens the run and gives it table by table; all of one merge have one schema, or
            schemas of which each has columns of its own that are null elsewhere.
    """

    first_ns: int
    last_ns: int
    windows: Callable[[], Iterator[pa.Table]]


def window_rows(rows: int, size_bytes: int) -> int:
    """How many of so many rows make a window, at least one."""
    return max(1, rows * WINDOW_BYTES // max(size_bytes, 1))


def in_order(runs: Iterable[Run]) -> Iterator[pa.Table]:
    """Tables that together hold all rows of the runs by rising time.

    Rows of equal time keep the order of their run; between runs it is not defined.
    """
    waiting = deque(sorted(runs, key=lambda run: run.first_ns))
    heads: list[_Head] = []
    while heads or waiting:
        while waiting and (not heads or waiting[0].first_ns <= _certain_ns(heads)):
            head = _Head(waiting.popleft())
            heads += [head] if head.refill() else []
        if heads:
            limit_ns = _certain_ns(heads)
            yield _merged([head.take(limit_ns) for head in heads])
            heads = [head for head in heads if head.refill()]


def shallow(runs: Sequence[Run], spill: Callable[[Iterator[pa.Table]], Run]) -> Sequence[Run]:
    """Runs with the same rows of which at most `MOST_OPEN` overlap.

    Args:
        runs: in any order.
        spill: writes rows away and gives them as a run.
    """
    while _depth(runs) > MOST_OPEN:
        ordered = sorted(runs, key=lambda run: run.first_ns)
        groups = [ordered[n : n + MOST_OPEN] for n in range(0, len(ordered), MOST_OPEN)]
        runs = [spill(in_order(group)) for group in groups]
    return runs


class _Head:
    """An open run, with what is left of its current window."""

    def __init__(self, run: Run) -> None:
        self._windows = run.windows()
        self._rows: pa.Table | None = None

    @property
    def last_ns(self) -> int:
        """Time of the window's last row: whatever comes later in the run is not earlier."""
        assert self._rows is not None
        return int(self._rows.column(TIME)[-1].as_py())

    def refill(self) -> bool:
        """Make sure that there are rows; False at the run's end."""
        while self._rows is None or not self._rows.num_rows:
            self._rows = next(self._windows, None)
            if self._rows is None:
                return False
        return True

    def take(self, limit_ns: int) -> pa.Table:
        """Take the rows that are not later than a time."""
        assert self._rows is not None
        times = self._rows.column(TIME)
        rows = range(self._rows.num_rows)
        count = bisect.bisect_right(rows, limit_ns, key=lambda row: times[row].as_py())
        taken, self._rows = self._rows.slice(0, count), self._rows.slice(count)
        return taken


def _certain_ns(heads: Iterable[_Head]) -> int:
    """Up to which time no row is missing in the windows."""
    return min(head.last_ns for head in heads)


def _merged(pieces: Iterable[pa.Table]) -> pa.Table:
    with_rows = [piece for piece in pieces if piece.num_rows]
    if len(with_rows) == 1:
        return with_rows[0]
    rows = pa.concat_tables(with_rows, promote_options="default")
    return rows.take(pc.sort_indices(rows.column(TIME)))  # stable


def _depth(runs: Iterable[Run]) -> int:
    """How many runs overlap at most."""
    edges = [(run.first_ns, 1) for run in runs] + [(run.last_ns + 1, -1) for run in runs]
    depth = deepest = 0
    for _, step in sorted(edges):
        depth += step
        deepest = max(deepest, depth)
    return deepest
