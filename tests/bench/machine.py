"""On what the figures were measured: they mean nothing without it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sqlite3
from pathlib import Path

LIBRARIES = ("pyarrow", "mosaicolabs", "mcap")


def facts(disk: Path, memory: Path) -> dict[str, str]:
    """Return cores, kernel, file systems and versions.

    Args:
        disk: where spools and the station's rows will lie.
        memory: where rings will lie.
    """
    versions = [f"{one} {importlib.metadata.version(one)}" for one in LIBRARIES]
    return {
        "cores": f"{os.cpu_count()}, {_processor()}",
        # Of the minute before: what others do meanwhile is in every figure.
        "busy": f"load average {os.getloadavg()[0]:.2f}",
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.1f} GiB",
        "kernel": platform.release(),
        "disk": _file_system(disk),
        "rings": _file_system(memory),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "libraries": ", ".join([*versions, f"sqlite {sqlite3.sqlite_version}"]),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Model"):
            return value.strip()
    return platform.machine()


def _file_system(path: Path) -> str:
    """Return type and device of the file system that a path is on: the longest mount above it."""
    whole = path.resolve()
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    above = [one for one in mounts if whole.is_relative_to(one[1])]
    if not above:
        return "not known"  # a changed root: its mounts do not reach up to it
    # Of two mounts on one place the later one is seen.
    device, _, kind, *_ = max(reversed(above), key=lambda one: len(one[1]))
    return f"{kind} on {device}"
