"""The IMU's scenarios."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.scenarios.devices import Imu
from hil.scenarios.scenario import (
    NOTHING,
    SOME,
    Scenario,
    fault,
    over,
    pause,
    plug,
    pull,
    records,
    recovers,
    signal,
    state,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

MANY = 100
#: Behind a gap an emulated machine's stamps are tens of ms off; over so many rows that is little.
LONG = 600


def chip(name: str, **more: Any) -> Callable[[Any], None]:
    """Return what lets the chip misbehave."""
    return lambda imu: imu.chip.fault(name, **more)


SCENARIOS = (
    Scenario(
        "imu-plug",
        "A hundred samples a second from a real bus, and none is lost.",
        (plug("imu"), recovers("imu", "plug", rows=2000)),
        lost={"imu": NOTHING},
    ),
    Scenario(
        "imu-replug",
        "An adapter that is pulled while its file is open comes back under the same name.",
        (
            *(plug("imu"), records("imu", rows=MANY), pull("imu"), pause(2)),
            *(plug("imu"), recovers("imu", "plug", rows=MANY)),
        ),
        lost={"imu": {"lost_absent": SOME, "lost_source": (0, 200)}},
        is_short=True,
    ),
    Scenario(
        "imu-nak",
        "A chip that does not answer five times in a row is asked again.",
        (
            plug("imu"),
            records("imu", rows=MANY),
            fault("imu", lambda imu: imu.usb.refuse(5)),
            recovers("imu", "silence on the bus", rows=MANY),
        ),
        lost={"imu": {"lost_absent": (0, 1000), "lost_source": (0, 1000)}},
    ),
    Scenario(
        "imu-overflow",
        "A FIFO that ran over while nobody read it is emptied, and what it lost is counted.",
        (
            *(plug("imu"), records("imu", rows=LONG), signal("imu", "STOP"), pause(3)),
            *(signal("imu", "CONT"), over, recovers("imu", "overflow", rows=LONG)),
        ),
        lost={"imu": {"lost_source": SOME}},
        is_short=True,
    ),
    Scenario(
        "imu-brown-out",
        "A chip that forgot how it was set up is set up again, and no sleep is taken for rest.",
        (
            plug("imu"),
            records("imu", rows=MANY),
            fault("imu", chip("brown_out")),
            recovers("imu", "brown-out", rows=MANY),
        ),
        lost={"imu": {"lost_absent": SOME, "lost_source": (0, 1000)}},
        is_short=True,
    ),
    Scenario(
        "imu-unpowered",
        "A chip that answers 0xff to everything is lost, and not recorded.",
        (
            plug("imu"),
            records("imu", rows=LONG),
            fault("imu", chip("unpowered", seconds=4.0)),
            state("imu", "absent"),
            pause(4),
            over,
            recovers("imu", "no supply", rows=LONG),
        ),
        lost={"imu": {"lost_absent": SOME, "lost_source": (0, 1000)}},
    ),
    Scenario(
        "imu-wrong-chip",
        "Another chip at the address is refused by its identity; the right one is taken at once.",
        (
            plug("imu"),
            state("imu", "0x33"),
            fault("imu", chip("wrong_id", value=0x68)),
            recovers("imu", "right chip", rows=MANY),
        ),
        lost={"imu": NOTHING},
        sensors={"imu": lambda folder: Imu(folder, identity=0x33)},
    ),
)
