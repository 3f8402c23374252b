"""A Debian root that is booted, with systemd as its first process, and thrown away afterwards."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TypeVar

ContainerT = TypeVar("ContainerT", bound="Container")

POLL_S, PATIENCE_S = 0.1, 60.0
ENVIRONMENT = {
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "TERM": "dumb",
    "LANG": "C.UTF-8",
    "COLUMNS": "200",
}


class Container:
    """A booted copy of a root; nothing that happens in it reaches the root. A context manager.

    It has no network but loopback and none of the machine's devices. It shares the kernel: its boot
    id is the machine's.

    Args:
        root: the folder with the root.
    """

    def __init__(self, root: Path) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="recorder-box-"))
        upper, work, self.root = (self.folder / one for one in ("upper", "work", "root"))
        for one in (upper, work, self.root):
            one.mkdir()
        options = f"lowerdir={root},upperdir={upper},workdir={work}"
        subprocess.run(
            ["mount", "-t", "overlay", "overlay", "-o", options, str(self.root)], check=True
        )
        self._process: subprocess.Popen[bytes] | None = None
        self._leader = 0

    def boot(self) -> float:
        """Start systemd in it, and return the seconds until it says that it is running."""
        begin_s = time.monotonic()
        console = (self.folder / "console").open("wb")
        with console:
            self._process = subprocess.Popen(
                [
                    *("systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--boot"),
                    *("--private-network", "--console=pipe", f"--directory={self.root}"),
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
        return int(found[0]) if found else 0

    def try_(self, command: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """Run a shell command in it as root; its two outputs come as one."""
        self._leader = self._leader or self._find_leader()
        return subprocess.run(
            ["nsenter", "-t", str(self._leader), "-a", "sh", "-c", command],
            input=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE_S * 5,
            check=False,
            env=ENVIRONMENT,
        )

    def run(self, command: str) -> str:
        """Run a shell command that must succeed, and return what it said."""
        done = self.try_(command)
        assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}"
        return done.stdout.strip()

    def until(self, command: str, patience_s: float = PATIENCE_S) -> str:
        """Run a command again and again until it succeeds, and return what it said then."""
        deadline_s = time.monotonic() + patience_s
        while True:
            done = self.try_(command) if self._leader or self._find_leader() else None
            if done is not None and done.returncode == 0:
                return done.stdout.strip()
            if time.monotonic() > deadline_s:
                told = done.stdout if done else (self.folder / "console").read_text()
                raise AssertionError(f"{command}: not within {patience_s} s:\n{told}")
            time.sleep(POLL_S)

    def put(self, text: str, path: str) -> None:
        """Write a file in it."""
        place = shlex.quote(path)
        done = self.try_(f"mkdir -p $(dirname {place}) && cat > {place}", text)
        assert done.returncode == 0, done.stdout

    def show(self, unit: str, key: str) -> str:
        """Return a property of a unit."""
        return self.run(f"systemctl show --value -p {key} {shlex.quote(unit)}")

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
