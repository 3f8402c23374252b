"""A machine as its files show it: those of this one, or of a prepared folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_MOST_LINKS = 8
#: Where systemd keeps the control groups of units that run: cgroup v2, and v1 with either helper.
_GROUPS = ("", "systemd/", "unified/")
_UNIT_FOLDERS = ("/usr/lib/systemd/system", "/etc/systemd/system", "/lib/systemd/system")


@dataclass(frozen=True)
class Machine:
    """What can be read of a machine. All paths are absolute, as the machine itself has them.

    Args:
        root: the folder that stands for ``/``.
    """

    root: Path = Path("/")

    def at(self, path: str | Path) -> Path:
        """Return where a path of the machine lies."""
        return self.root / str(path).lstrip("/")

    def text(self, path: str | Path) -> str:
        """Return what a file holds, without the zeros and blanks round it; empty if unreadable."""
        try:
            return self.at(path).read_bytes().decode(errors="replace").strip("\0 \t\r\n")
        except OSError:
            return ""

    def number(self, path: str | Path, base: int = 10) -> int:
        """Return the number that a file holds; 0 if it holds none."""
        try:
            return int(self.text(path), base)
        except ValueError:
            return 0

    def exists(self, path: str | Path) -> bool:
        """Tell whether something is at a path, links followed inside the machine."""
        return os.path.lexists(self.at(self.real(path)))

    def glob(self, pattern: str) -> list[str]:
        """Return the paths that a pattern matches, sorted."""
        found = self.root.glob(pattern.lstrip("/"))
        return sorted("/" + str(one.relative_to(self.root)) for one in found)

    def link(self, path: str | Path) -> str:
        """Return what a link says; empty if it is none, or may not be read."""
        try:
            return str(self.at(path).readlink())
        except OSError:
            return ""

    def real(self, path: str | Path) -> str:
        """Return a path whose last part is no link; what is not there stays as it is."""
        here = str(path)
        for _ in range(_MOST_LINKS):
            target = self.link(here)
            if not target:
                break
            here = os.path.normpath(Path(here).parent / target)
        return here

    def whole(self, path: Path) -> Path:
        """Return a path without any link in it, as the machine has it."""
        found = self.at(path).resolve()
        root = self.root.resolve()
        return Path("/") / found.relative_to(root) if found.is_relative_to(root) else path

    @property
    def model(self) -> str:
        """What the board calls itself in its device tree; empty if it has none."""
        return self.text("/proc/device-tree/model")

    @property
    def is_pi(self) -> bool:
        """Whether it is a Raspberry Pi."""
        return "Raspberry Pi" in self.model

    @property
    def is_appliance(self) -> bool:
        """Whether the recorder's units are installed: systemd runs it, not a person."""
        return any(self.exists(f"{one}/recorder-spool.service") for one in _UNIT_FOLDERS)

    def runs(self, unit: str) -> bool:
        """Tell whether a unit of systemd runs: then it has a control group."""
        below = (f"system.slice/{unit}", f"system.slice/system-*.slice/{unit}")
        return any(self.glob(f"/sys/fs/cgroup/{one}{two}") for one in _GROUPS for two in below)
