"""What the demo found of one lane."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class LaneResult:
    """The account of one lane, as the demo's table shows it.

    Args:
        name: the lane.
        produced: by the device's model, from the first sample that was heard to the last.
        silent: slots in which the contract had a sample and the model made none.
        acquired: samples that got a number.
        lost: by cause, from the session record.
        stored: rows in the spool.
        delivered: rows the recorder says the server holds.
        read_back: rows the SDK gave.
        read_as: the SDK's class or classes.
        time_error_ms: the largest distance between a row's time and its sample's.
        values: how many values were compared with the models' logs.
        wrong: how many of them differ.
        findings: what does not add up; empty if everything does.
    """

    name: str
    produced: int = 0
    silent: int = 0
    acquired: int = 0
    lost: dict[str, int] = field(default_factory=dict)
    stored: int = 0
    delivered: int = 0
    read_back: int = 0
    read_as: str = ""
    time_error_ms: float = 0.0
    values: int = 0
    wrong: int = 0
    findings: list[str] = field(default_factory=list)

    def check(self, holds: bool, finding: str) -> None:  # a finding is told, never raised
        """Note a finding unless it holds."""
        if not holds:
            self.findings.append(f"{self.name}: {finding}")
