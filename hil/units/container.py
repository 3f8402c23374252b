"""A Debian root that is booted, with systemd as its first process, and thrown away afterwards."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from hil.shell import PATIENCE_S, Shell

if TYPE_CHECKING:
    from collections.abc import Sequence

ContainerT = TypeVar("ContainerT", bound="Container")

#: How this machine finds packages, if it says so.
WAYS = ("PIP_CERT", "PIP_INDEX_URL", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
ENVIRONMENT = {
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "TERM": "dumb",
    "LANG": "C.UTF-8",
    "COLUMNS": "200",
}


class Container(Shell):
    """A booted copy of a root; nothing that happens in it reaches the root. A context manager.

    It has no network but loopback and none of the machine's devices. It shares the kernel: its boot
    id is the machine's.

    Args:
        root: the folder with the root.
    """

    def __init__(self, root: Path) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="recorder-box-"))
        # Whatever else runs here has another one. Not "-" for "_": a name may not end with that.
        self._name = self.folder.name.replace("_", "0")
        upper, work, self.root = (self.folder / one for one in ("upper", "work", "root"))
        for one in (upper, work, self.root):
            one.mkdir()
        options = f"lowerdir={root},upperdir={upper},workdir={work}"
        subprocess.run(
            ["mount", "-t", "overlay", "overlay", "-o", options, str(self.root)], check=True
        )
        self._process: subprocess.Popen[bytes] | None = None
        self._leader = 0

    def prepare(self, command: str) -> str:
        """Run a shell command in it while it is not booted, over this machine's network."""
        certificates = os.environ.get("PIP_CERT", "")
        given = [f"--setenv={name}={os.environ[name]}" for name in WAYS if name in os.environ]
        done = subprocess.run(
            [
                *("systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--pipe"),
                *("--resolv-conf=replace-host", f"--machine={self._name}"),
                *(f"--directory={self.root}", *given),
                *([f"--bind-ro={certificates}"] if certificates else []),
                *("sh", "-c", command),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}"
        return done.stdout.strip()

    def boot(self) -> float:
        """Start systemd in it, and return the seconds until it says that it is running."""
        begin_s = time.monotonic()
        console = (self.folder / "console").open("wb")
        with console:
            self._process = subprocess.Popen(
                [
                    *("systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--boot"),
                    *("--private-network", "--console=pipe", f"--directory={self.root}"),
                    f"--machine={self._name}",
                ],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
            )
        self.until("systemctl is-system-running | grep -E 'running|degraded'")
        return time.monotonic() - begin_s

    def _find_leader(self) -> int:
        pid = self._process.pid if self._process else 0
        children = Path(f"/proc/{pid}/task/{pid}/children")
        found = children.read_text().split() if children.exists() else []
        # What is on the way into it shares this machine's processes.
        inside = [one for one in found if _processes_of(one) != _processes_of("self")]
        return int(inside[0]) if inside else 0

    def reach(self) -> Sequence[str]:
        """Return the words before a shell command that bring it into the container."""
        self._leader = self._leader or self._find_leader()
        environment = [f"{key}={value}" for key, value in ENVIRONMENT.items()]
        inside = ["nsenter", "-t", str(self._leader), "-a", "env", "-i", *environment, "sh", "-c"]
        return inside if self._leader else []

    def last_words(self) -> str:
        """Return what it wrote to its console."""
        return (self.folder / "console").read_text(errors="replace")

    def show(self, unit: str, key: str) -> str:
        """Return a property of a unit."""
        return self.run(f"systemctl show --value -p {key} {shlex.quote(unit)}")

    def has_gone(self, patience_s: float) -> bool:
        """Wait until it has powered itself off; return whether it did."""
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(patience_s)
        return self._process is None or self._process.poll() is not None

    def close(self) -> None:
        """Power it off and remove everything; may be called twice."""
        if self._process is not None and self._process.poll() is None:
            if self._leader:
                self.try_("systemctl poweroff --no-block")
            try:
                self._process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process = None
        subprocess.run(["umount", "--lazy", str(self.root)], check=False, capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self: ContainerT) -> ContainerT:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _processes_of(pid: str) -> str:
    """Return the name of the processes that a process sees; nothing if it is gone."""
    try:
        return str(Path(f"/proc/{pid}/ns/pid").readlink())
    except FileNotFoundError:
        return str(Path("/proc/self/ns/pid").readlink())
