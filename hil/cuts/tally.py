"""The figures of all cuts and boots."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.powercut.judge import Verdict


@dataclass
class Tally:
    """What was found; rows, or cuts where it says so."""

    cuts: int = 0
    not_clean: int = 0
    lost: int = 0
    doubled: int = 0
    unaccounted: int = 0
    wrong: int = 0
    torn_tails: int = 0
    too_long: int = 0
    during: Counter[str] = field(default_factory=Counter)
    loss_ns: int = 0
    promised_ns: int = 0
    excess_ns: int | None = None
    late_ns: int = 0
    boots: int = 0

    def add(self, one: Verdict, late_ns: int) -> None:
        """Count one cut.

        Args:
            one: what was found.
            late_ns: so long it takes at most from a sensor to its ring, where the promise begins.
        """
        self.cuts += 1
        self.not_clean += bool(one.problems)
        self.lost += one.lost
        self.doubled += one.doubled
        self.unaccounted += one.unaccounted
        self.wrong += one.wrong
        self.torn_tails += one.is_torn
        self.during.update(one.during)
        self.late_ns = max(self.late_ns, late_ns)
        if one.promised_ns is not None and one.loss_ns > self.loss_ns:
            self.loss_ns, self.promised_ns = one.loss_ns, one.promised_ns
        if one.excess_ns is not None:
            self.too_long += one.excess_ns > late_ns
            self.excess_ns = max(one.excess_ns, self.excess_ns or one.excess_ns)

    def lines(self) -> list[str]:
        """Return the last lines of the bench."""
        during = ", ".join(f"{what} {count}" for what, count in sorted(self.during.items()))
        return [
            f"cuts                   {self.cuts}, not clean {self.not_clean}",
            f"committed rows lost    {self.lost}",
            f"rows doubled           {self.doubled}",
            f"rows unaccounted       {self.unaccounted}",
            f"rows with wrong bytes  {self.wrong}",
            f"torn tails seen        {self.torn_tails}",
            f"cuts during            {during}",
            f"longest loss           {self.loss_ns / 1e6:.0f} ms, promised there"
            f" {self.promised_ns / 1e6:.0f} ms; most over a promise"
            f" {(self.excess_ns or 0) / 1e6:.0f} ms (over {self.late_ns / 1e6:.0f}, as late as the"
            f" emulated machine was: {self.too_long} cuts)",
            f"re-boots               {self.boots}, each with its orphan abandoned and uploaded",
        ]
