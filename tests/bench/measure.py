"""Interleaved runs and their medians: a machine's speed drifts, a ratio of one run does not."""

from __future__ import annotations

import statistics
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Figure:
    """One line of the bench.

    Args:
        what: what was measured.
        ours: median of ours.
        peer: median of the peer's, or None.
        unit: of both.
        budget: least (or most) ratio ours / peer, or least value without a peer; None: no budget.
        is_most: the budget is an upper limit.
    """

    what: str
    ours: float
    peer: float | None
    unit: str
    budget: float | None = None
    is_most: bool = False

    @property
    def compared(self) -> float:
        """Return what the budget speaks of: the ratio, or the value where there is no peer."""
        return self.ours / self.peer if self.peer else self.ours

    @property
    def is_kept(self) -> bool:
        """Tell whether the budget is kept; true without one."""
        if self.budget is None:
            return True
        return self.compared <= self.budget if self.is_most else self.compared >= self.budget

    def __str__(self) -> str:
        limit = "" if self.budget is None else f"{'<=' if self.is_most else '>='} {self.budget:g}"
        peer = "" if self.peer is None else f"{self.peer:12.4g}"
        ratio = "" if self.peer is None else f"{self.compared:8.3g}"
        verdict = "" if self.budget is None else ("kept" if self.is_kept else "NOT KEPT")
        name = f"{self.what} [{self.unit}]"
        return f"{name:58} {self.ours:12.4g} {peer:12} {ratio:8} {limit:>9} {verdict}"


def interleaved(runs: int, *functions: Callable[[], float]) -> list[float]:
    """Run the functions in turn, so often each, and return the median of what each returns."""
    found: list[list[float]] = [[] for _ in functions]
    for turn in range(runs):
        for values, function in zip(found, functions, strict=True):
            values.append(function())
        sys.stderr.write(f"\r  run {turn + 1} of {runs} ")
        sys.stderr.flush()
    sys.stderr.write("\r" + " " * 20 + "\r")
    return [statistics.median(values) for values in found]


def seconds(function: Callable[[], object]) -> float:
    """Return how long a call takes."""
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin
