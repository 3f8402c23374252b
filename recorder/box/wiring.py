"""The devices that a configuration names, and the bus that each hangs on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from drivers.i2c import I2cDriver
from recorder.devices import make_driver

if TYPE_CHECKING:
    from drivers.base import Driver
    from recorder.config import Config


@dataclass(frozen=True)
class Wire:
    """One lane's device.

    Args:
        lane: name of the lane.
        bus: ``i2c``, ``uart``, or empty for any other.
        path: the device, as the configuration has it; empty if it is no file.
        required: whether the recording counts on it.
    """

    lane: str
    bus: str
    path: str
    required: bool


def wires(config: Config) -> list[Wire]:
    """Return the device of every lane that has one of its own."""
    found: list[Wire] = []
    for lane in config.lanes:
        if not lane.filled_by:
            driver = make_driver(lane)
            path = str(getattr(driver, "device", ""))
            path = path if path.startswith("/") else ""
            found.append(Wire(lane.name, _bus(driver), path, lane.required))
    return found


def _bus(driver: Driver) -> str:
    if isinstance(driver, I2cDriver):
        return "i2c"
    return "uart" if hasattr(driver, "line_load") else ""
