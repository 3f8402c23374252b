"""What each unit's process may do: tried from inside its own sandbox, on any box that is installed.

The sandbox is the unit's own text with the drop-ins that systemd knows, around `hil.probe`.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

CONFIG = "/etc/recorder/recorder.toml"
PYTHON = "/opt/recorder/current/bin/python3"
#: A lane of every kind; the names are of the probe's.
LANES = {"probe-gps": "nmea_gps", "probe-imu": "mpu6050", "probe-camera": "v4l2_camera"}
UNITS = (
    *(f"recorder-lane@{lane}" for lane in LANES),
    *("recorder-spool", "recorder-upload", "recorder-web", "recorder-power"),
    *("recorder-settings", "recorder-key", "recorder-power-off", "recorder-fsck"),
)
#: What each may do of what the probe tries; everything else must be refused.
ALLOWED: Mapping[str, frozenset[str]] = {
    "recorder-lane@probe-gps": frozenset({"a serial port"}),
    "recorder-lane@probe-imu": frozenset({"an I2C bus"}),
    "recorder-lane@probe-camera": frozenset({"a camera"}),
    "recorder-spool": frozenset(
        {"another lane's ring", "write the spool", "read the spool", "signal the spool"}
    ),
    "recorder-upload": frozenset(
        {"a socket to the network", "read the spool", "write the upload's journals"}
    ),
    "recorder-web": frozenset({"a socket to the network", "read the spool"}),
    "recorder-power": frozenset({"a pin", "power off"}),
    "recorder-settings": frozenset({"write the kept settings"}),
    "recorder-power-off": frozenset(),
    # It is root, without any of root's capabilities.
    "recorder-fsck": frozenset({"a disk"}),
    # It is root, with what it takes to write into the upload's folders.
    "recorder-key": frozenset(),
}
REFUSED = {"EACCES", "EPERM", "EROFS", "ENOENT", "EAFNOSUPPORT", "ENETUNREACH", "ESRCH"}
MOST_EXPOSED = 2.0
#: Nodes without a device behind them, but with the owners that real ones have.
NODES = (
    ("serial", "c 4 77", "dialout"),
    ("i2c", "c 89 77", "i2c"),
    ("camera", "c 81 77", "video"),
    # Its number is another one on every machine.
    (
        "pin",
        "c $(awk '$2 == \"gpiochip\" {n = $1} END {print n ? n : 254}' /proc/devices) 77",
        "gpio",
    ),
    ("disk", "b 8 240", "disk"),
    ("memory", "c 1 1", "kmem"),
)
#: What has to do with being started, watched and ordered, and nothing with what may be done.
BESIDE = re.compile(
    r"^(Type|NotifyAccess|WatchdogSec|Restart\w*|ExecStart|TimeoutSt\w+Sec|RemainAfterExit"
    r"|SuccessAction|SuccessExitStatus|PartOf|BindsTo|After|Before|Wants|Conflicts"
    r"|DefaultDependencies|Condition\w+)=.*\n",
    re.MULTILINE,
)


class Reached(Protocol):
    """A box that commands and files reach, as root."""

    def run(self, command: str) -> str:
        """Run a shell command that must succeed, and return what it said."""

    def put(self, text: str, path: str) -> None:
        """Write a file."""


def prepare(box: Reached) -> None:
    """Put what the probe tries to reach onto a box that records."""
    box.put(Path(__file__).with_name("probe.py").read_text(), "/opt/bench/probe.py")
    for name, number, group in NODES:
        node = f"/dev/probe-{name}"
        box.run(f"rm -f {node}; mknod -m 660 {node} {number} && chgrp {group} {node}")
    box.run(
        "install -d -m 755 /run/user/0; echo s > /run/user/0/secret; install -d -m 700"
        " /etc/credstore; echo k > /etc/credstore/recorder.key; chmod 600"
        " /etc/credstore/recorder.key; systemctl stop bench-other; systemd-run -q"
        " --unit=bench-other -p DynamicUser=yes -p LoadCredential=recorder.key sleep infinity;"
        " systemctl show -P MainPID recorder-spool > /opt/bench/spool.pid"
    )


def texts(box: Reached) -> dict[str, str]:
    """Return by unit all that systemd knows of it on a box with lanes of every kind."""
    own = box.run(f"cat {CONFIG}")
    lanes = "".join(
        f'[[lanes]]\nname = "{name}"\ndriver = "{one}"\n' for name, one in LANES.items()
    )
    try:
        box.put(f"{own}\n{lanes}", CONFIG)
        box.run("systemctl daemon-reload")
        return {unit: box.run(f"systemctl cat {unit}.service") + "\n" for unit in UNITS}
    finally:
        box.put(own, CONFIG)
        box.run("systemctl daemon-reload")


def tried(box: Reached, unit: str, text: str) -> dict[str, str]:
    """Return what became of each deed in a unit's sandbox: ``done``, or the error's name."""
    instance = unit.partition("@")[2]
    probe = "probe@" if instance else "probe"
    probing = BESIDE.sub("", text).replace(
        "[Service]\n",
        "[Service]\nType=oneshot\nStandardOutput=file:/run/probe.out\n"
        f"ExecStart=\nExecStart={PYTHON} /opt/bench/probe.py\n",
        1,
    )
    box.put(probing, f"/run/systemd/system/{probe}.service")
    box.run(
        "systemctl daemon-reload; rm -f /run/probe.out;"
        f" systemctl start {probe}{instance} || {{ systemctl status {probe}{instance}; exit 1; }}"
    )
    found: dict[str, str] = json.loads(box.run("cat /run/probe.out"))
    return found


def table(found: Mapping[str, Mapping[str, str]]) -> str:
    """Return what each unit may do as a table in Markdown: a row for each deed."""
    units = list(found)
    names = " | ".join(one.removeprefix("recorder-").replace("@probe-", " ") for one in units)
    lines = [f"| tried from inside | {names} |", "|---|" + "---|" * len(units)]
    for deed in next(iter(found.values())):
        lines.append(f"| {deed} | {' | '.join(_cells(found, units, deed))} |")
    return "\n".join(lines) + "\n"


def _cells(
    found: Mapping[str, Mapping[str, str]], units: Iterable[str], deed: str
) -> Iterable[str]:
    return ("**yes**" if found[unit][deed] == "done" else found[unit][deed] for unit in units)
