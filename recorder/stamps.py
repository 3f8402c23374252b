"""UTC stamps of rows that leave the vehicle: mapped from boot time, strictly rising."""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

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
        found = self._mapped(boot_ns, period_ns, rows)
        if found[0] <= self._last_ns or (rows > 1 and period_ns < _SURE_PERIOD_NS):
            found = list(found)
            for index, stamp in enumerate(found):
                self._last_ns = found[index] = max(stamp, self._last_ns + 1)
        self._last_ns = found[-1]
        return found

    def _mapped(self, boot_ns: int, period_ns: int, rows: int) -> Sequence[int]:
        last_boot_ns = boot_ns + (rows - 1) * period_ns
        index = bisect.bisect_right(self._knot_boots, boot_ns)
        if (
            rows == 1
            or period_ns <= 0
            or index != bisect.bisect_right(self._knot_boots, last_boot_ns)
        ):
            return [self._mapping.utc_ns(boot_ns + i * period_ns) for i in range(rows)]
        at, utc = self._mapping.knots[max(index - 1, 0)]
        rise = run = 1  # outside of the knots time passes at rate 1
        if 0 < index < len(self._knot_boots):
            next_at, next_utc = self._mapping.knots[index]
            rise, run = next_utc - utc, next_at - at
        if rise == run:
            first = utc + boot_ns - at
            return range(first, first + rows * period_ns, period_ns)
        return [utc + (b - at) * rise // run for b in range(boot_ns, last_boot_ns + 1, period_ns)]
