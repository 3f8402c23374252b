"""The machine that every scenario starts from: installed, booted once, recording, and saved.

It lies in the cache under the hash of what it was made of; another one is made when that changes.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hil.root import keep, missing
from hil.vm.image import CONFIG, Image, build
from hil.vm.machine import Machine

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PROJECT = Path(__file__).parents[2]
PYTHON_VERSION = "3.13"
#: What the machine is made of.
PARTS = ("drivers", "hil/vm", "hil/root.py", "pyproject.toml", "recorder", "requirements")
PARTS_TOO = ("systemd", "udev")
TOOLS = ("qemu-system-x86_64", "qemu-img", "swtpm", "mkfs.ext4")
LANES = ("gps", "imu", "camera")
#: No sensor is there when the machine is saved; one that is not required owes nothing until then.
SETTINGS = """[vehicle]
name = "bench"
[upload]
mode = "off"
[[lanes]]
name = "gps"
driver = "nmea_gps"
device = "/dev/recorder/gps"
required = false
rate_hz = 10
[[lanes]]
name = "imu"
driver = "mpu6050"
device = "/dev/recorder/imu"
required = false
rate_hz = 100
[[lanes]]
name = "camera"
driver = "v4l2_camera"
device = "/dev/recorder/camera"
required = false
rate_hz = 10
width = 320
height = 240
"""


@dataclass(frozen=True)
class Ready:
    """A machine to wake.

    Args:
        image: what it was booted from.
        saved: what to wake it from.
        boot_s: how long it took to boot, by emulation.
    """

    image: Image
    saved: Path
    boot_s: float


def why_not() -> str:
    """Return why no machine can run here, or nothing."""
    reason = missing(*TOOLS)
    return (
        f"{reason} (apt-get install qemu-system-x86 qemu-utils swtpm mmdebstrap)" if reason else ""
    )


def ready() -> Ready:
    """Return the machine, made if it is not there yet (three minutes)."""
    return found(keep("vm", key(), make))


def found(place: Path) -> Ready:
    """Return the machine that `make` left in a folder."""
    known = json.loads((place / "known.json").read_text())
    image = Image(place / "disk.img", place / known["kernel"], place / known["initrd"])
    return Ready(image, place / "saved.qcow2", known["boot_s"])


def make(
    place: Path,
    settings: str = SETTINGS,
    lanes: Sequence[str] = LANES,
    packages: Sequence[str] = (),
    complete: Callable[[Path], None] | None = None,
) -> None:
    """Fill an empty folder with a machine that records as soon as something is plugged in.

    Args:
        place: the folder.
        settings: its configuration.
        lanes: those that this has.
        packages: of Debian, see `build`.
        complete: see `build`.
    """
    with tempfile.TemporaryDirectory() as folder:
        image = build(_package(Path(folder)), settings, place, packages, complete)
    with Machine(image) as machine:
        boot_s = machine.boot()
        for lane in lanes:
            machine.until(f"systemctl show -P StatusText recorder-lane@{lane} | grep absent")
        machine.run("sync")
        machine.save(place / "saved.qcow2")
    known = {"kernel": image.kernel.name, "initrd": image.initrd.name, "boot_s": boot_s}
    (place / "known.json").write_text(json.dumps(known))


def configure(machine: Machine, text: str) -> None:
    """Write the configuration, as its owner would, and have everything start with it."""
    machine.put(text, f"/{CONFIG}")
    machine.run("systemctl daemon-reload && systemctl restart recorder.target")


def _package(folder: Path) -> Path:
    done = subprocess.run(
        [PROJECT / "systemd/package/deb", folder, "amd64", PYTHON_VERSION],
        cwd=PROJECT,
        env={**os.environ, "PYTHON_BIN": sys.executable},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return PROJECT / done.stdout.strip()


def key() -> str:
    """Return the hash of what the machine is made of."""
    digest = hashlib.sha256()
    for part in (*PARTS, *PARTS_TOO):
        place = PROJECT / part
        for file in sorted(place.rglob("*")) if place.is_dir() else [place]:
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(str(file.relative_to(PROJECT)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:12]
