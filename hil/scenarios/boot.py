"""From power to the first durable sample: what a machine that was switched on says of its boot.

How much slower an emulated processor is than this machine's own, Python's start tells: the same
program is started here and there. A Pi 4 is taken for five times as slow as a core like this one
(it has been seen to take four to six times as long for Python). Userspace reckons and hardly waits,
so it is scaled by both; what it read from its disk comes on top, as if nothing else was done then.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hil.scenarios.bench import Computer

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
        python_s: for four Pythons to start there at once, with the recorder's imports.
        here_s: the same on this machine.
        read_bytes: from the disk, until it was asked.
    """

    userspace_s: float
    units_s: float
    ready_s: float
    sample_s: float
    durable_s: float
    python_s: float
    here_s: float
    read_bytes: int

    @classmethod
    def of(cls, machine: Computer, sample_s: float) -> Boot:
        """Ask a machine how it booted; its recorder may have stopped since.

        Args:
            machine: it was switched on, and recorded.
            sample_s: when the first sample was taken, in s since its kernel began.
        """
        said = machine.run(f"journalctl --no-pager -b -o json -u {SPOOL} | grep '{DURABLE}'")
        durable_us = json.loads(said.splitlines()[0])["__MONOTONIC_TIMESTAMP"]
        here = subprocess.run([sys.executable, "-c", START], check=True, stdout=subprocess.PIPE)
        return cls(
            userspace_s=_first_s(machine.run(BEGUN)),
            units_s=_first_s(machine.run(f"{STARTED} {EVERY}")),
            ready_s=_first_s(machine.run(f"{READY} {SPOOL}")),
            sample_s=sample_s,
            durable_s=_first_s(durable_us),
            python_s=float(machine.run(f"{PYTHON} -c {shlex.quote(START)}")),
            here_s=float(here.stdout),
            read_bytes=int(machine.run("cat /sys/block/vda/stat").split()[2]) * SECTOR_BYTES,
        )

    @property
    def own_s(self) -> float:
        """From the first unit's start to the first durable samples, without Python's start."""
        return self.durable_s - self.units_s - self.python_s

    @property
    def pi_s(self) -> float:
        """How long a Pi 4's userspace would take to the first durable sample."""
        reckons_s = (self.durable_s - self.userspace_s) * PI_SLOWER * self.here_s / self.python_s
        return reckons_s + self.read_bytes / PI_READS_BYTES_PER_S

    def tells(self) -> list[str]:
        """Return it in words."""
        return [
            f"userspace begins at {self.userspace_s:.1f} s, units {self.units_s:.1f}, spool ready"
            f" {self.ready_s:.1f}, first sample {self.sample_s:.1f}, durable {self.durable_s:.1f}",
            f"units' start to durable {self.own_s:.1f} s without Python's start, which takes"
            f" {self.python_s:.1f} s for four processes there and {self.here_s:.2f} s here",
            f"{self.read_bytes / 1e6:.0f} MB read; a Pi 4's userspace by that {self.pi_s:.1f} s",
        ]


def _first_s(us: str) -> float:
    return min(int(one) for one in us.split()) / 1e6
