"""What a scenario is: what is plugged in, what happens when, what the recording must show."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hil.scenarios.bench import Bench
from hil.scenarios.devices import Camera, Gps, Imu, drive
from hil.scenarios.recording import Recording

Step = Callable[[Bench], None]
Bounds = tuple[int, int]
#: Any number, but one at least.
SOME: Bounds = (1, 1 << 62)
#: What may be lost beside: nothing is.
NOTHING: Mapping[str, Bounds] = {}
MAKERS: Mapping[str, Callable[[Path], Any]] = {
    "gps": lambda folder: Gps(folder, drive()),
    "imu": Imu,
    "camera": lambda _: Camera(),
}


@dataclass(frozen=True)
class Scenario:
    """One story, played on a machine of its own.

    Args:
        name: short, for tables.
        says: what it proves, as a sentence.
        steps: what happens, in order.
        lost: by lane, by cause: how many samples at least and at most; what is not named must not
            be lost. A lane that is not named takes no part.
        sensors: by port, how a sensor is made, if not the usual one; or what else is there that
            is no lane's.
        settings: another configuration of the machine, if not the usual one.
        shows: what the recording must show beside that.
        is_short: whether it belongs to the short set.
        is_cold: whether the machine is booted instead of woken.
        power_on: further arguments for QEMU.
    """

    name: str
    says: str
    steps: Sequence[Step]
    lost: Mapping[str, Mapping[str, Bounds]]
    sensors: Mapping[str, Callable[[Path], Any]] = field(default_factory=dict)
    settings: str = ""
    shows: Callable[[Recording, Bench], None] | None = None
    is_short: bool = False
    is_cold: bool = False
    power_on: Sequence[str] = ()

    def make(self, folder: Path) -> dict[str, Any]:
        """Return its sensors, not plugged in."""
        makers = {**MAKERS, **self.sensors}
        return {port: makers[port](folder) for port in {**self.lost, **self.sensors}}


def plug(*names: str) -> Step:
    """Plug sensors in, at once."""
    return lambda bench: bench.plug(*names)


def pull(name: str) -> Step:
    """Pull a plug, and wait until its lane says that the device is gone."""

    def step(bench: Bench) -> None:
        bench.pull(name)
        bench.state(name, "absent")

    return step


def records(*lanes: str, rows: int = 20) -> Step:
    """Wait until lanes have recorded some rows more."""

    def step(bench: Bench) -> None:
        for lane in lanes:
            bench.records(lane, rows)

    return step


def recovers(lane: str, what: str, rows: int = 20) -> Step:
    """Wait until a lane records again, and note how long that took since the last `over`."""

    def step(bench: Bench) -> None:
        bench.records(lane, rows, what)

    return step


def power(bench: Bench) -> None:
    """Cut the machine's power, and give it back."""
    bench.told.append(f"up again after {bench.machine.lose_power():.0f} s")


def over(bench: Bench) -> None:
    """Note that what is to be recovered from is over."""
    bench.now()


def state(lane: str, word: str) -> Step:
    """Wait until a lane says a word of its state."""
    return lambda bench: bench.state(lane, word)


def pause(seconds: float) -> Step:
    """Let time pass."""

    def step(_: Bench) -> None:
        threading.Event().wait(seconds)

    return step


def command(text: str) -> Step:
    """Run a shell command in the machine."""

    def step(bench: Bench) -> None:
        bench.machine.run(text)

    return step


def signal(lane: str, name: str) -> Step:
    """Send a signal to the process of a lane."""
    return command(f"systemctl kill --kill-whom=main --signal={name} recorder-lane@{lane}")


def fault(sensor: str, act: Callable[[Any], None]) -> Step:
    """Let a sensor misbehave; what it recovers from is over at once, unless told otherwise."""

    def step(bench: Bench) -> None:
        act(bench.sensors[sensor])
        bench.now()

    return step
