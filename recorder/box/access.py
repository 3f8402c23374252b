"""Whether the units may do what they must: users, groups, modes of devices and folders."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING

from recorder.box.disk import is_awaited
from recorder.box.finding import Finding

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator

    from recorder.box.machine import Machine
    from recorder.box.wiring import Wire
    from recorder.config import Config

#: What `systemd/sysusers.d` makes, and the groups that a lane is in (`systemd/recorder-lane@`).
_USERS = tuple(f"recorder-{one}" for one in ("power", "settings", "spool", "upload", "web"))
_GROUPS = ("recorder", "recorder-rings")
_LANE_GROUPS = {"uart": ("dialout", "recorder"), "i2c": ("i2c", "recorder")}
_ALL_GROUPS = ("video", "dialout", "i2c", "recorder")
_BOTH = stat.S_IRGRP | stat.S_IWGRP, stat.S_IROTH | stat.S_IWOTH
#: Where the units read it.
_CONFIGURATION = "/etc/recorder/recorder.toml"
#: The folder that the units may write in.
_UNITS_FOLDER = Path("/var/lib/recorder")
#: Which field of /etc/passwd and /etc/group is the number.
_NUMBER = 2
_OWNERS = {"spool": "recorder-spool", "dependencies": "recorder-spool", "upload": "recorder-upload"}


def of_access(machine: Machine, config: Config, wires: Iterable[Wire]) -> Iterator[Finding]:
    """Yield what a unit may not do; nothing where the units are not installed."""
    if not machine.is_appliance:
        return
    users, groups = _ids(machine, "/etc/passwd"), _ids(machine, "/etc/group")
    absent = [f"user {one}" for one in _USERS if one not in users]
    absent += [f"group {one}" for one in _GROUPS if one not in groups]
    if absent:
        mend = "`systemd-sysusers recorder.conf`"
        yield Finding("users", f"no {', '.join(absent)}", "the units' users", mend, True)
    for wire in wires:
        yield from _of_node(machine, wire, groups)
    yield from _of_configuration(machine, groups)
    yield from _of_folders(machine, config, users)


def _of_node(machine: Machine, wire: Wire, groups: dict[str, int]) -> Iterator[Finding]:
    path = machine.real(wire.path)
    if not wire.path or not machine.exists(path):
        return
    state = machine.at(path).stat()
    wanted = _LANE_GROUPS.get(wire.bus, _ALL_GROUPS)
    ids = [groups[one] for one in wanted if one in groups]
    of_group, of_all = ((state.st_mode & both) == both for both in _BOTH)
    if of_all or (of_group and state.st_gid in ids):
        return
    group = wanted[0]
    found = f"{path} {_shown(state, groups)}"
    mend = (
        "`udevadm control --reload && udevadm trigger` if udev/99-recorder.rules knows it, else"
        f' the rule KERNEL=="{Path(path).name}", GROUP="{group}", MODE="0660"'
    )
    yield Finding(
        f"lane {wire.lane}", found, f"group {group} that may read and write", mend, wire.required
    )


def _of_configuration(machine: Machine, groups: dict[str, int]) -> Iterator[Finding]:
    """Yield whether a person wrote the configuration anew, in a way that only root may read it."""
    if not machine.exists(_CONFIGURATION):
        return
    state = machine.at(_CONFIGURATION).stat()
    of_group = state.st_mode & stat.S_IRGRP and state.st_gid == groups.get("recorder")
    if not of_group and not state.st_mode & stat.S_IROTH:
        found = f"{_CONFIGURATION} {_shown(state, groups)}"
        mend = f"`chown root:recorder {_CONFIGURATION} && chmod 640 {_CONFIGURATION}`"
        yield Finding("configuration", found, "group recorder that may read", mend, True)


def _shown(state: os.stat_result, groups: dict[str, int]) -> str:
    group = {number: name for name, number in groups.items()}.get(state.st_gid, state.st_gid)
    return f"with mode {stat.S_IMODE(state.st_mode):04o}, group {group}"


def _of_folders(machine: Machine, config: Config, users: dict[str, int]) -> Iterator[Finding]:
    directory = config.spool.directory
    if directory != _UNITS_FOLDER:
        mend = f"mount the disk at {_UNITS_FOLDER}, or a drop-in with ReadWritePaths={directory}/…"
        found = f"spool.directory {directory}, where the units may not write"
        yield Finding("spool", found, str(_UNITS_FOLDER), mend, True)
        return
    if is_awaited(machine, config):
        return  # not mounted: that is told elsewhere, and what lies there is not the spool
    for name, user in _OWNERS.items():
        folder = directory / name
        if not machine.exists(folder):
            mend = "`systemd-tmpfiles --create recorder.conf`"
            yield Finding("spool", f"no folder {folder}", f"one of {user}", mend, True)
        elif user in users and machine.at(folder).stat().st_uid != users[user]:
            owner = machine.at(folder).stat().st_uid
            mend = f"`chown -R {user}:recorder {folder}`"
            yield Finding("spool", f"{folder} of user {owner}", f"of {user}", mend, True)


def _ids(machine: Machine, path: str) -> dict[str, int]:
    """Return the numbers of users or groups, by name."""
    lines = (one.split(":") for one in machine.text(path).splitlines())
    whole = (one for one in lines if len(one) > _NUMBER and one[_NUMBER].isdecimal())
    return {one[0]: int(one[_NUMBER]) for one in whole}
