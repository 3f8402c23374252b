"""Takes what there is of a machine, to see who must give: run in the machine by the bench.

``hog.py memory PATTERN`` takes memory until the kernel's log says something. ``hog.py cpu SECONDS``
takes one processor. It moves into a unit's control group first if the environment names one
(``GROUP``).
"""

import os
import pathlib
import re
import sys
import time

#: Little, so that it ends before it has taken what a killed process gave back.
CHUNK_BYTES = 1 << 20
LOG = pathlib.Path("/dev/kmsg")


def read(log: int) -> str:
    """Return what the kernel has said since."""
    said = ""
    while True:
        try:
            said += os.read(log, 8192).decode(errors="replace")
        except BrokenPipeError:  # it said more than it keeps; the rest follows
            continue
        except BlockingIOError:
            return said


def take_memory(log: int, pattern: str) -> None:
    """Take memory until the kernel has said something."""
    os.lseek(log, 0, os.SEEK_END)
    wanted, said, taken = re.compile(pattern, re.DOTALL), "", []
    until_s = time.monotonic() + 120
    while not wanted.search(said) and time.monotonic() < until_s:
        taken.append(bytearray(b"x") * CHUNK_BYTES)
        said += read(log)


def take_cpu(seconds: float) -> None:
    """Turn in a circle."""
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        pass


def main() -> None:
    """Take what was asked for."""
    log = os.open(LOG, os.O_RDONLY | os.O_NONBLOCK)  # a unit's group may open no device
    group = os.environ.get("GROUP")
    if group:
        pathlib.Path(f"/sys/fs/cgroup/{group}/cgroup.procs").write_text(str(os.getpid()))
    what, amount = sys.argv[1:]
    if what == "memory":
        take_memory(log, amount)
    else:
        take_cpu(float(amount))


if __name__ == "__main__":
    main()
