"""Interleaved runs, their medians, and what a median is held against.

A machine's speed drifts from minute to minute: ours and its peer take turns, so that both see the
same minutes, and a ratio of the two medians is told.
"""

from __future__ import annotations

import dataclasses
import statistics
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    Clock = Callable[[], float]

RUNS = 7
_FORM = "{:64} {:>10} {:>10} {:>8} {:>8}  {}"


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
        return self.ours if self.peer is None else self.ours / self.peer

    @property
    def is_kept(self) -> bool:
        """Tell whether the budget is kept; true without one."""
        if self.budget is None:
            return True
        return self.compared <= self.budget if self.is_most else self.compared >= self.budget

    @property
    def verdict(self) -> str:
        """Return ``kept`` or ``NOT KEPT``, or nothing without a budget."""
        return "" if self.budget is None else "kept" if self.is_kept else "NOT KEPT"

    def __str__(self) -> str:
        limit = "" if self.budget is None else f"{'<=' if self.is_most else '>='} {self.budget:g}"
        peer = "" if self.peer is None else _number(self.peer)
        ratio = "" if self.peer is None else f"{self.compared:.3g}"
        name = f"{self.what} [{self.unit}]"
        return _FORM.format(name, _number(self.ours), peer, ratio, limit, self.verdict).rstrip()

    def to_dict(self) -> dict[str, Any]:
        """Return the line as plain values."""
        return {**dataclasses.asdict(self), "compared": self.compared, "kept": self.is_kept}


def heading() -> str:
    """Return the line above the figures."""
    return _FORM.format("what", "ours", "peer", "ratio", "budget", "").rstrip()


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def say(text: str) -> None:
    """Tell on standard error what is going on."""
    sys.stderr.write(text)
    sys.stderr.flush()


def interleaved(what: str, *functions: Callable[[], float], runs: int = RUNS) -> tuple[float, ...]:
    """Run the functions in turn, so often each, and return the median of what each returns.

    One turn more comes first and does not count: it pays for memory and files that nobody had
    touched before.
    """
    found: list[list[float]] = [[] for _ in functions]
    say(f"{what} ")
    for turn in range(runs + 1):
        for values, function in zip(found, functions, strict=True):
            value = function()
            if turn:
                values.append(value)
        say("." if turn else "o")
    say("\n")
    return tuple(statistics.median(values) for values in found)


def seconds(function: Callable[[], object], clock: Clock = time.perf_counter) -> float:
    """Return how long a call takes, or with `time.process_time` what it costs."""
    begin_s = clock()
    function()
    return clock() - begin_s
