"""The foreground runner: starts the same processes as systemd does, and restarts what dies.

For a laptop, a container, the demo and the tests; on the vehicle systemd supervises.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from recorder import status
from recorder.clock import boot_ns
from recorder.config import to_json

if TYPE_CHECKING:
    from recorder.config import Config
    from recorder.service import Stop

log = logging.getLogger(__name__)

POLL_S = 0.1
RESTART_PAUSE_S = 0.2
#: How long a process may take to end on request before it is killed.
PATIENCE_S = 10.0


class Runner:
    """The processes of one recorder.

    Args:
        config: the resolved configuration.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        settings = to_json(config)
        lanes = {f"lane:{one.name}": ["recorder.lane", one.name] for one in config.lanes}
        self._commands = {"spool": ["recorder.spooler"], **lanes}
        if config.upload.mode != "off":
            self._commands["upload"] = ["recorder.uploader"]
        if config.web.enabled:
            self._commands["web"] = ["recorder.web"]
        for command in self._commands.values():
            command[:0] = [sys.executable, "-m"]
            command.append(settings)
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._due: dict[str, float] = {}

    @property
    def names(self) -> list[str]:
        """Names of the processes: ``spool``, ``lane:<name>``, ``upload``, ``web``."""
        return list(self._commands)

    def start(self) -> None:
        """Start every process."""
        for name in self._commands:
            self._start(name)

    def _start(self, name: str) -> None:
        # In a session of its own, so that Ctrl-C reaches only the runner, which stops in order.
        self._running[name] = subprocess.Popen(
            self._commands[name],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, "RECORDER_DIE_WITH_PARENT": "1"},
        )

    def pid(self, name: str) -> int | None:
        """Return the process id of a process that runs, or None."""
        process = self._running.get(name)
        return process.pid if process is not None and process.poll() is None else None

    def poll(self) -> None:
        """Notice what died, and start it again after a short pause."""
        now = time.monotonic()
        for name, process in list(self._running.items()):
            code = process.poll()
            if code is not None:
                log.warning("%s ended with %s; starting it again", name, code)
                del self._running[name]
                self._due[name] = now + RESTART_PAUSE_S
        for name, due in list(self._due.items()):
            if now >= due:
                del self._due[name]
                self._start(name)

    def stop(self) -> bool:
        """End in order: lanes, then the spool, then the uploader once it has sent everything.

        Returns:
            Whether everything that was recorded reached the server, or nothing was to.
        """
        self._due.clear()
        self._end([name for name in self._running if name.startswith("lane:")])
        self._end(["spool"])
        stopped_boot_ns = boot_ns()
        drained = self._config.upload.mode == "off" or self._drain(stopped_boot_ns)
        self._end(["upload", "web"])
        return drained

    def _drain(self, stopped_boot_ns: int) -> bool:
        """Wait until the uploader says, after the spool's end, that nothing is left to do."""
        deadline = time.monotonic() + self._config.upload.drain_s
        while time.monotonic() < deadline:
            sign = status.read(self._config.spool.run_dir, "upload") or {}
            if sign.get("drained") and sign["boot_ns"] > stopped_boot_ns:
                return True
            self.poll()
            time.sleep(POLL_S)
        log.warning(
            "not everything was uploaded in %s s; it goes on next time", self._config.upload.drain_s
        )
        return False

    def _end(self, names: list[str]) -> None:
        ending = {name: self._running.pop(name) for name in names if name in self._running}
        for process in ending.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for name, process in ending.items():
            try:
                process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                log.warning("%s did not end in %s s; killing it", name, PATIENCE_S)
                process.kill()
                process.wait()

    def kill(self) -> None:
        """End every process at once, for when the runner itself fails; may be called twice."""
        for process in self._running.values():
            process.kill()
            process.wait()
        self._running.clear()


def run(config: Config, stop: Stop) -> int:
    """Record in the foreground until told to stop.

    Returns:
        Exit code: 0, or 1 if something recorded is still waiting to be uploaded.
    """
    runner = Runner(config)
    try:
        runner.start()
        while not stop.wait(POLL_S):
            runner.poll()
        log.info("stopping; the last batch is made durable and sent")
        return 0 if runner.stop() else 1
    finally:
        runner.kill()
