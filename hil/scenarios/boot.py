"""From power to the first durable sample: what a machine that was switched on says of its boot.

How much slower an emulated processor is than this machine's own, Python's start tells: the same
program, from the same disk, is started here and there, on as many processors. Of what a boot does
this suffers least from the emulation: starting programs, looking through folders and packing suffer
1.5 to 2.5 times as much, so what is reckoned by it is rather too long than too short.
A Pi 4 is taken for five times as slow as a core like this one; four to six are inferred, and none
was measured. Userspace reckons and hardly waits, so it is scaled by both; what it read from its
disk comes on top, as if nothing else was done then.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from hil.vm.machine import Machine

#: Prints how long it takes until four processes that are started at once, as a boot does, have
#: imported what they need. The median.
START = """
import statistics, subprocess, sys, time
ALL = 4 * [[sys.executable, "-c", "import recorder.start, recorder.spooler"]]
def start_s():
    begin_s = time.monotonic()
    for one in [subprocess.Popen(one) for one in ALL]:
        assert one.wait() == 0
    return time.monotonic() - begin_s
print(statistics.median(start_s() for _ in range(5)))
"""
PYTHON = "/opt/recorder/current/bin/python3"
#: Runs Python from a machine's disk on this machine's processors: disk, empty folder, program.
HERE = f'mount -o ro,noload,loop "$1" "$2" && exec chroot "$2" {PYTHON} -c "$3"'
#: A Pi 4's core beside one like this machine's, by Python's start; its card when it is read.
PI_SLOWER, PI_READS_BYTES_PER_S = 5.0, 40e6
SECTOR_BYTES = 512
#: What the spool's process says, and systemd's properties: all in us since the kernel began.
DURABLE = "its first samples are durable"
BEGUN, STARTED, READY = (
    f"systemctl show -P {one}TimestampMonotonic"
    for one in ("Userspace", "ExecMainStart", "ActiveEnter")
)
SPOOL, EVERY = "recorder-spool", "recorder-spool recorder-lane@gps recorder-lane@imu"


@dataclass(frozen=True)
class Boot:
    """Moments of a boot, in s since the kernel began, and what it took.

    Args:
        userspace_s: systemd begins.
        units_s: it starts the first of the recorder's processes.
        ready_s: the spool's process is ready.
        sample_s: the first sample was taken.
        durable_s: the first samples are durable.
        processors: that it has.
        python_s: for four Pythons to start there at once, with the recorder's imports.
        here_s: the same on as many processors of this machine.
        read_bytes: from the disk, until it was asked.
    """

    userspace_s: float
    units_s: float
    ready_s: float
    sample_s: float
    durable_s: float
    processors: int
    python_s: float
    here_s: float
    read_bytes: int

    @classmethod
    def of(cls, machine: Machine, sample_s: float) -> Boot:
        """Ask a machine how it booted; its recorder may have stopped since.

        Args:
            machine: it was switched on, and recorded.
            sample_s: when the first sample was taken, in s since its kernel began.
        """
        said = machine.run(f"journalctl --no-pager -b -o json -u {SPOOL} | grep '{DURABLE}'")
        durable_us = json.loads(said.splitlines()[0])["__MONOTONIC_TIMESTAMP"]
        processors = int(machine.run("nproc"))
        return cls(
            userspace_s=_first_s(machine.run(BEGUN)),
            units_s=_first_s(machine.run(f"{STARTED} {EVERY}")),
            ready_s=_first_s(machine.run(f"{READY} {SPOOL}")),
            sample_s=sample_s,
            durable_s=_first_s(durable_us),
            processors=processors,
            python_s=float(machine.run(f"{PYTHON} -c {shlex.quote(START)}")),
            here_s=_here_s(machine.image.disk, processors),
            read_bytes=int(machine.run("cat /sys/block/vda/stat").split()[2]) * SECTOR_BYTES,
        )

    @property
    def own_s(self) -> float:
        """From the first unit's start to the first durable samples, without Python's start."""
        return self.durable_s - self.units_s - self.python_s

    @property
    def pi_s(self) -> float:
        """How long a Pi 4's userspace would take to the first durable sample, on as many cores."""
        reckons_s = (self.durable_s - self.userspace_s) * PI_SLOWER * self.here_s / self.python_s
        return reckons_s + self.read_bytes / PI_READS_BYTES_PER_S

    def tells(self) -> list[str]:
        """Return it in words."""
        return [
            f"userspace begins at {self.userspace_s:.1f} s, units {self.units_s:.1f}, spool ready"
            f" {self.ready_s:.1f}, first sample {self.sample_s:.1f}, durable {self.durable_s:.1f}",
            f"units' start to durable {self.own_s:.1f} s without Python's start, which takes"
            f" {self.python_s:.1f} s for four processes there and {self.here_s:.2f} s here",
            f"{self.read_bytes / 1e6:.0f} MB read; a Pi 4's userspace by that {self.pi_s:.1f} s on"
            f" {self.processors} of its cores",
        ]


def _here_s(disk: Path, processors: int) -> float:
    """Return what `START` says of a machine's disk on so many of this machine's processors."""
    ours = ",".join(str(one) for one in sorted(os.sched_getaffinity(0))[:processors])
    apart = ("unshare", "--mount", "--propagation", "private", "taskset", "-c", ours)
    with tempfile.TemporaryDirectory() as place:
        command = [*apart, "sh", "-c", HERE, "sh", str(disk), place, START]
        return float(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def _first_s(us: str) -> float:
    return min(int(one) for one in us.split()) / 1e6
