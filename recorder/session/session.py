"""The session record: everything that is said of one recording, whole in every heartbeat."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from recorder.session.ledger import LaneLedger
from recorder.session.quality import Quality, quality
from recorder.session.states import State, follow

#: What ends a recording on purpose; every other end is an orphan's or an error's.
CLEAN_ENDS = ("operator", "rule", "shutdown", "roll_over")


@dataclass
class Session:
    """One recording.

    `start_boot_ns` and `duration_ns` are data time: of the first and last stored sample of any
    lane. `heartbeat_*` is the last sign of life, whether or not data flowed.

    Args:
        id: UUID, the same for every attempt to upload it.
        boot_id: the boot it was recorded in, 32 hex digits; a session never spans two.
        type: class of session, at most 32 characters.
        identifier: a name for people; may change until the state is terminal.
        vehicle: the vehicle's name.
        details: flat facts; may change like `identifier`.
        model: group, version, configuration.
        sources: ids of sessions that this one comes from.
        predecessor: id of the session whose samples these follow without a gap (it was rolled
            over), or empty.
        dependencies: type to ids of what it needs (calibration, configuration, software).
        dependencies_missing: those of them that the store of dependencies does not hold.
        state: see `recorder.session.states`.
        recording: ``running`` or ``stopped``.
        end_reason: why recording stopped: operator, rule, shutdown, roll_over, power_loss,
            watchdog, ``exception:…``; None while it runs.
        revision: one more at each change.
        heartbeat_s: the period at which heartbeats are promised.
        announced_boot_ns: when it was announced.
        start_utc_ns: UTC of the first stored sample as `clock_source` knows it, or None.
        clock_source: none, rtc, ntp, gps or pps.
        utc_uncertainty_ns: bound of the error of every time from the first stored sample to the
            last, or None where nobody vouches for the time.
        loss_window_ns: the most that a power cut would have cost at any time of the recording: the
            time between two commits and that of the slowest commit of late, together.
        unaccounted_max_ns: time at its end of which nobody knows what was acquired.
        lanes: the ledger.
    """

    id: str
    boot_id: str
    type: str
    identifier: str
    vehicle: str
    details: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)
    sources: list[str] = field(default_factory=list)
    dependencies: dict[str, list[str]] = field(default_factory=dict)
    state: State = State.waiting
    recording: str = "running"
    end_reason: str | None = None
    revision: int = 0
    heartbeat_s: float = 10.0
    heartbeat_seq: int = 0
    heartbeat_boot_ns: int = 0
    heartbeat_utc_ns: int = 0
    announced_boot_ns: int = 0
    start_utc_ns: int | None = None
    clock_source: str = "none"
    loss_window_ns: int = 0
    unaccounted_max_ns: int = 0
    lanes: list[LaneLedger] = field(default_factory=list)
    predecessor: str = ""
    utc_uncertainty_ns: int | None = None
    dependencies_missing: dict[str, list[str]] = field(default_factory=dict)

    @property
    def start_boot_ns(self) -> int | None:
        """CLOCK_BOOTTIME of the first stored sample, or None."""
        return min((one.first_boot_ns for one in self.lanes if one.first_boot_ns), default=None)

    @property
    def span_boot_ns(self) -> tuple[int, int]:
        """CLOCK_BOOTTIME of the first stored sample and the last; of the announcement if none."""
        start = self.start_boot_ns or self.announced_boot_ns
        return start, start + self.duration_ns

    @property
    def duration_ns(self) -> int:
        """Time from the first stored sample to the last; 0 for one sample or none."""
        last = max((one.last_boot_ns for one in self.lanes if one.last_boot_ns), default=0)
        return last - (self.start_boot_ns or last)

    @property
    def quality(self) -> Quality:
        """How complete it is; by what was delivered once the state is terminal."""
        return quality(
            self.lanes, delivered=self.state.is_terminal, unaccounted_ns=self.unaccounted_max_ns
        )

    def happen(self, event: str) -> None:
        """Follow the table of states; refused (ValueError) in a terminal state."""
        self.state = follow(self.state, event)
        self.revision += 1

    def beat(self, boot: int, utc_ns: int) -> None:
        """Note a sign of life."""
        self.heartbeat_seq += 1
        self.heartbeat_boot_ns, self.heartbeat_utc_ns = boot, utc_ns
        self.revision += 1

    def stop(self, reason: str) -> None:
        """End the recording; the first reason stands."""
        if self.recording == "running":
            self.recording, self.end_reason = "stopped", reason
            self.revision += 1

    def finish(self) -> None:
        """Enter the terminal state: recording has stopped and nothing is pending any more.

        The precedence is orphan, error, short, whole.

        Raises:
            ValueError: it is still being recorded, or its state is terminal already.
        """
        if self.recording == "running":
            raise ValueError("a session that is being recorded cannot be finished")
        reason = self.end_reason or ""
        if reason.startswith("exception"):
            self.happen("drained_error")
        elif reason not in CLEAN_ENDS:
            self.happen("drained_orphan")
        elif any(one.lost_evicted or one.lost_crc or one.lost_rejected for one in self.lanes):
            self.happen("drained_short")
        else:
            self.happen("drained_whole")

    def to_dict(self) -> dict[str, Any]:
        """Return the whole record as plain values, with what follows from it spelled out.

        Its dicts and lists, but that of the lanes, are the session's own: the life sign takes it
        twice a second, and a copy of each would cost five times as much (122 against 26 us).
        """
        plain = {**vars(self), "lanes": [one.to_dict() for one in self.lanes]}
        found = self.quality
        plain.update(
            state=self.state.name,
            state_code=int(self.state),
            start_boot_ns=self.start_boot_ns,
            duration_ns=self.duration_ns,
            quality=found.value,
            quality_basis=found.basis,
            quality_min=found.least,
            quality_min_lane=found.least_lane,
            quality_lower=found.lower,
            ledger_ok=not any(one.imbalances() for one in self.lanes),
        )
        return plain

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Session:
        """Read what `to_dict` made; what follows from the rest is computed again."""
        known = {key: stored[key] for key in cls.__dataclass_fields__ if key in stored}
        known["state"] = State[stored["state"]]
        known["lanes"] = [LaneLedger.from_dict(one) for one in stored["lanes"]]
        return cls(**known)
