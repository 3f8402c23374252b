"""Whatever may happen to a recorder, in any order; and after it the audit of every recording."""

from __future__ import annotations

from typing import Any, ClassVar

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import rule, run_state_machine_as_test

from recorder.audit import audit_spool
from recorder.spool.spool import Spool
from tests.audit.booked import Booked, BookedWorld
from tests.crash import machine
from tests.crash.machine import Machine, is_alive
from tests.crash.replacing import replaced

STEPS = 25


class UnequalError(AssertionError):
    """An audit found something, or an equation does not hold."""


class AuditMachine(Machine):
    """One vehicle's life, audited whenever its disk holds all that it was given."""

    #: Whether the crash campaign's own judge stays silent, so that it is the audit that finds.
    is_alone: ClassVar[bool] = False

    @is_alive
    @rule()
    def beat_while_lanes_acquire(self) -> None:
        """Let a heartbeat tell of samples that are between the lanes and the disk."""
        self.commit()
        if self.world.spooler is None or not self.world.is_settled:
            return
        assert isinstance(self.world, BookedWorld)
        self.tally["late heartbeats"] += 1
        self.world.commit_late()
        self._audit_all()

    def _examine(self) -> None:
        if not self.is_alone:
            super()._examine()
        if self.world.has_spool and self.world.is_settled:
            self._audit_all()

    def _audit_all(self) -> None:
        world = self.world
        with world.disk.aside():
            for session_id in Spool(world.spool).session_ids():
                self._audit(session_id)

    def _audit(self, session_id: str) -> None:
        found = audit_spool(self.world.spool, session_id)
        self.tally["audits"] += 1
        self.tally["audits of recordings that run"] += found.state in ("waiting", "open")
        for lane in found.lanes:
            self.tally["samples"] += lane.recorded["stored"]
            for key, count in lane.recorded.items():
                if key.startswith("lost_") or key == "in_ring":
                    self.tally[f"{key}"] += count
        if not found.is_equal:
            raise UnequalError(f"{session_id}: {found.all_differences}")


def run(runs: int, number: int, *, is_shrunk: bool = False) -> None:
    """Live so many lives; the first whose audit finds something ends it.

    Args:
        runs: how many.
        number: the seed; the same gives the same lives.
        is_shrunk: whether a life that fails is made as short as can be, and printed.
    """
    AuditMachine.tally.clear()
    late = Booked.late
    AuditMachine.verdict = type(AuditMachine.verdict)()
    kept: dict[str, Any] = {"deadline": None, "database": None, "print_blob": False}
    for done in range(0, runs, 500):
        chosen = settings(
            max_examples=min(runs - done, 500),
            stateful_step_count=STEPS,
            report_multiple_bugs=False,
            phases=[Phase.generate, Phase.shrink] if is_shrunk else [Phase.generate],
            suppress_health_check=list(HealthCheck),
            **kept,
        )
        with replaced((machine, "World", BookedWorld)):
            run_state_machine_as_test(seed(number + done)(AuditMachine), settings=chosen)
    AuditMachine.tally["late samples"] = Booked.late - late


def first_difference(runs: int, number: int) -> str:
    """Return what the audit says of the first life that it finds fault with, or nothing."""
    AuditMachine.is_alone = True
    try:
        run(runs, number)
    except UnequalError as error:
        return str(error)
    finally:
        AuditMachine.is_alone = False
    return ""
