"""Who else speaks on a receiver's line: the system's console, a login, gpsd, ModemManager."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from recorder.box import boot_files
from recorder.box.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from recorder.box.machine import Machine
    from recorder.box.wiring import Wire

#: The UARTs on the header of a Pi.
_HEADER = re.compile(r"/dev/(serial0|ttyAMA\d+|ttyS0)")
_OURS = "rec-"
_MENDS = {
    "gpsd": "`systemctl disable --now gpsd.socket gpsd.service`",
    "ModemManager": "`systemctl disable --now ModemManager.service`",
}
_IGNORED = re.compile(r"^E:ID_MM_(PORT|DEVICE)_IGNORE=1$", re.MULTILINE)


def of_ports(machine: Machine, wires: Iterable[Wire]) -> Iterator[Finding]:
    """Yield what keeps a lane's serial line from being its own."""
    for wire in wires:
        if wire.bus != "uart" or not wire.path:
            continue
        if machine.exists(wire.path):
            yield from _consoles(machine, wire)
            yield from _holders(machine, wire)
            yield from _watchers(machine, wire)
        elif machine.is_pi and _HEADER.fullmatch(wire.path):
            file = boot_files.boot_file(machine, "config.txt")
            mend = f"the line `enable_uart=1` under [all] in {file}, then `reboot`"
            yield Finding(
                f"lane {wire.lane}, UART", f"no {wire.path}", "the UART", mend, wire.required
            )


def _consoles(machine: Machine, wire: Wire) -> Iterator[Finding]:
    about, port = f"lane {wire.lane}, UART", machine.real(wire.path)
    name = Path(port).name
    file = boot_files.boot_file(machine, "cmdline.txt")
    for console in boot_files.consoles(machine):
        if machine.real(f"/dev/{console.partition(',')[0]}") == port:
            mend = f"remove `console={console}` from {file}, then `reboot`"
            yield Finding(
                about, f"console={console} in {file}", "no console there", mend, wire.required
            )
            break
    else:
        # What the kernel really writes to: a boot loader may have said it, or an older file.
        if any(one.split()[0] == name for one in machine.text("/proc/consoles").splitlines()):
            mend = f"no `console={name}` on the kernel's command line, then `reboot`"
            yield Finding(
                about, f"the kernel's console on {port}", "no console", mend, wire.required
            )
    getty = f"serial-getty@{name}.service"
    if machine.runs(getty):
        mend = f"`systemctl disable --now {getty}`"
        yield Finding(about, f"a login on {port} ({getty})", "no login there", mend, wire.required)
    if machine.is_pi and wire.path == "/dev/serial0" and name == "ttyS0":
        config_txt = boot_files.boot_file(machine, "config.txt")
        mend = f"the line `dtoverlay=disable-bt` under [all] in {config_txt}, then `reboot`"
        found = "the mini UART, whose speed changes with the processor's"
        yield Finding(about, found, "the PL011 (ttyAMA0), which Bluetooth has", mend)


def _holders(machine: Machine, wire: Wire) -> Iterator[Finding]:
    """Yield which processes have the port open."""
    port = machine.real(wire.path)
    for pid in _pids(machine, port):
        comm = machine.text(f"/proc/{pid}/comm")
        if not comm.startswith(_OURS):
            unit = machine.text(f"/proc/{pid}/cgroup").rpartition("/")[2]
            is_unit = unit.endswith(".service")
            other = f"`systemctl disable --now {unit}`" if is_unit else f"`kill {pid}`"
            found = f"{port} held by {comm or 'a process'} (process {pid})"
            mend = _MENDS.get(comm, other)
            yield Finding(
                f"lane {wire.lane}, UART", found, "nobody else on it", mend, wire.required
            )


def _pids(machine: Machine, port: str) -> Iterator[str]:
    for folder in machine.glob("/proc/[0-9]*/fd"):
        try:
            files = list(machine.at(folder).iterdir())
        except OSError:
            continue  # another user's; with root every one can be seen
        if any(machine.link(f"{folder}/{one.name}") == port for one in files):
            yield folder.split("/")[2]


def _watchers(machine: Machine, wire: Wire) -> Iterator[Finding]:
    """Yield who would open the port when it appears, although nobody holds it now."""
    about, port = f"lane {wire.lane}, UART", machine.real(wire.path)
    if machine.runs("ModemManager.service") and not _is_ignored(machine, port):
        mend = f"{_MENDS['ModemManager']}, or the rules of udev/ for this adapter"
        yield Finding(about, f"ModemManager, which may try {port}", "it kept off", mend)
    gpsd = machine.text("/etc/default/gpsd")
    named = re.search(r'^DEVICES="([^"]*)"', gpsd, re.MULTILINE)
    if named and port in map(machine.real, named[1].split()):
        yield Finding(
            about, f"{port} in /etc/default/gpsd", "it not there", _MENDS["gpsd"], wire.required
        )


def _is_ignored(machine: Machine, port: str) -> bool:
    """Tell whether udev's database marks a port as none of ModemManager's business."""
    number = machine.text(f"/sys/class/tty/{Path(port).name}/dev")
    return bool(_IGNORED.search(machine.text(f"/run/udev/data/c{number}")))
