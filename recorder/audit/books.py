"""One lane's counts as an audit finds them, and the arithmetic over them, from the specification.

    expected = acquired + lost_source + lost_absent + lost_broken
    acquired = stored + in_ring + lost_ring + lost_damaged + lost_write
    stored   = delivered + pending + lost_evicted + lost_crc + lost_rejected

Quality is the mean over the lanes, by weight, of held / expected (delivered / expected in a
terminal state), cut to four decimals; exact, in fractions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

EQUATIONS = {
    "expected": ("acquired", "lost_source", "lost_absent", "lost_broken"),
    "acquired": ("stored", "in_ring", "lost_ring", "lost_damaged", "lost_write"),
    "stored": ("delivered", "pending", "lost_evicted", "lost_crc", "lost_rejected"),
}
KEYS = tuple(dict.fromkeys((*EQUATIONS, *(one for parts in EQUATIONS.values() for one in parts))))
#: Stored samples that say that the device knew nothing; beside the ledger, for they are no loss.
INVALID = "invalid"
LANE_LOSSES = ("lost_source", "lost_absent", "lost_broken", "lost_ring")
#: More than any count.
UNBOUNDED = 1 << 62
_DECIMALS = 10_000


@dataclass
class Books:
    """Counts of samples; a key that is missing cannot be told from the rows.

    Args:
        counts: by key.
        most: of those that are known only within bounds, the upper one; `counts` has the lower.
    """

    counts: dict[str, int] = field(default_factory=dict)
    most: dict[str, int] = field(default_factory=dict)

    def add(self, key: str, samples: int) -> None:
        """Count samples."""
        self.counts[key] = self.counts.get(key, 0) + samples

    def bounds(self, key: str) -> tuple[float, float]:
        """Return the least and the most that a count can be."""
        if key not in self.counts:
            return 0, math.inf
        return self.counts[key], self.most.get(key, self.counts[key])

    def settle_overdue(self) -> None:
        """Let what came late, and the session before counted as absent, be due in this one."""
        for counts in (self.most, self.counts):
            overdue = -counts.get("lost_absent", 0)
            if overdue > 0:
                counts["expected"] = counts.get("expected", self.counts["expected"]) + overdue
                counts["lost_absent"] = 0

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values: a number, or the least and the most (None: nobody knows)."""
        return {key: self._told(key) for key in KEYS if key in self.counts}

    def _told(self, key: str) -> int | list[int | None]:
        least, most = self.counts[key], self.most.get(key, self.counts[key])
        if least == most:
            return least
        return [least, None if most >= UNBOUNDED else most]


def unbalanced(lane: Mapping[str, Any]) -> list[str]:
    """Return the equations that a lane's recorded counts do not fulfil, in words."""
    found: list[str] = []
    for left, parts in EQUATIONS.items():
        told, total = lane[left], sum(lane[one] for one in parts)
        if told != total:
            found.append(f"{lane['name']}: {left} {told} is not {' + '.join(parts)}, {total}")
    return found


def quality(
    record: Mapping[str, Any], lanes: Sequence[tuple[dict[str, Any], int, int]]
) -> dict[str, Any]:
    """Work a recording's quality out.

    Args:
        record: says the state and what nobody can account for.
        lanes: each lane's contract (as in the record), the samples that were due, and those that
            are held, or delivered in a terminal state.
    """
    is_terminal = record["state"] not in ("waiting", "open")
    counted = [
        one
        for one in lanes
        if one[0]["rate_hz"] > 0 and (one[1] or (one[0]["required"] and is_terminal))
    ]
    is_empty = not any(contract["stored"] for contract, _, _ in lanes)
    if is_empty and is_terminal:
        worst = counted[0][0]["name"] if counted else ""
        return _told(Fraction(0), "no_data", Fraction(0), worst, Fraction(0))
    if is_empty and not counted:
        return _told(Fraction(9, 10), "default", Fraction(0), "", Fraction(0))
    basis = "delivered" if is_terminal else "held"
    if not counted:
        return _told(Fraction(1), basis, Fraction(1), "", Fraction(1))
    required = [one for one in counted if one[0]["required"]] or counted
    worst_lane, due, have = min(required, key=lambda one: _share(one[1], one[2]))
    lower = [
        (contract, due + math.ceil(contract["rate_hz"] * record["unaccounted_max_ns"] / 1e9), have)
        for contract, due, have in counted
    ]
    return _told(_mean(counted), basis, _share(due, have), worst_lane["name"], _mean(lower))


def _mean(lanes: Sequence[tuple[dict[str, Any], int, int]]) -> Fraction:
    weights = [Fraction(contract["weight"]) for contract, _, _ in lanes]
    shares = [_share(due, have) for _, due, have in lanes]
    return sum((w * c for w, c in zip(weights, shares, strict=True)), Fraction(0)) / sum(weights)


def _share(due: int, have: int) -> Fraction:
    return Fraction(have, due) if due else Fraction(0)


def _told(
    value: Fraction, basis: str, least: Fraction, lane: str, lower: Fraction
) -> dict[str, Any]:
    return {
        "quality": _cut(value),
        "quality_basis": basis,
        "quality_min": _cut(least),
        "quality_min_lane": lane,
        "quality_lower": _cut(lower),
    }


def _cut(value: Fraction) -> float:
    return math.floor(value * _DECIMALS) / _DECIMALS
