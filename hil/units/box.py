"""A container with the product's own package installed, and the models of its devices."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hil.units.container import Container

PROJECT = Path(__file__).parents[2]
CONFIG = "/etc/recorder/recorder.toml"
PYTHON_VERSION = "3.13"
#: What the models need and the product does not.
PILLOW = "pillow"
MODELS = "/run/models"
LANES = f"""
[vehicle]
name = "bench"
[web]
enabled = true
[[lanes]]
name = "gps"
driver = "nmea_gps"
device = "{MODELS}/dev/gps"
baud = 115200
rate_hz = 10
[[lanes]]
name = "imu"
driver = "mpu6050"
device = "unix:{MODELS}/dev/i2c"
[[lanes]]
name = "camera"
driver = "frame_source"
device = "unix:{MODELS}/dev/camera"
rate_hz = 10
"""
NAMES = ("gps", "imu", "camera")
#: The models' receiver is a pseudo-terminal, which no vehicle has.
DROP_IN = """[Service]
DeviceAllow=char-pts rw
WatchdogSec=4
"""


#: What an installation needs of a checkout.
CHECKOUT = (
    *("CHANGELOG.md", "LICENSE", "Makefile", "README.md", "docs", "drivers", "pyproject.toml"),
    *("recorder", "requirements", "systemd", "udev"),
)


def gather(folder: Path) -> Path:
    """Fill a folder with all that an installation without a network needs, and return it."""
    scripts = PROJECT / "systemd/package"
    for command in (
        [str(scripts / "wheels"), str(folder), "amd64", PYTHON_VERSION],
        [str(scripts / "tools"), "gather", str(folder)],
    ):
        environment = {**os.environ, "PYTHON_BIN": sys.executable}
        subprocess.run(command, cwd=PROJECT, env=environment, check=True)
    return folder


def package(folder: Path, version: str, wheels: Path) -> Path:
    """Build the Debian package in a version, from wheels that lie in a folder; return its file."""
    done = subprocess.run(
        [PROJECT / "systemd/package/deb", folder, "amd64", PYTHON_VERSION],
        cwd=PROJECT,
        env={
            **os.environ,
            "VERSION": version,
            "PYTHON_BIN": sys.executable,
            "WHEELS": str(wheels),
        },
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return PROJECT / done.stdout.strip()


class Box(Container):
    """A container as a vehicle's computer."""

    def install(self, deb: Path) -> str:
        """Install a package, or another version of it, without any network."""
        shutil.copy(deb, self.root / "srv")
        return self.run(
            "DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --reinstall"
            f" --allow-downgrades -o Dpkg::Options::=--force-confold /srv/{deb.name}"
        )

    def sessions(self) -> list[dict[str, Any]]:
        """Return what `recorder sessions` says."""
        found: list[dict[str, Any]] = json.loads(
            self.run(f"recorder sessions --json --config {CONFIG}")
        )
        return found

    def record(self) -> None:
        """Start the models, configure their lanes, and wait until all of them record."""
        self.add_models()
        self.start_models()
        self.configure(LANES + '[upload]\nmode = "off"\n')
        for lane in NAMES:
            self.until(f"systemctl show -P StatusText recorder-lane@{lane} | grep ^running")

    def check_out(self) -> None:
        """Bring the project's own files to /srv/recorder."""
        place = self.root / "srv/recorder"
        place.mkdir()
        for name in CHECKOUT:
            part = PROJECT / name
            if part.is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(part, place / name, ignore=ignored)
            else:
                shutil.copy(part, place / name)

    def add_models(self) -> None:
        """Bring what the models need, and let the lanes open a pseudo-terminal."""
        with tempfile.TemporaryDirectory() as wheels:
            pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
            only = [
                "--only-binary=:all:",
                "--implementation=cp",
                "--platform=manylinux_2_28_x86_64",
            ]
            where = [f"--python-version={PYTHON_VERSION}", f"--dest={wheels}"]
            subprocess.run([*pip, "download", "--no-deps", *only, *where, PILLOW], check=True)
            target = self.root / "opt/models"
            for wheel in Path(wheels).iterdir():
                shutil.unpack_archive(wheel, target, "zip")
        self.put(DROP_IN, "/etc/systemd/system/recorder-lane@.service.d/bench.conf")

    def start_models(self) -> None:
        """Start the devices' models."""
        settings = json.dumps(
            {"dir": MODELS, "camera": {"rate_hz": 10, "width": 320, "height": 240}}
        )
        self.put(settings, "/run/models.json")
        self.put(
            "umask 0; sleep infinity | exec /opt/recorder/current/bin/python3 -m drivers.sim.world"
            ' --settings "$(cat /run/models.json)"\n',
            "/run/models.sh",
        )
        self.run("systemd-run -q --unit=models --setenv=PYTHONPATH=/opt/models sh /run/models.sh")
        # A terminal belongs to whoever opened its other end.
        self.until(f"chmod 0666 $(readlink -f {MODELS}/dev/gps)")
        self.until(f"test -S {MODELS}/dev/camera && chmod 0777 {MODELS}/dev/* {MODELS}/dev")

    def configure(self, text: str) -> None:
        """Write the configuration, as its owner would, and have systemd read it."""
        self.put(text, CONFIG)
        self.run("systemctl daemon-reload && systemctl restart recorder.target")

    def status(self) -> dict[str, Any]:
        """Return what `recorder status` says."""
        found: dict[str, Any] = json.loads(self.run(f"recorder status --json --config {CONFIG}"))
        return found
