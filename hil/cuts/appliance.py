"""The installed recorder with a disk of its own for the spool, and a ground station beside it."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from hil.scenarios.bench import PATIENCE_S, RUN_DIR, Bench
from hil.scenarios.devices import Camera, Gps, Imu, drive
from hil.scenarios.of_upload import GROUND, SETTINGS_LIVE
from hil.vm.image import CONFIG, KEY_FILE
from hil.vm.machine import Machine
from hil.vm.ready import LANES, PROJECT
from recorder.configfile import load
from tests.powercut.disk import check, mounted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hil.vm.image import Image
    from hil.vm.ready import Ready
    from recorder.config import Config

DISK_BYTES = 64 << 20
SERIAL = "spool"
#: Sessions and segments end every few seconds and the oldest are given up, so that cuts fall into
#: that too.
ROLLING = """
[session]
roll_over_s = 15
heartbeat_s = 2
[spool]
segment_bytes = 262144
free_floor_bytes = 1048576
max_bytes = 3145728
"""
CONFIGURED = SETTINGS_LIVE + ROLLING
#: Behind a cut nothing is given up, nor rolled over.
ROOMY = SETTINGS_LIVE + "[spool]\nfree_floor_bytes = 1048576\n"
LABEL = "recorder"
#: The line of /etc/fstab that docs/pi.md tells the owner of a partition to write.
TOLD = re.compile(rf"^echo '(LABEL={LABEL} /var/lib/recorder ext4 .*)'", re.MULTILINE)
#: How long that waits for the partition; an emulated machine finds its disks late.
WAIT, PATIENT_WAIT = "x-systemd.device-timeout=15s", "x-systemd.device-timeout=300s"
#: No lazy work of the file system's own in the log.
FORMAT = (
    *("mkfs.ext4", "-q", "-F", "-L", LABEL, "-m", "0", "-J", "size=4"),
    *("-E", "lazy_itable_init=0,lazy_journal_init=0"),
)


def copied(saved: Ready, folder: Path) -> Image:
    """Return a copy of the machine's image, for another configuration."""
    copy = folder / "root.img"
    subprocess.run(["cp", "--sparse=always", saved.image.disk, copy], check=True)
    return replace(saved.image, disk=copy)


def configure(image: Image, settings: str) -> None:
    """Write the configuration with which an image boots from now on."""
    with mounted(image.disk, image.disk.parent / "root") as place:
        (place / CONFIG).write_text(settings)


def give_partition(image: Image) -> None:
    """Let an image mount a partition of the recorder's own, as docs/pi.md says."""
    (line,) = TOLD.findall((PROJECT / "docs/pi.md").read_text())
    with (
        mounted(image.disk, image.disk.parent / "root") as place,
        (place / "etc/fstab").open("a") as fstab,
    ):
        fstab.write(f"{line.replace(WAIT, PATIENT_WAIT)}\n")


def make_disk(place: Path) -> None:
    """Make an image with an empty file system."""
    with place.open("wb") as file:
        file.truncate(DISK_BYTES)
    subprocess.run([*FORMAT, place], check=True)


def plain(disk: Path) -> list[str]:
    """Return QEMU's arguments for a disk for the spool."""
    drive = f"file={disk},format=raw,if=none,id=spool"
    return ["-drive", drive, "-device", f"virtio-blk-pci,drive=spool,serial={SERIAL}"]


@contextlib.contextmanager
def opened(disk: Path, folder: Path) -> Iterator[Config]:
    """Mount a disk here, and give the machine's configuration as if it were booted with that.

    Args:
        disk: an image; whether its file system is sound is looked at in the end.
        folder: for what a boot needs; it may be there.
    """
    folder.mkdir(exist_ok=True)
    settings = folder / "recorder.toml"
    settings.write_text(CONFIGURED)
    found = load(settings)
    with mounted(disk, folder / "mnt") as place, TemporaryDirectory(dir=folder) as run_dir:
        spool = replace(found.spool, directory=place, run_dir=Path(run_dir))
        yield replace(found, spool=spool)
    check(disk)


@contextlib.contextmanager
def booted(image: Image, more: Sequence[str], folder: Path) -> Iterator[Bench]:
    """Boot a machine with a disk for the spool and all sensors plugged in."""
    sensors = {"gps": Gps(folder, drive()), "imu": Imu(folder), "camera": Camera()}
    with (
        Machine(image, more) as machine,
        contextlib.closing(Bench(machine, sensors, folder)) as bench,
    ):
        machine.boot(lambda: bench.plug(*LANES))
        yield bench


def until_uploaded(bench: Bench, session_id: str) -> dict[str, Any]:
    """Wait until a session is at the ground station, and return what that says of it."""
    machine = bench.machine
    done = f"grep -q '\"done\": .*{session_id}' {RUN_DIR}/status/upload.json"
    machine.until(done, PATIENCE_S)
    said = machine.run(f"recorder sessions --json --server {GROUND} --key-file {KEY_FILE}")
    found = {one["id"]: one for one in json.loads(said)}
    one: dict[str, Any] = found[session_id]
    return one
