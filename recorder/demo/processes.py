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
        rss_bytes: memory resident, without the rings.
        ring_bytes: of the rings that it maps and shares, as much as is resident.
        cpu_percent: CPU time over its life, in per cent of one core.
    """

    name: str
    pid: int
    rss_bytes: int
    ring_bytes: int
    cpu_percent: float


def usage(name: str, pid: int) -> Usage | None:
    """Return what a process has used since it started, or None if it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # Fields of proc(5), counted behind the name: utime 11, stime 12, starttime 19, rss 21.
    ticks = int(stat[11]) + int(stat[12])
    age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - int(stat[19]) / _TICKS_PER_S
    rings = _ring_bytes(pid)
    rss_bytes = int(stat[21]) * os.sysconf("SC_PAGE_SIZE")
    return Usage(name, pid, rss_bytes - rings, rings, 100 * ticks / _TICKS_PER_S / age_s)


def _ring_bytes(pid: int) -> int:
    found = 0
    is_ring = False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        key, *rest = line.split()
        if not key.endswith(":"):
            is_ring = line.endswith(".ring")
        elif key == "Rss:" and is_ring:
            found += int(rest[0]) * 1024
    return found
