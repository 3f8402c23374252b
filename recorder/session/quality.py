"""Quality: how complete a session is, from its ledger alone.

Source: ATLAS Advanced Streams, Sessions: 0.0 is no useful data, 1.0 complete, 0.9 while unknown.
"""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from recorder.session.ledger import LaneLedger

DEFAULT_QUALITY = 0.9


@dataclass(frozen=True)
class Quality:
    """A session's quality and where it comes from.

    Args:
        value: 0.0 to 1.0, floored to 4 decimals: 1.0 only when nothing at all is missing.
        basis: ``default`` (nothing came, and nothing was due so far), ``no_data``, ``held`` or
            ``delivered``.
        least: completeness of the worst required lane (of any, if none is), floored alike.
        least_lane: that lane's name, empty if there is none.
        lower: `value` if the worst happened in the time that nobody can account for.
    """

    value: float
    basis: str
    least: float
    least_lane: str
    lower: float


def floor4(part: int, whole: int) -> float:
    """Return a share of two counts, cut to 4 decimals, never up.

    >>> floor4(99_999, 100_000), floor4(10**40 - 1, 10**40), floor4(3, 3)
    (0.9999, 0.9999, 1.0)
    """
    return part * 10_000 // whole / 10_000


def quality(lanes: Sequence[LaneLedger], *, delivered: bool, unaccounted_ns: int = 0) -> Quality:
    """Compute a session's quality.

    Each required lane counts by its weight, whatever its rate, so that an IMU at 1 kHz cannot hide
    a dead camera. An optional lane counts once it had anything to give; one of events, which has no
    rate, never: nobody knows how many were due.

    Args:
        lanes: the session's accounts.
        delivered: count what the destination holds (a terminal state), not what is still held.
        unaccounted_ns: time at the end of which nobody knows what was acquired.

    Returns:
        Mean over lanes of held / expected (or delivered / expected), and its bounds.
    """
    counted = [lane for lane in lanes if _counts(lane, delivered=delivered)]
    is_empty = not any(lane.stored for lane in lanes)
    if is_empty and delivered:
        return Quality(0.0, "no_data", 0.0, counted[0].name if counted else "", 0.0)
    if is_empty and not counted:  # nothing was due so far
        return Quality(DEFAULT_QUALITY, "default", 0.0, "", 0.0)
    if not counted:  # nothing but events
        return Quality(1.0, "delivered" if delivered else "held", 1.0, "", 1.0)
    shares = [(one.weight, *_share(one, delivered=delivered)) for one in counted]
    later = [
        (one.weight, *_share(one, delivered=delivered, unaccounted_ns=unaccounted_ns))
        for one in counted
    ]
    required = [one for one in counted if one.required] or counted
    worst = min(required, key=lambda one: operator.truediv(*_share(one, delivered=delivered)))
    return Quality(
        _mean4(shares),
        "delivered" if delivered else "held",
        floor4(*_share(worst, delivered=delivered)),
        worst.name,
        _mean4(later),
    )


def _mean4(shares: Sequence[tuple[float, int, int]]) -> float:
    """Return the mean of shares, given as weight and two counts, cut to 4 decimals.

    In whole numbers, as a weight is two of them: so a loss is never rounded away, however little
    its lane weighs.
    """
    weights = [weight.as_integer_ratio() for weight, _, _ in shares]
    common = math.lcm(*(below * one[2] for (_, below), one in zip(weights, shares, strict=True)))
    part = whole = 0
    for (above, below), (_, have, due) in zip(weights, shares, strict=True):
        part += above * have * (common // (below * due))
        whole += above * (common // below)
    return floor4(part, whole)


def _counts(lane: LaneLedger, *, delivered: bool) -> bool:
    """Tell whether a lane counts: it was due, or it is required and nothing will come any more."""
    return lane.rate_hz > 0 and (lane.expected > 0 or (lane.required and delivered))


def _share(lane: LaneLedger, *, delivered: bool, unaccounted_ns: int = 0) -> tuple[int, int]:
    """Return how many samples of a lane are there, and how many were due: none of one if none."""
    due = lane.expected + math.ceil(lane.rate_hz * unaccounted_ns / 1e9)
    have = lane.delivered if delivered else lane.held + lane.in_ring
    return (have, due) if due else (0, 1)
