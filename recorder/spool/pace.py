"""How often the spool commits, how long commits take, and what that promises.

A power cut costs at most what was acquired since the last commit began that ended: the interval
and the commit in flight. On a card that is slow to flush, committing less often leaves it time to
work; the interval grows with the commits' time, within the window that the configuration allows.

What is promised is never less than what was: a commit that came late, or failed and was made good
later, counts with all the time that lay between. While none succeeds, the life sign's promise grows
with the time; of a commit in flight one process can tell only behind it.
"""

from __future__ import annotations

from typing import Any

from recorder.clock import boot_ns

#: Upper bounds of the classes of the histogram of commit times, in ms; the last class has none.
CLASSES_MS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)
#: A commit takes at most this share of the time; a slow one is forgotten by a tenth with each.
_SHARE, _FORGET = 0.5, 0.9


class Pace:
    """Keeps the time between two commits, and the account of them.

    Args:
        interval_ns: the time between two commits while the disk is quick.
        window_ns: what interval and commit together may grow to.
    """

    def __init__(self, interval_ns: int, window_ns: int) -> None:
        self._least_ns = interval_ns
        self._window_ns = window_ns
        self._slow_ns = 0.0
        self._counts = [0] * (len(CLASSES_MS) + 1)
        self._slowest_ns = 0
        self._total_ns = 0
        #: When the last commit began that is durable, and the longest of late from one such moment
        #: to the end of the next commit.
        self._durable_ns = boot_ns()
        self._exposed_ns = 0.0

    @property
    def interval_ns(self) -> int:
        """Time from the beginning of one commit to that of the next, as it is in force."""
        wanted = max(self._least_ns, self._slow_ns / _SHARE)
        allowed = max(self._least_ns, self._window_ns - self._slow_ns)
        return round(min(wanted, allowed))

    @property
    def promise_ns(self) -> int:
        """What a power cut may cost now.

        The interval in force and the slowest commit of late, or what was longer of late, or what
        waits longer now.
        """
        usual_ns = self.interval_ns + round(self._slow_ns)
        return max(usual_ns, round(self._exposed_ns), boot_ns() - self._durable_ns)

    def over(self, began_ns: int) -> None:
        """Account for a commit that is durable now.

        Args:
            began_ns: CLOCK_BOOTTIME at which it began to take from the rings.
        """
        now_ns = boot_ns()
        self._exposed_ns = max(now_ns - self._durable_ns, self._exposed_ns * _FORGET)
        self._durable_ns = began_ns
        self.note(now_ns - began_ns)

    def note(self, took_ns: int) -> None:
        """Account for how long a commit took."""
        self._slow_ns = max(took_ns, self._slow_ns * _FORGET)
        self._slowest_ns = max(self._slowest_ns, took_ns)
        self._total_ns += took_ns
        place = sum(took_ns > bound * 1_000_000 for bound in CLASSES_MS)
        self._counts[place] += 1

    def to_dict(self) -> dict[str, Any]:
        """Return the account as the life sign shows it: times in ms, counts by upper bound."""
        bounds = [str(one) for one in CLASSES_MS] + ["inf"]
        return {
            "count": sum(self._counts),
            "total_ms": self._total_ns / 1e6,
            "slowest_ms": self._slowest_ns / 1e6,
            "histogram_ms": dict(zip(bounds, self._counts, strict=True)),
            "interval_ms": self.interval_ns / 1e6,
            "promise_ms": self.promise_ns / 1e6,
        }
