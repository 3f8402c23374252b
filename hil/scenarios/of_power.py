"""The supply's scenario: how it is cut is the machine's business."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.scenarios.of_imu import LONG
from hil.scenarios.scenario import Scenario, over, plug, power, records, recovers
from recorder.session.states import State

if TYPE_CHECKING:
    from hil.scenarios.bench import Bench
    from hil.scenarios.recording import Recording


def begins_anew(recording: Recording, _: Bench) -> None:
    """The session of before is abandoned with what it had; there is one of this boot."""
    orphan, own = (recording.session(one) for one in recording.session_ids[-2:])
    assert (orphan.state, orphan.end_reason) == (State.abandoned, "power_loss")
    assert own.state is State.closed
    assert orphan.boot_id != own.boot_id
    assert len(recording.rows("imu", orphan.id)) >= LONG


SCENARIOS = (
    Scenario(
        "power-loss",
        "The supply is cut while it records: what was durable is there, and recording goes on.",
        (
            *(plug("imu"), records("imu", rows=2 * LONG)),
            *(power, over, recovers("imu", "power", rows=LONG)),
        ),
        lost={"imu": {"lost_absent": (0, 1000), "lost_source": (0, 10_000)}},
        shows=begins_anew,
        power_on=("-action", "reboot=reset"),
    ),
)
