"""How much of its I2C bus a sensor needs: its bits on the wire against the bus's clock."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drivers.i2c import I2cDriver

#: Standard mode, which a Raspberry Pi has unless its configuration says otherwise.
USUAL_HZ = 100_000
_ADAPTERS = Path("/sys/bus/i2c/devices")


def i2c_share(driver: I2cDriver, device: str, adapters: Path = _ADAPTERS) -> float:
    """Return the share of its bus that a sensor needs; all lanes of a bus add up.

    Args:
        driver: the sensor's.
        device: the bus's node, links followed.
        adapters: where the kernel says what it knows of each bus.
    """
    return driver.bits_per_s / (driver.bus_hz or stated_hz(device, adapters))


def stated_hz(device: str, adapters: Path = _ADAPTERS) -> int:
    """Return the clock that the device tree gives a bus, or the usual one if it says nothing."""
    try:
        stated = (adapters / Path(device).name / "of_node/clock-frequency").read_bytes()
    except OSError:
        return USUAL_HZ
    return int.from_bytes(stated, "big") or USUAL_HZ
