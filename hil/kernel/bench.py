"""The machine with the chips plugged in, by an adapter with interrupts or by one without."""

from __future__ import annotations

import csv
import time
from typing import TYPE_CHECKING

from hil.kernel.chips import BY_ADDRESS, Motion
from hil.kernel.iio import Device, devices
from hil.usb.i2c_tiny import I2cTinyUsb
from hil.usb.ljca import Ljca
from hil.usb.redir import Plug

if TYPE_CHECKING:
    from pathlib import Path

    from hil.kernel.chips import Chip
    from hil.vm.machine import Machine

AXES = ("ax", "ay", "az", "wx", "wy", "wz")
#: Until all of them are bound, one after the other, by emulation.
PATIENCE_S = 240.0
#: Its driver puts the adapter to sleep 10 ms after each command; it tells of no interrupt then.
STAY_AWAKE = (
    "echo on > $(dirname $(grep -l 'La Jolla Cove' /sys/bus/usb/devices/*/product))/power/control"
)
#: Names of the adapters, as the kernel gives them.
WITH_LINES, WITHOUT_LINES = "ljca", "i2c-tiny-usb"


def found_by_itself(address: int) -> str:
    """Return the client's name of a chip that the kernel found in its tables."""
    return f"i2c-PRP0001:{list(BY_ADDRESS).index(address):02x}"


class Bench:
    """The chips and their adapters; all chips hang on both.

    Args:
        machine: it runs.
        folder: for the chips' logs.
    """

    def __init__(self, machine: Machine, folder: Path) -> None:
        self.machine = machine
        self.motion = Motion()
        self._logs = {one.name: folder / f"{one.name}.csv" for one in BY_ADDRESS.values()}
        self.chips = {
            address: one.model(self.motion, self._logs[one.name], identity=one.identity)
            for address, one in BY_ADDRESS.items()
        }
        self._usb = {
            WITH_LINES: Ljca(self.chips),
            WITHOUT_LINES: I2cTinyUsb(self.chips, "bench-kernel"),
        }
        ports = {WITH_LINES: "imu", WITHOUT_LINES: "gps"}
        self._plugs = {
            name: Plug(usb, machine.socket_path(ports[name])) for name, usb in self._usb.items()
        }

    def plug(self, adapter: str) -> int:
        """Plug an adapter in, and return the number of its bus."""
        self._plugs[adapter].insert()
        found = self.machine.until(f"grep -l {adapter} /sys/bus/i2c/devices/i2c-*/name", PATIENCE_S)
        if adapter == WITH_LINES:
            self.machine.run(STAY_AWAKE)
        return int(found.rpartition("/i2c-")[2].partition("/")[0])

    def pull(self, adapter: str) -> None:
        """Pull an adapter."""
        self._plugs[adapter].pull()
        self.machine.until(f"! grep -l {adapter} /sys/bus/i2c/devices/i2c-*/name", PATIENCE_S)

    def bound(self, client: str, chip: Chip) -> list[Device]:
        """Wait until a driver has a client of the bus, and return its devices."""
        deadline_s = time.monotonic() + PATIENCE_S
        while len(found := devices(self.machine, client)) < len(chip.devices):
            assert time.monotonic() < deadline_s, f"{client}: no driver: {self.complaints(client)}"
            time.sleep(0.5)
        return found

    def complaints(self, client: str) -> list[str]:
        """Return what the kernel complained of about a client."""
        said = self.machine.run(
            f"dmesg --level=emerg,alert,crit,err,warn | grep ' {client}: ' |"
            " grep -v 'using dummy regulator' || true"
        )
        return said.splitlines()

    def made(self, chip: Chip) -> list[tuple[int, ...]]:
        """Return every row that a chip let into its FIFO, in counts."""
        for usb in self._usb.values():
            with usb.lock:
                for one in self.chips.values():
                    one.tick()
        with self._logs[chip.name].open(encoding="ascii") as file:
            return [tuple(int(row[axis]) for axis in AXES) for row in csv.DictReader(file)]

    def close(self) -> None:
        """Pull every adapter and end the chips' logs."""
        for plug in self._plugs.values():
            plug.pull()
        for chip in self.chips.values():
            chip.close()
