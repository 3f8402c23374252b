"""Whether the I2C buses are there that lanes need, and if not, what keeps them away."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from recorder.box import boot_files
from recorder.box.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from recorder.box.machine import Machine
    from recorder.box.wiring import Wire

#: What the sensors of this project are wired for; the kernel's usual is a quarter of it.
_LINE = "dtparam=i2c_arm=on,i2c_arm_baudrate=400000"
#: The bus of a Pi's header, and the name that the rules of udev give it.
_HEADER = re.compile(r"/dev/(i2c-1|recorder/imu.*)")


def of_buses(machine: Machine, wires: Iterable[Wire]) -> Iterator[Finding]:
    """Yield why a lane's I2C bus is not there."""
    for wire in wires:
        if wire.bus == "i2c" and wire.path and not machine.exists(wire.path):
            found, wanted, mend = _missing(machine, wire.path)
            about = f"lane {wire.lane}, I2C"
            yield Finding(about, f"no {wire.path}: {found}", wanted, mend, wire.required)


def _missing(machine: Machine, path: str) -> tuple[str, str, str]:
    if machine.is_pi and _HEADER.fullmatch(path):
        config_txt = boot_files.boot_file(machine, "config.txt")
        if not boot_files.is_on(machine, "i2c_arm") and not boot_files.is_on(machine, "i2c"):
            line = f"the line `{_LINE}` under [all] in {config_txt}, then `reboot`"
            return f"the bus is not switched on in {config_txt}", "dtparam=i2c_arm=on", line
        status = _status(machine)
        if status == "disabled":
            told = f"{config_txt} switches it on, the device tree says {status}"
            return told, "status okay in the device tree", "`reboot`"
    if not machine.exists("/sys/class/i2c-dev"):
        mend = "`modprobe i2c-dev`, and the line `i2c-dev` in /etc/modules-load.d/recorder.conf"
        return "the module i2c-dev is not loaded", "a file for each bus", mend
    there = ", ".join(machine.glob("/dev/i2c-*")) or "none"
    mend = "name the right one in the lane's `device`; `i2cdetect -l` lists them"
    return f"there is {there}", "the bus that the sensor hangs on", mend


def _status(machine: Machine) -> str:
    """Return what the device tree says of the header's bus; empty if it does not know it."""
    for alias in ("i2c_arm", "i2c1"):
        node = machine.text(f"/proc/device-tree/aliases/{alias}")
        if node:
            return machine.text(f"/proc/device-tree{node}/status") or "okay"
    return ""
