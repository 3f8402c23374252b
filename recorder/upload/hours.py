"""The hours in which the upload may work by itself, by the machine's local time."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import time
    from collections.abc import Iterable


def is_within(hours: Iterable[str], now: time.struct_time) -> bool:
    """Tell whether a time of the day lies in one of the spans.

    Args:
        hours: such as ``22:00-06:00``: the first minute belongs to it, the last does not, and it
            may run over midnight. They were validated when the configuration was read.
        now: local time.

    >>> import time
    >>> at = [time.strptime(one, "%H:%M") for one in ("21:59", "22:00", "05:59", "06:00")]
    >>> [is_within(["22:00-06:00"], one) for one in at]
    [False, True, True, False]
    """
    minute = 60 * now.tm_hour + now.tm_min
    return any(_holds(one, minute) for one in hours)


def _holds(span: str, minute: int) -> bool:
    begin, end = (_minute(one) for one in span.split("-"))
    if begin < end:
        return begin <= minute < end
    return minute >= begin or minute < end


def _minute(text: str) -> int:
    hour, minute = text.split(":")
    return 60 * int(hour) + int(minute)
