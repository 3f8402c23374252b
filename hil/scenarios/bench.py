"""The machine with what is plugged into it: what scenarios are played on."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Protocol

from hil.scenarios.recording import Recording

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hil.usb.device import UsbDevice

RUN_DIR, SPOOL = "/run/recorder", "/var/lib/recorder/spool"
PATIENCE_S, POLL_S = 600.0, 0.2  # of a cold machine, until Python runs three lanes


class Plug(Protocol):
    """The plug of one sensor."""

    def insert(self) -> None:
        """Plug it in; nothing happens if it is."""

    def pull(self) -> None:
        """Pull it; nothing happens if it is not in."""


class Computer(Protocol):
    """The computer under test: a virtual machine, or one whose supply a relay switches."""

    def try_(self, command: str) -> tuple[int, str]:
        """Run a shell command as root; return its exit code and what it said."""

    def run(self, command: str, patience_s: float = ...) -> str:
        """Run a shell command that must succeed, and return what it said."""

    def until(self, command: str, patience_s: float = ...) -> str:
        """Run a command again and again until it succeeds, and return what it said then."""

    def crash(self, command: str) -> float:
        """Run a shell command that it does not survive; return the seconds until it is up again."""

    def lose_power(self) -> float:
        """Cut its power, give it back, and return the seconds until it is up again."""

    def put(self, text: str, path: str) -> None:
        """Write a file in it."""

    def take(self, folder: str, place: Path) -> None:
        """Copy a folder of it out of it."""

    def plug(self, name: str, device: UsbDevice) -> Plug:
        """Return the plug of a device for one of its ports; it is not in."""

    def close(self) -> None:
        """Be done with it."""


class Sensor(Protocol):
    """A device model with a USB plug."""

    usb: UsbDevice

    def tells(self) -> list[str]:
        """Return what of its own account belongs into the table at the end."""

    def close(self) -> None:
        """Switch it off."""


class Bench:
    """A machine that records, and the plugs of its sensors.

    Args:
        machine: it runs.
        sensors: by the port into which they go; none is plugged in yet.
        folder: for what is taken out of the machine.
    """

    def __init__(self, machine: Computer, sensors: Mapping[str, Any], folder: Path) -> None:
        self.machine = machine
        self.sensors = sensors
        self.folder = folder
        self._plugs = {name: machine.plug(name, one.usb) for name, one in sensors.items()}
        self._faulted_s = time.monotonic()
        #: By lane, the samples that had a number before the recording was ended.
        self.acquired: dict[str, int] = {}
        #: What is told of the scenario at the end, beside what was recorded.
        self.told: list[str] = []
        #: The spool's own account of its commits, when the recording was ended.
        self.commits: dict[str, Any] = {}

    def plug(self, *names: str) -> None:
        """Plug sensors in."""
        for name in names:
            self._plugs[name].insert()
        self.now()

    def pull(self, name: str) -> None:
        """Pull a sensor's plug."""
        self._plugs[name].pull()

    def now(self) -> None:
        """Note that what a lane recovers from is over at this moment."""
        self._faulted_s = time.monotonic()

    def sign(self, lane: str) -> dict[str, Any]:
        """Return a lane's life sign; nothing if it never gave one."""
        code, said = self.machine.try_(f"cat {RUN_DIR}/status/lane-{lane}.json")
        found: dict[str, Any] = {} if code else json.loads(said)
        return found

    def until(self, lane: str, what: str, holds: Any) -> dict[str, Any]:
        """Wait until a lane's life sign is as it should be, and return it."""
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            sign = self.sign(lane)
            if sign and holds(sign):
                return sign
            assert time.monotonic() < deadline_s, f"{lane} is not {what}: {sign}"
            time.sleep(POLL_S)

    def records(self, lane: str, rows: int = 20, what: str = "") -> int:
        """Wait until a lane has recorded some rows more, and return how many it has.

        Args:
            lane: the lane.
            rows: how many more.
            what: if given, the time since `now` until the first of them is told with it.
        """
        begun = self.sign(lane).get("samples", 0)
        if what:
            self.until(lane, "recording", lambda sign: sign["samples"] > begun)
            self.told.append(f"{what}: records after {time.monotonic() - self._faulted_s:.1f} s")
        sign = self.until(lane, "recording", lambda sign: sign["samples"] >= begun + rows)
        return int(sign["samples"])

    def state(self, lane: str, word: str) -> None:
        """Wait until a lane says a word of its state."""
        self.until(lane, word, lambda sign: word in sign["state"])

    def recording(self) -> Recording:
        """End the recording, and take it out of the machine."""
        for lane in self.sensors:
            self.acquired[lane] = self.sign(lane).get("samples", 0)
        spool = json.loads(self.machine.run(f"cat {RUN_DIR}/status/spool.json"))
        self.commits = spool.get("commits", {})
        self.machine.run("systemctl stop recorder.target 'recorder-*.service'")
        for sensor in self.sensors.values():
            self.told += sensor.tells()
        place = self.folder / "spool"
        place.mkdir()
        self.machine.take(SPOOL, place)
        return Recording(place)

    def close(self) -> None:
        """Pull every plug and switch every sensor off."""
        for plug in self._plugs.values():
            plug.pull()
        for sensor in self.sensors.values():
            sensor.close()
