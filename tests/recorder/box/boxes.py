"""Whole recorders, each in a folder of its own and on a board of its own."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recorder import config as settings
from recorder.configfile import load
from recorder.session.session import Session
from recorder.spool.spool import Spool
from tests.leash import LEASH
from tests.recorder.building import ROOT, wait_until

PROGRAM = [sys.executable, "-c", "from recorder.cli import main; main()"]
MODULES = {
    "spool": ["recorder.spooler"],
    "lane": ["recorder.lane", "imu"],
    "upload": ["recorder.uploader"],
}
TOML = """
[vehicle]
name = "veh-042"
[[lanes]]
name = "imu"
driver = "tests.recorder.supplied:Counted"
rate_hz = 200.0
[session]
heartbeat_s = 1.0
[spool]
directory = "data"
run_dir = "run"
commit_interval_s = 0.05
free_floor_bytes = 0
[upload]
mode = "after_close"
server = "{server}"
time_wait_s = 0.0
{more}
"""


class Box:
    """A recorder on a board.

    Args:
        folder: everything that is on its card, and its memory.
        board: the board's serial number.
    """

    def __init__(self, folder: Path, board: str) -> None:
        self.folder = folder
        self.board = board
        self.file = folder / "recorder.toml"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def configure(self, server: str, more: str = "") -> None:
        self.folder.mkdir(exist_ok=True)
        self.file.write_text(TOML.format(server=server, more=more))

    @property
    def config(self) -> settings.Config:
        return load(self.file)

    @property
    def _environment(self) -> dict[str, str]:
        return {**os.environ, "RECORDER_BOARD": self.board, **LEASH.environment}

    def start(self, *names: str) -> None:
        for name in names:
            command = [sys.executable, "-m", *MODULES[name], settings.to_json(self.config)]
            self.processes[name] = subprocess.Popen(
                command, cwd=ROOT, env=self._environment, pass_fds=LEASH.fds
            )

    def end(self, *names: str) -> None:
        for name in names:
            process = self.processes.pop(name)
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0

    def record(self, samples: int = 50) -> Session:
        """Record something, and end it; return its record."""
        self.start("spool", "lane")
        wait_until(lambda: self.stored() > samples)
        self.end("lane", "spool")
        return self.sessions()[-1]

    def stored(self) -> int:
        session = self.sign("spool").get("session")
        return int(session["lanes"][0]["stored"]) if session else 0

    def sign(self, process: str) -> dict[str, Any]:
        path = self.config.spool.run_dir / "status" / f"{process}.json"
        found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        return found

    def sessions(self) -> list[Session]:
        spool = Spool(self.config.spool_dir)
        return [spool.session(one) for one in spool.session_ids()]

    def call(self, *arguments: str | Path, code: int = 0) -> str:
        """Run a command on this box; return what it printed, errors behind the rest, unwrapped."""
        done = subprocess.run(
            [*PROGRAM, *map(str, arguments), "--config", str(self.file)],
            cwd=ROOT,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout if "--json" in arguments else _joined(done)

    def clone(self, folder: Path, board: str) -> Box:
        """Copy this card, and put the copy into another box; memory is not copied."""
        shutil.copytree(self.folder, folder, ignore=shutil.ignore_patterns("run"))
        return Box(folder, board)

    def close(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()


def _joined(done: subprocess.CompletedProcess[str]) -> str:
    return " ".join((done.stdout + done.stderr).split())


@contextlib.contextmanager
def boxes(*made: Box) -> Iterator[None]:
    try:
        yield
    finally:
        for one in made:
            one.close()


def answered(ground: Path, request: Path) -> str:
    """Return a ground station's answer to a request, as its command prints it."""
    command = ("ground", "--dir", ground, "--new-key", "read,write", "--for-request", request)
    done = subprocess.run(
        [*PROGRAM, *map(str, command)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout
