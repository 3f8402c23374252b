"""How long commits take: a short test on the disk, or what the recorder that runs has seen."""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recorder import status
from recorder.box.finding import Finding
from recorder.clock import boot_ns

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from recorder.box.disk import Disk
    from recorder.config import Config

#: The test ends with so many commits, so many bytes, or after so long.
_COMMITS, _MOST_BYTES, _MOST_S = 40, 64 * 1024 * 1024, 4.0
_LEAST_BYTES, _MIB = 4096, 1024 * 1024
#: A life sign of the spool's process that is younger than this: it runs.
_FRESH_S = 5.0
#: No card and no stick empties its cache in less: where it says so, it does not.
_LEAST_FLUSH_S = 0.0002
_SLOW_KINDS = ("SD card", "eMMC", "USB")


@dataclass(frozen=True)
class Speed:
    """How long commits took.

    Args:
        commits: how many.
        bytes_each: size of each; 0: of the recorder that runs.
        p50_s: half of them took no longer.
        p99_s: 99 of a hundred took no longer.
        slowest_s: none took longer.
        error: why there are none; empty if there are.
    """

    commits: int = 0
    bytes_each: int = 0
    p50_s: float = 0.0
    p99_s: float = 0.0
    slowest_s: float = 0.0
    error: str = ""

    def __str__(self) -> str:
        if self.error:
            return f"commits not measured: {self.error}"
        what = f"{self.commits} commits of {self.bytes_each / 1e6:.2f} MB"
        if not self.bytes_each:
            what = f"{self.commits} commits of the recorder that runs"
        times = f"half within {_ms(self.p50_s)}, 99 % within {_ms(self.p99_s)}"
        return f"{what}: {times}, slowest {_ms(self.slowest_s)}"


def speed(config: Config, folder: Path, bytes_per_s: float) -> Speed:
    """Measure the commits, unless a recorder runs: then nothing is written, and it is asked.

    Args:
        config: the resolved configuration.
        folder: where to write; must be there. Nothing is left behind.
        bytes_per_s: what all lanes write.
    """
    sign = status.read(config.spool.run_dir, "spool") or {}
    is_fresh = boot_ns() - sign.get("boot_ns", 0) < _FRESH_S * 1e9
    if is_fresh and sign.get("commits", {}).get("count"):
        return _of_running(sign["commits"])
    wanted = round(bytes_per_s * config.spool.commit_interval_s)
    size_bytes = min(max(wanted, _LEAST_BYTES), _MOST_BYTES // 4)
    try:
        stat = os.statvfs(folder)
        if stat.f_bavail * stat.f_frsize < config.spool.free_floor_bytes + _MOST_BYTES:
            return Speed(error="the disk is too full for a test")
        took = _measured(folder, size_bytes)
    except OSError as error:
        return Speed(error=str(error.strerror))
    took.sort()
    return Speed(len(took), size_bytes, _at(took, 0.5), _at(took, 0.99), took[-1])


def _measured(folder: Path, size_bytes: int) -> list[float]:
    chunk = os.urandom(min(size_bytes, _MIB))  # a card may be quicker with zeros
    took: list[float] = []
    until_s = time.monotonic() + _MOST_S
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        while len(took) < min(_COMMITS, _MOST_BYTES // size_bytes) and time.monotonic() < until_s:
            began_s = time.monotonic()
            for begin in range(0, size_bytes, len(chunk)):
                file.write(chunk[: size_bytes - begin])
            os.fdatasync(file.fileno())
            took.append(time.monotonic() - began_s)
    return took


def _at(took: list[float], share: float) -> float:
    return took[min(int(len(took) * share), len(took) - 1)]


def _of_running(commits: Mapping[str, Any]) -> Speed:
    """Return what the life sign says; of a class of its histogram the upper bound."""
    slowest_s = commits["slowest_ms"] / 1e3
    return Speed(
        commits["count"],
        p50_s=min(_class_s(commits, 0.5), slowest_s),
        p99_s=min(_class_s(commits, 0.99), slowest_s),
        slowest_s=slowest_s,
    )


def _class_s(commits: Mapping[str, Any], share: float) -> float:
    seen = 0
    for bound, count in commits["histogram_ms"].items():
        seen += count
        if seen >= share * commits["count"]:
            return float(bound) / 1e3
    return float("inf")


def of_speed(config: Config, found: Speed, disk: Disk | None) -> Iterator[Finding]:
    """Yield how the commits miss what is promised: interval and commit within the loss window."""
    if not found.commits:
        return
    window_s, interval_s = config.spool.loss_window_s, config.spool.commit_interval_s
    wanted = f"with the {interval_s:g} s between two within spool.loss_window_s, {window_s:g} s"
    mend = "a better card or disk, fewer bytes (camera), or a larger spool.loss_window_s"
    if found.p50_s > window_s:
        told = f"half of the commits take {_ms(found.p50_s)} or longer"
        yield Finding("disk speed", told, wanted, mend, True)
    elif found.slowest_s + interval_s > window_s:
        yield Finding("disk speed", f"a commit of {_ms(found.slowest_s)}", wanted, mend)
    if disk and disk.kind in _SLOW_KINDS and found.bytes_each and found.p50_s < _LEAST_FLUSH_S:
        told = f"a {disk.kind} that flushes in {found.p50_s * 1e6:.0f} µs"
        mend = "another card: this one seems to confirm what it has not stored"
        yield Finding("disk speed", told, "flushes that are honoured", mend)


def _ms(time_s: float) -> str:
    return f"{time_s * 1e3:.1f} ms" if time_s < 1 else f"{time_s:.2f} s"
