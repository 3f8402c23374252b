"""UTC stamps of rows that leave the vehicle: mapped from boot time, strictly rising."""

from __future__ import annotations

import bisect
import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from recorder.clock import Mapping

# Clocks differ by less than 1 %: with a longer period no two rows of a record share a nanosecond.
_SURE_PERIOD_NS = 2


class Stamps:
    """UTC of row after row, strictly rising.

    Args:
        mapping: boot time to UTC.
        after_ns: the first is later than this, if given.
    """

    def __init__(self, mapping: Mapping, after_ns: int | None = None) -> None:
        self._mapping = mapping
        self._knot_boots = [at for at, _ in mapping.knots]
        self._last_ns = -(2**63) if after_ns is None else after_ns

    def of(self, boot_ns: int, period_ns: int, rows: int) -> Sequence[int]:
        """Return the UTC of `rows` rows that begin at a boot time, in ns.

        Equal to `Mapping.utc_ns` of each row's boot time wherever that rises.
        """
        first, *more = self.pieces(boot_ns, period_ns, rows)
        return [*first, *itertools.chain(*more)] if more else first

    def pieces(self, boot_ns: int, period_ns: int, rows: int) -> Iterator[Sequence[int]]:
        """Yield the same in pieces, each between two knots of the mapping."""
        while rows:
            index = bisect.bisect_right(self._knot_boots, boot_ns)
            count = rows
            if period_ns > 0 and index < len(self._knot_boots):
                count = min(rows, -((boot_ns - self._knot_boots[index]) // period_ns))
            yield self._rising(self._mapped(boot_ns, period_ns, count, index), period_ns)
            boot_ns += count * period_ns
            rows -= count

    def _rising(self, found: Sequence[int], period_ns: int) -> Sequence[int]:
        if found[0] <= self._last_ns or (len(found) > 1 and period_ns < _SURE_PERIOD_NS):
            found = list(found)
            for index, stamp in enumerate(found):
                self._last_ns = found[index] = max(stamp, self._last_ns + 1)
        self._last_ns = found[-1]
        return found

    def _mapped(self, boot_ns: int, period_ns: int, rows: int, index: int) -> Sequence[int]:
        if rows == 1 or period_ns <= 0:
            return [self._mapping.utc_ns(boot_ns + i * period_ns) for i in range(rows)]
        at, utc = self._mapping.knots[max(index - 1, 0)]
        rise = run = 1  # outside of the knots time passes at rate 1
        if 0 < index < len(self._knot_boots):
            next_at, next_utc = self._mapping.knots[index]
            rise, run = next_utc - utc, next_at - at
        begin, end = boot_ns - at, boot_ns - at + rows * period_ns
        if rise == run:
            return range(utc + begin, utc + end, period_ns)
        return [utc + since * rise // run for since in range(begin, end, period_ns)]
