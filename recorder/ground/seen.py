"""A recording as a server shows it, and in which of its lives it is.

ended       its record is terminal
abandoned   an observer said so, by a note on its sequence (see `recorder.ground.watch`)
draining    no longer recorded; what the vehicle still holds waits to be sent, and no sign of
            life is promised meanwhile
live        recorded, and not silent for more than three of the periods that it declared
stale       recorded as far as is known, and silent for longer: no network, or no vehicle
replaced    its vehicle sent it anew, and that is what counts (`recorder.replaced`)
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recorder.replaced import counting, successor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from recorder.replaced import Issue

MISSED_PERIODS = 3


@dataclass(frozen=True)
class Seen:
    """A recording as the server shows it.

    Args:
        sequence: its name there.
        record: the newest session record, as plain values.
        is_announcement: the server was told that it began, and nothing since.
        begun_utc_ns: when its sequence was made, by the server's clock.
        received_utc_ns: when the newest sign of it came in, by the server's clock.
        period_s: how often signs were promised while it is recorded.
        silent_s: how long ago the newest sign came in.
        is_abandoned: somebody left a note that says so.
        issue: which sequences of the recording it was sent to replace, and whether it is whole.
        counts: it is the one that counts of its recording (`recorder.replaced`).
        replaced_by: name of the sequence that counts in its place, or empty.
        sent_anew_as: while it counts, the one that is being sent to take its place, or empty.
    """

    sequence: str
    record: dict[str, Any]
    is_announcement: bool
    begun_utc_ns: int
    received_utc_ns: int
    period_s: float
    silent_s: float
    is_abandoned: bool
    issue: Issue
    counts: bool = True
    replaced_by: str = ""
    sent_anew_as: str = ""

    @property
    def id(self) -> str:
        """The recording's id."""
        return str(self.record["id"])

    @property
    def has_ended(self) -> bool:
        """True if its record will not change any more."""
        return self.record["state"] not in ("waiting", "open")

    @property
    def life(self) -> str:
        """One of the words above."""
        if self.replaced_by:
            return "replaced"
        if self.has_ended:
            return "ended"
        if self.is_abandoned:
            return "abandoned"
        if self.record["recording"] == "stopped":
            return "draining"
        return "stale" if self.silent_s > MISSED_PERIODS * self.period_s else "live"

    def to_dict(self) -> dict[str, Any]:
        """The record, with what was seen of it from outside beside."""
        return {
            **self.record,
            "sequence": self.sequence,
            "is_announcement": self.is_announcement,
            "counts": self.counts,
            "replaced_by": self.replaced_by,
            "sent_anew_as": self.sent_anew_as,
            "life": self.life,
            "silent_s": round(self.silent_s, 1),
            "period_s": self.period_s,
            "received_utc_ns": self.received_utc_ns,
        }


def related(found: Sequence[Seen]) -> list[Seen]:
    """Return the same with what each says of the others: which counts, and which is replaced."""
    issues = [one.issue for one in found]
    names = counting(issues)
    by = {old: one.sequence for one in found if one.sequence in names for old in one.issue.replaces}
    return [
        dataclasses.replace(
            one,
            counts=one.sequence in names,
            replaced_by=by.get(one.sequence, ""),
            sent_anew_as=successor(issues, one.sequence) if one.sequence in names else "",
        )
        for one in found
    ]
