"""What each process of the recorder costs, from /proc."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """What one process used.

    Args:
        name: the process.
        pid: its id.
        rss_bytes: memory resident, mapped files included.
        cpu_percent: CPU time over its life, in per cent of one core.
        threads: how many it has.
    """

    name: str
    pid: int
    rss_bytes: int
    cpu_percent: float
    threads: int


def usage(name: str, pid: int) -> Usage | None:
    """Return what a process has used since it started, or None if it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # Fields of proc(5), counted behind the name: utime 11, stime 12, num_threads 17, starttime 19,
    # rss 21.
    ticks = int(stat[11]) + int(stat[12])
    age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - int(stat[19]) / _TICKS_PER_S
    rss_bytes = int(stat[21]) * os.sysconf("SC_PAGE_SIZE")
    return Usage(name, pid, rss_bytes, 100 * ticks / _TICKS_PER_S / age_s, int(stat[17]))
