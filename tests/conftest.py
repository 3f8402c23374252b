"""What every test gets: the data's folder, and a check that it leaves nothing running."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
#: A thread or process that was told to end gets this long to do so.
END_S = 5.0
PR_SET_CHILD_SUBREAPER = 36

# The same examples every time: the gate's answer depends on the change, not on luck. No deadline,
# since a busy machine is not a finding.
settings.register_profile(
    "gate",
    max_examples=50,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("gate")

# What a killed process leaves behind becomes our child instead of init's, and so is seen.
ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children() -> set[int]:
    """Return the ids of this process's children, those of dead children among them."""
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        try:
            found |= {int(one) for one in (task / "children").read_text().split()}
        except FileNotFoundError:  # a thread that ended while we looked
            continue
    return found


def ends(pid: int, within_s: float) -> bool:
    """Wait for a child to end, and collect it if it did."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    try:
        if not poll.poll(within_s * 1000):
            return False
        os.waitpid(pid, 0)
    except ChildProcessError:  # its owner collected it
        pass
    finally:
        os.close(descriptor)
    return True


def command(pid: int) -> str:
    """Return the command line of a process, empty if it has ended."""
    try:
        return (
            Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        )
    except FileNotFoundError:
        return ""


def leftover_processes(before: set[int]) -> list[str]:
    """End children that a test left, and return what they were."""
    told: list[str] = []
    for pid in sorted(children() - before):
        if "resource_tracker" in command(pid) or ends(pid, END_S):
            continue
        told.append(f"process {pid}: {command(pid)}")
        os.kill(pid, signal.SIGKILL)
        ends(pid, END_S)
    return told


def leftover_threads(before: set[threading.Thread]) -> list[str]:
    """Return what threads a test left running."""
    told: list[str] = []
    for thread in set(threading.enumerate()) - before:
        thread.join(END_S)
        if thread.is_alive():
            told.append(f"thread {thread.name}")
    return told


@pytest.fixture(autouse=True)
def nothing_left_running() -> Iterator[None]:
    """Fail a test that leaves a process or a thread behind."""
    processes, threads = children(), set(threading.enumerate())
    yield
    left = leftover_threads(threads) + leftover_processes(processes)
    if left:
        pytest.fail("left running: " + "; ".join(left))


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real logs and drives; without it a test that needs them is skipped."""
    folder = (ROOT / os.environ.get("RECORDER_DATA", "../shared/data")).resolve()
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is absent (RECORDER_DATA)")
    return folder
