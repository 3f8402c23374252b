"""The installed recorder on a disk whose writes are logged, and what it promised meanwhile."""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hil.cuts import write_log
from hil.scenarios.bench import RUN_DIR, Bench
from hil.scenarios.devices import Camera, Gps, Imu, drive
from hil.vm.machine import Machine
from hil.vm.ready import LANES, SETTINGS, configure
from recorder.spool.watermark import Watermark

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from hil.vm.image import Image

DISK_BYTES, LOG_BYTES = 128 << 20, 4 << 30  # the log is sparse
SERIAL = "spool"
#: A session and a segment end every few seconds, so that cuts fall into that too.
BUSY = """
[session]
roll_over_s = 10
heartbeat_s = 2
[spool]
segment_bytes = 262144
free_floor_bytes = 1048576
"""
WORDS = f"systemd.mount-extra=/dev/disk/by-id/virtio-{SERIAL}:/var/lib/recorder:ext4:noatime"
NAP_S = 0.1


@dataclass(frozen=True)
class Water:
    """A watermark, and how many entries the log had when it was there.

    Args:
        entries: every cut behind so many has it.
        session_id: of the session.
        ends: by lane, a segment, and how many of its bytes are durable.
    """

    entries: int
    session_id: str
    ends: Mapping[str, tuple[str, int]]


@dataclass
class Drive:
    """A recording until its power was cut.

    Args:
        folder: with the disk as it was at first, as it is now, and the log.
        waters: what was promised, oldest first.
    """

    folder: Path
    waters: list[Water] = field(default_factory=list)

    @property
    def base(self) -> Path:
        """The disk at first."""
        return self.folder / "base.img"

    @property
    def log(self) -> Path:
        """What it was told."""
        return self.folder / "writes.log"

    def run(self, image: Image, seconds: float) -> None:
        """Boot with all sensors plugged in, record, and cut the power.

        Args:
            image: what the machine boots from.
            seconds: how long all sensors record.
        """
        make_disk(self.base)
        disk = self.folder / "disk.img"
        subprocess.run(["cp", "--sparse=always", self.base, disk], check=True)
        with self.log.open("wb") as file:
            file.truncate(LOG_BYTES)
        with booted(image, write_log.arguments(disk, self.log, SERIAL), self.folder) as bench:
            configure(bench.machine, SETTINGS + BUSY)
            for lane in LANES:
                bench.records(lane)
            until_s = time.monotonic() + seconds
            while time.monotonic() < until_s:
                self._look(bench)
                threading.Event().wait(NAP_S)
            bench.machine.close()

    def _look(self, bench: Bench) -> None:
        """Note what is promised by now."""
        copy = self.folder / "watermark"
        copy.write_text(bench.machine.try_(f"cat {RUN_DIR}/watermark")[1] + "\n")
        found = Watermark.read(copy)
        if found is not None and found.ends:
            entries = write_log.count(self.log)
            self.waters.append(Water(entries, found.session_id, dict(found.ends)))


def make_disk(place: Path) -> None:
    """Make an image with an empty file system."""
    with place.open("wb") as file:
        file.truncate(DISK_BYTES)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", "-J", "size=4", place], check=True)


@contextlib.contextmanager
def booted(image: Image, more: Sequence[str], folder: Path) -> Iterator[Bench]:
    """Boot a machine with a disk for the spool and all sensors plugged in."""
    sensors = {"gps": Gps(folder, drive()), "imu": Imu(folder), "camera": Camera()}
    with (
        Machine(image, more, WORDS) as machine,
        contextlib.closing(Bench(machine, sensors, folder)) as bench,
    ):
        machine.boot(lambda: bench.plug(*LANES))
        yield bench
