"""The configuration's table on the box's supply."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from recorder.config.tables import Bounds, Table


@dataclass(frozen=True, kw_only=True)
class Power(Table):
    """When the box ends its recording by itself, and is powered off.

    An input is ``/dev/gpiochip0:17``, or ``file:`` and a path of a file with a number, in which one
    ``*`` may stand for what changes from boot to boot. One that cannot be read changes nothing.

    Args:
        ignition: an input that is active while the ignition is on; empty: none.
        ignition_active_low: whether it means it when it is 0.
        off_for_s: the ignition counts as off when it was off for so long, 0 to 3600 s.
        keep_on_s: after that the box stays on until everything is uploaded, at most so long: 0 to
            86,400 s.
        low: an input that is active when the supply is about to fail; empty: none.
        low_active_low: whether it means it when it is 0.
        voltage: a ``file:`` with the supply's voltage, such as an ADC's or a hwmon's; empty: none.
        volts_per_unit: volts for each unit of that number; a hwmon's are millivolts.
        low_volts: the supply is low while the voltage is below this, in V.
        low_for_s: it must be low for so long before it counts: 0 where nothing but a hold-up
            capacitor is left, and longer than the engine cranks for a battery. 0 to 3600 s.
    """

    ignition: Annotated[str, Bounds(max_length=255)] = ""
    ignition_active_low: bool = False
    off_for_s: Annotated[float, Bounds(ge=0, le=3600)] = 2.0
    keep_on_s: Annotated[float, Bounds(ge=0, le=86_400)] = 600.0
    low: Annotated[str, Bounds(max_length=255)] = ""
    low_active_low: bool = False
    voltage: Annotated[str, Bounds(max_length=255)] = ""
    volts_per_unit: Annotated[float, Bounds(gt=0)] = 0.001
    low_volts: Annotated[float, Bounds(gt=0, le=1000)] | None = None
    low_for_s: Annotated[float, Bounds(ge=0, le=3600)] = 0.0

    @property
    def inputs(self) -> dict[str, str]:
        """The inputs that are given, by their key."""
        given = {"ignition": self.ignition, "low": self.low, "voltage": self.voltage}
        return {key: spec for key, spec in given.items() if spec}
