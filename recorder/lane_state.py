"""Where a lane stands: the counts that its ring keeps beside the records.

Bytes, little-endian, behind the 8 bytes of the head's generation (`recorder.ring`): position, next
sequence number and expected samples (unsigned, 8 bytes each); time of the last slot, period, the
device's counter and the time of the end (signed, 8 bytes each); the four loss counts of
`recorder.record`, the slots of a silence, and a zero.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from recorder import record

_STATE = struct.Struct("<QQQqqqq6Q")
STATE_BYTES = _STATE.size
NO_COUNTER = -(2**63)


@dataclass(frozen=True)
class LaneState:
    """Where a lane stands; kept in the ring so that its next incarnation goes on from there.

    Args:
        position: bytes written since the epoch began.
        seqno: number of the next sample.
        expected: samples that the device had to give since the epoch began.
        boot_ns: time of the last sample, 0 if there was none.
        period_ns: the device's measured period, 0 if it is not known.
        counter: the device's own number of the last sample, or `NO_COUNTER`.
        ended_boot_ns: when the lane was told to end, if it ended on request; 0 while it runs and
            after it died.
        losses: what was lost since the epoch began.
        silent: slots of the newest silence, among those lost as absent: samples that the device
            kept meanwhile and gives late fill them.
    """

    position: int = 0
    seqno: int = 0
    expected: int = 0
    boot_ns: int = 0
    period_ns: int = 0
    counter: int = NO_COUNTER
    ended_boot_ns: int = 0
    losses: record.Losses = field(default_factory=record.Losses)
    silent: int = 0

    def pack(self) -> bytes:
        """Return its bytes."""
        lost = self.losses
        return _STATE.pack(
            self.position,
            self.seqno,
            self.expected,
            self.boot_ns,
            self.period_ns,
            self.counter,
            self.ended_boot_ns,
            lost.source,
            lost.absent,
            lost.broken,
            lost.ring,
            self.silent,
            0,
        )

    def at(self, position: int, seqno: int) -> LaneState:
        """Return the same counts at another place of the ring; a third of the cost of `replace`."""
        return LaneState(
            position,
            seqno,
            self.expected,
            self.boot_ns,
            self.period_ns,
            self.counter,
            self.ended_boot_ns,
            self.losses,
            self.silent,
        )

    @classmethod
    def unpack(cls, raw: bytes) -> LaneState:
        """Read what `pack` made."""
        position, seqno, expected, boot, period, counter, ended, *rest = _STATE.unpack(raw)
        losses = record.Losses(*rest[:4])
        return cls(position, seqno, expected, boot, period, counter, ended, losses, rest[4])
