"""What a Raspberry Pi's firmware is told: config.txt and cmdline.txt.

Source: the Raspberry Pi documentation, config.txt: lines behind a filter such as ``[pi4]`` count on
that model only, ``[all]`` ends it; the last word on a parameter counts.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from recorder.box.machine import Machine

_FOLDERS = ("/boot/firmware", "/boot")
_FILTER = re.compile(r"(pi|cm)(\d+)\+?")
_OFF = ("off", "false", "no", "0")


def boot_file(machine: Machine, name: str) -> str:
    """Return the path of a file of the firmware, whether it is there or not."""
    for folder in _FOLDERS:
        if machine.exists(f"{folder}/{name}"):
            return f"{folder}/{name}"
    return f"{_FOLDERS[0]}/{name}"


def settings(machine: Machine) -> list[str]:
    """Return the lines of config.txt that count on this board, without comments."""
    counts, found = True, []
    for raw in machine.text(boot_file(machine, "config.txt")).splitlines():
        line = raw.partition("#")[0].strip()
        if line.startswith("["):
            counts = _is_for(line.strip("[]"), machine.model)
        elif line and counts:
            found.append(line)
    return found


def is_on(machine: Machine, parameter: str) -> bool:
    """Tell whether config.txt switches a parameter on: ``dtparam=NAME=on`` or ``NAME=1``."""
    is_so = False
    for line in settings(machine):
        for word in line.removeprefix("dtparam=").split(","):
            key, _, value = word.partition("=")
            if key.strip() == parameter:
                is_so = value.strip().lower() not in _OFF
    return is_so


def consoles(machine: Machine) -> list[str]:
    """Return the consoles that cmdline.txt gives the kernel, such as ``serial0,115200``."""
    words = machine.text(boot_file(machine, "cmdline.txt")).split()
    return [one.removeprefix("console=") for one in words if one.startswith("console=")]


def _is_for(name: str, model: str) -> bool:
    form = _FILTER.fullmatch(name)
    if form is None:
        return name == "all"
    number = {"0": "Zero", "02": "Zero 2"}.get(form[2], form[2])
    board = f"Raspberry Pi {number}" in model
    return f"Compute Module {number}" in model or (form[1] == "pi" and board)
