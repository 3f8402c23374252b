"""What an audit found: plain results, from the recording down to a lane's count."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from recorder.audit.books import INVALID, KEYS, unbalanced

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from recorder.audit.books import Books


@dataclass
class LaneAudit:
    """One lane, as recorded and as added up again.

    Args:
        name: the lane.
        recorded: the ledger in the recording's record.
        found: the same by its rows; what rows cannot tell is not in it.
        due_by_time: samples that were due between the first row and the last by their times alone;
            None where that cannot be told.
        span_ns: boot times of the first sample that was stored and the last; None: not known.
        differences: what is not equal, one sentence each.
    """

    name: str
    recorded: dict[str, Any]
    found: Books
    due_by_time: int | None = None
    span_ns: tuple[int, int] | None = None
    differences: list[str] = field(default_factory=list)

    def compare(self) -> None:
        """Note every count that is not what was found, and every equation that does not hold."""
        for key in (*KEYS, *((INVALID,) if INVALID in self.recorded else ())):
            told = int(self.recorded.get(key, 0))
            least, most = self.found.bounds(key)
            if told < least or told > most:
                right = f"{least}" if least == most else f"{least} to {most}"
                self.differences.append(f"{self.name}: {key} {told}, by the rows {right}")
        self.differences += unbalanced(self.recorded)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "name": self.name,
            "recorded": {key: self.recorded.get(key, 0) for key in KEYS},
            "recomputed": self.found.to_dict(),
            "invalid": [self.recorded.get(INVALID, 0), self.found.counts.get(INVALID)],
            "due_by_time": self.due_by_time,
            "differences": self.differences,
        }


@dataclass
class Audit:
    """One recording.

    Args:
        id: the recording.
        state: its state as recorded.
        lanes: its lanes.
        quality: as recorded: value, basis, worst lane and its share, lower bound.
        found_quality: the same, worked out from what was found.
        differences: what is not equal and is no lane's.
        notes: what is worth knowing and no difference.
        held: by lane, what is left now, where samples were given up behind a terminal record.
        standing: the quality that follows from it; the state stays as it is.
    """

    id: str
    state: str
    lanes: list[LaneAudit] = field(default_factory=list)
    quality: dict[str, Any] = field(default_factory=dict)
    found_quality: dict[str, Any] = field(default_factory=dict)
    differences: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    held: dict[str, int] = field(default_factory=dict)
    standing: dict[str, Any] = field(default_factory=dict)

    def compare(self, record: Mapping[str, Any]) -> None:
        """Note every lane's differences, and those of the quality."""
        self.quality = {key: record[key] for key in self.found_quality}
        for lane in self.lanes:
            lane.compare()
        for key, found in self.found_quality.items():
            if record[key] != found:
                self.differences.append(f"{key} {record[key]}, by the rows {found}")
        is_balanced = not any(unbalanced(one) for one in record["lanes"])
        if record["ledger_ok"] is not is_balanced:
            self.differences.append(f"ledger_ok {record['ledger_ok']}, and by its counts the other")

    def heartbeats(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Note every heartbeat whose equations do not hold."""
        for record in records:
            for text in [text for one in record["lanes"] for text in unbalanced(one)]:
                self.differences.append(f"heartbeat {record['heartbeat_seq']}: {text}")
        self.notes.append(f"{len(records)} records of its life looked at")

    def survived(self, record: Mapping[str, Any], records: Sequence[Mapping[str, Any]]) -> None:
        """Note what the last heartbeat before a loss of power knew of and the record forgot."""
        beats = [one for one in records if one["recording"] == "running"]
        if record["end_reason"] != "power_loss" or not beats:
            return
        for now, then in zip(record["lanes"], beats[-1]["lanes"], strict=True):
            for key in ("expected", "acquired", "stored"):
                if now[key] < then[key]:
                    told = f"{key} {now[key]}, and its last heartbeat knew of {then[key]}"
                    self.differences.append(f"{now['name']}: {told}")

    @property
    def is_equal(self) -> bool:
        """Whether everything that can be added up again is what was recorded."""
        return not self.all_differences

    @property
    def all_differences(self) -> list[str]:
        """Those of the recording and of all its lanes."""
        return [*(text for one in self.lanes for text in one.differences), *self.differences]

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "id": self.id,
            "state": self.state,
            "lanes": [one.to_dict() for one in self.lanes],
            "quality": self.quality,
            "recomputed_quality": self.found_quality,
            "held": self.held,
            "standing": self.standing,
            "differences": self.all_differences,
            "notes": self.notes,
            "is_equal": self.is_equal,
        }
