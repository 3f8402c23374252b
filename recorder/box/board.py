"""The board itself: its supply, its watchdog, its kernel's control of memory, its root file system.

Source: Raspberry Pi documentation, `vcgencmd get_throttled` (the bits); the kernel's
raspberrypi-hwmon (`in0_lcrit_alarm`); systemd-system.conf(5).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from recorder.box import boot_files
from recorder.box.disk import disk_of
from recorder.box.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from recorder.box.machine import Machine

_NOW = {0: "the supply is too low", 2: "it is throttled", 3: "it is too hot"}
_BEFORE = {16: "the supply was too low", 18: "it was throttled", 19: "it was too hot"}
_SUPPLY = "a supply and a cable that hold 5 V under load"
#: The counter of a Pi's watchdog has 20 bits at 65,536 Hz.
_PI_MOST_S = 15
_UNITS_S = {"": 1, "s": 1, "sec": 1, "min": 60, "m": 60, "h": 3600, "ms": 0.001}
_SETTING = re.compile(r"^RuntimeWatchdogSec=(.*)$", re.MULTILINE)
_SYSTEM_CONF = (
    "/usr/lib/systemd/system.conf",
    "/etc/systemd/system.conf",
    "/usr/lib/systemd/system.conf.d/*.conf",
    "/etc/systemd/system.conf.d/*.conf",
    "/run/systemd/system.conf.d/*.conf",
)


def of_board(machine: Machine) -> Iterator[Finding]:
    """Yield what is wrong with supply, watchdog, control of memory, and root file system."""
    yield from _of_supply(machine)
    if machine.is_appliance:
        yield from _of_watchdog(machine)
        yield from _of_memory(machine)
        disk = disk_of(machine, Path("/"))
        if disk and disk.file_system != "overlay" and "ro" not in disk.options:
            mend = "docs/pi.md: `raspi-config nonint enable_overlayfs`, or `ro` in /etc/fstab"
            found = f"a root that is written to ({disk.file_system} at {disk.mount})"
            yield Finding("root", found, "one that no power cut can harm", mend)


def _of_supply(machine: Machine) -> Iterator[Finding]:
    for path in machine.glob("/sys/devices/platform/soc*/soc*/get_throttled"):
        flags = machine.number(path, 16)
        for bits, is_error in ((_NOW, True), (_BEFORE, False)):
            told = [text for bit, text in bits.items() if flags >> bit & 1]
            if told:
                found = f"{', '.join(told)} (flags {flags:#x})"
                mend = _SUPPLY if flags & 0x10001 else "cooling"
                yield Finding("supply", found, "flags 0x0", mend, is_error)
        return
    for folder in machine.glob("/sys/class/hwmon/hwmon*"):
        is_low = machine.text(f"{folder}/in0_lcrit_alarm") == "1"
        if machine.text(f"{folder}/name") == "rpi_volt" and is_low:
            yield Finding("supply", "it was too low (rpi_volt)", "no alarm", _SUPPLY, True)


def _of_watchdog(machine: Machine) -> Iterator[Finding]:
    """Yield whether nobody would reset a kernel that hangs."""
    if not machine.glob("/dev/watchdog*"):
        on_pi = f"the line `dtparam=watchdog=on` in {boot_files.boot_file(machine, 'config.txt')}"
        mend = on_pi if machine.is_pi else "the watchdog's kernel module, such as `softdog`"
        yield Finding("watchdog", "no /dev/watchdog", "one that resets a hung kernel", mend)
        return
    timeout_s = _runtime_watchdog_s(machine)
    mend = (
        r"`printf '[Manager]\nRuntimeWatchdogSec=14\n' > /etc/systemd/system.conf.d/recorder.conf`"
        ", then `systemctl daemon-reexec`"
    )
    if not timeout_s:
        yield Finding("watchdog", "RuntimeWatchdogSec not set", "14 s", mend)
    elif machine.is_pi and timeout_s > _PI_MOST_S:
        found = f"RuntimeWatchdogSec of {timeout_s:g} s"
        yield Finding("watchdog", found, f"at most {_PI_MOST_S} s, or a Pi ignores it", mend)


def _of_memory(machine: Machine) -> Iterator[Finding]:
    """Yield whether the kernel ignores what the units say of memory, as Pi OS has it at first."""
    controllers = machine.text("/sys/fs/cgroup/cgroup.controllers").split()
    if controllers and "memory" not in controllers:
        found = "a kernel that controls no memory: MemoryMax and MemoryMin of the units do nothing"
        words = (
            boot_files.boot_file(machine, "cmdline.txt") if machine.is_pi else "its command line"
        )
        mend = f"`cgroup_enable=memory` at the end of the line in {words}, then `reboot`"
        yield Finding("memory", found, "the controller `memory` in cgroup.controllers", mend)


def _runtime_watchdog_s(machine: Machine) -> float:
    """Return the time after which systemd lets the watchdog reset; 0: never, or not readable."""
    said = ""
    for pattern in _SYSTEM_CONF:
        for path in machine.glob(pattern):
            said = [said, *_SETTING.findall(machine.text(path))][-1].strip()
    parts = re.findall(r"([0-9]+)\s*([a-z]*)", said)
    return sum(int(count) * _UNITS_S.get(unit, 1) for count, unit in parts)
