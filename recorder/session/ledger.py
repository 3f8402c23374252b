"""The ledger: for each lane of a session, what was due, what is held, and what was lost to what.

Three equations hold at every heartbeat:

    expected = acquired + lost_source + lost_absent + lost_broken
    acquired = stored + in_ring + lost_ring + lost_damaged + lost_write
    stored   = delivered + pending + lost_evicted + lost_crc + lost_rejected

Every term is counted where it happens; none is computed from another. All are samples, cumulative.
What nobody can count (what was acquired between the last heartbeat and a loss of power) is no term:
the session bounds it (`unaccounted_max_ns`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

#: Every cause a sample can be lost to, in the order of its way, with the words a user reads.
CAUSES = {
    "lost_source": "lost by the device",
    "lost_absent": "device or its process not there",
    "lost_broken": "came and could not be understood",
    "lost_ring": "ring full, or lost with the power",
    "lost_damaged": "did not verify in the ring",
    "lost_write": "could not be written to disk",
    "lost_evicted": "evicted for space",
    "lost_crc": "did not verify on disk",
    "lost_rejected": "refused by the server",
}


@dataclass
class LaneLedger:
    """One lane's account.

    Args:
        name: the lane.
        required: whether its absence lowers the quality.
        weight: its share in the quality.
        rate_hz: the contract; 0: events, of which those are due that came or that numbers show.
        expected: samples that the device's time says were due.
        acquired: samples that got a sequence number.
        stored: samples that the spool made durable, ever.
        in_ring: samples between the two.
        delivered: samples that the destination holds for certain.
        pending: stored samples that are not delivered yet.
        first_boot_ns: time of the first stored sample, or None.
        last_boot_ns: time of the last stored sample, or None.
        invalid: stored samples that say that the device knew nothing (a receiver without a fix);
            beside the ledger, for they are no loss.
    """

    name: str
    required: bool = True
    weight: float = 1.0
    rate_hz: float = 0.0
    expected: int = 0
    acquired: int = 0
    stored: int = 0
    in_ring: int = 0
    delivered: int = 0
    pending: int = 0
    lost_source: int = 0
    lost_absent: int = 0
    lost_broken: int = 0
    lost_ring: int = 0
    lost_damaged: int = 0
    lost_write: int = 0
    lost_evicted: int = 0
    lost_crc: int = 0
    lost_rejected: int = 0
    first_boot_ns: int | None = None
    last_boot_ns: int | None = None
    invalid: int = 0

    @property
    def validity(self) -> float | None:
        """Share of the stored samples that say something, 0.0 to 1.0; None if none was stored."""
        return (self.stored - self.invalid) / self.stored if self.stored else None

    @property
    def lost(self) -> dict[str, int]:
        """Every cause that took at least one sample, with how many."""
        return {cause: count for cause in CAUSES if (count := getattr(self, cause))}

    @property
    def held(self) -> int:
        """Samples that a consumer has or can still get."""
        return self.delivered + self.pending

    def imbalances(self) -> list[str]:
        """Return the equations that do not hold, each with both its sides; empty if all do."""
        source = self.lost_source + self.lost_absent + self.lost_broken
        taken = self.lost_ring + self.lost_damaged + self.lost_write
        kept = self.lost_evicted + self.lost_crc + self.lost_rejected
        sides = {
            "expected": (self.expected, self.acquired + source),
            "acquired": (self.acquired, self.stored + self.in_ring + taken),
            "stored": (self.stored, self.held + kept),
        }
        return [f"{self.name}: {key} {a} != {b}" for key, (a, b) in sides.items() if a != b]

    def to_dict(self) -> dict[str, Any]:
        """Return the account as plain values."""
        return dict(vars(self))

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> LaneLedger:
        """Read what `to_dict` made; keys of a later version are passed over."""
        return cls(**{key: stored[key] for key in cls.__dataclass_fields__ if key in stored})
