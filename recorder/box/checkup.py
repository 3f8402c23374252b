"""Everything that keeps a box from recording as it promises, in one list."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from recorder.box.access import of_access
from recorder.box.board import of_board
from recorder.box.buses import of_buses
from recorder.box.clocks import of_clocks
from recorder.box.disk import Disk, disk_of, is_awaited, of_disk
from recorder.box.disk_speed import Speed, of_speed, speed
from recorder.box.identity import identify
from recorder.box.keys import of_card
from recorder.box.machine import Machine
from recorder.box.ports import of_ports
from recorder.box.wiring import wires
from recorder.system_time import ntp_anchor

if TYPE_CHECKING:
    from recorder.box.finding import Finding
    from recorder.config import Config


@dataclass(frozen=True)
class Checkup:
    """What was found.

    Args:
        disk: where the spool lies; None if the machine does not tell.
        speed: how long commits take.
        findings: what is wrong, errors first.
    """

    disk: Disk | None
    speed: Speed
    findings: list[Finding]


def check_box(config: Config, bytes_per_s: float, root: Path = Path("/")) -> Checkup:
    """Look at a machine that is to record; takes up to 5 s and leaves nothing behind.

    Args:
        config: the resolved configuration; its folders are the machine's own.
        bytes_per_s: what all lanes write.
        root: the folder that stands for the machine's ``/``.
    """
    machine, devices = Machine(root), wires(config)
    directory = config.spool.directory
    disk = disk_of(machine, machine.whole(directory.absolute()))
    if is_awaited(machine, config):
        seen = Speed(error="its partition is not mounted")
    else:
        seen = speed(config, _there(machine.at(directory)), bytes_per_s)
    found = [
        *of_buses(machine, devices),
        *of_ports(machine, devices),
        *of_access(machine, config, devices),
        *(of_disk(machine, config, disk) if disk else ()),
        *of_speed(config, seen, disk),
        *of_clocks(machine, config, is_synchronised=ntp_anchor() is not None),
        *of_board(machine),
        *of_card(config, identify(config, root)),
    ]
    return Checkup(disk, seen, sorted(found, key=lambda one: not one.is_error))


def _there(path: Path) -> Path:
    """Return the folder itself, or the nearest above it that is there."""
    while not path.is_dir():
        path = path.parent
    return path
