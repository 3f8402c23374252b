"""How many samples a lane's times alone say were due, whatever its counts say."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from recorder.record import Header
    from recorder.schema import LaneSchema

#: The slot tracker's own error, in samples, and as a share of what was due.
_SLACK, _SLACK_SHARE = 3, 0.002
#: What a slow device owes is booked by the second.
_OWED_S = 1.0


class Clockwork:
    """Follows the stamps of one ring epoch.

    Samples that came late, of a silence that had been counted as absent, are passed over: their
    times lie before what was counted already. They take back what the record before counted, so of
    the very first record nobody can tell.

    Args:
        schema: the lane's contract.
    """

    def __init__(self, schema: LaneSchema) -> None:
        self._rate_hz, self._tolerance = schema.rate_hz, schema.rate_tolerance
        self._absent: int | None = None
        #: The first record and the last, without one that ends a silence and may be late too.
        self._sure: tuple[Header | None, Header | None] | None = None
        self._first: Header | None = None
        self._last: Header | None = None
        self._even_ns = self._even_rows = self._breaks = 0

    def record(self, header: Header) -> None:
        """Take the next record, of any kind."""
        was_absent, self._absent = self._absent, header.losses.absent
        if was_absent is None:
            return
        if header.rows and self._absent < was_absent:
            self._breaks += 1
            self._first, self._last = self._sure or (self._first, self._last)
        elif header.rows and (self._first or self._absent == was_absent):
            sure = self._sure or (self._first, self._last)
            self._sure = sure if self._absent > was_absent else None
            self._take(header)

    def _take(self, header: Header) -> None:
        last = self._last
        self._first = self._first or header
        self._last = header
        if last is None:
            return
        if header.seqno == last.next_seqno and header.losses == last.losses:
            self._even_ns += header.boot_ns - last.boot_ns
            self._even_rows += last.rows
        else:
            self._breaks += 1

    def due(self) -> tuple[int, int, str]:
        """Return the samples due between first and last, those counted, and what is wrong if any.

        Without a rate, or with less than two records: (0, 0, "").
        """
        first, last = self._sure or (self._first, self._last)
        if first is None or last is None or first is last or not self._rate_hz:
            return 0, 0, ""
        counted = last.expected - first.expected + first.rows
        period_ns, slack = self._period_ns()
        by_time = round((last.last_boot_ns - first.boot_ns) / period_ns) + 1
        slack += _SLACK + self._breaks + by_time * _SLACK_SHARE
        is_fast = self._even_rows and self._even_ns / self._even_rows < period_ns
        if abs(counted - by_time) <= slack or (is_fast and counted >= by_time):
            return by_time, counted, ""
        told = f"{counted} were due by the counts, {by_time} by the times of the rows"
        return by_time, counted, told

    def _period_ns(self) -> tuple[float, float]:
        """Return the period, within the contract's bounds, and what a slower device may owe."""
        contract_ns = 1e9 / self._rate_hz
        most_ns = contract_ns * (1 + self._tolerance)
        own_ns = self._even_ns / self._even_rows if self._even_rows else contract_ns
        owed = self._rate_hz * _OWED_S if own_ns > most_ns else 0.0
        return min(max(own_ns, contract_ns / (1 + self._tolerance)), most_ns), owed
