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
from recorder.devices import handed_over
from recorder.errors import SpoolError
from recorder.service import Leash, Stop, stop_on_signals
from recorder.spool import journal
from recorder.spool.spool import Spool
from recorder.spool.volume import AWAY

if TYPE_CHECKING:
    from pathlib import Path

    from recorder.config import Config

log = logging.getLogger(__name__)

POLL_S = 0.1
#: Pauses before a process that died is started again, in seconds; the last one stays.
RESTART_PAUSES_S = (0.2, 0.5, 1.0, 2.0, 5.0)
#: A process that ran so long before it died begins with the first pause again.
STEADY_S = 10.0
#: How long a process may take to end on request before it is killed.
PATIENCE_S = 10.0


class Runner:
    """The processes of one recorder.

    Args:
        config: the resolved configuration.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        settings = handed_over(config)
        own = [one.name for one in config.lanes if not one.filled_by]
        lanes = {f"lane:{name}": ["recorder.lane", name] for name in own}
        self._commands = {"spool": ["recorder.spooler"], **lanes}
        if config.upload.mode != "off":
            self._commands["upload"] = ["recorder.uploader"]
        if config.power.inputs:
            self._commands["power"] = ["recorder.power"]
        if config.web.enabled:
            self._commands["web"] = ["recorder.web"]
        for command in self._commands.values():
            command[:0] = [sys.executable, "-m"]
            command.append(settings)
        self._leash = Leash()
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._started_s: dict[str, float] = {}
        self._deaths: dict[str, int] = {}
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
        self._started_s[name] = time.monotonic()
        # In a session of its own, so that Ctrl-C reaches only the runner, which stops in order.
        self._running[name] = subprocess.Popen(
            self._commands[name],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=self._leash.fds,
            env={**os.environ, **self._leash.environment},
        )

    def pid(self, name: str) -> int | None:
        """Return the process id of a process that runs, or None."""
        process = self._running.get(name)
        return process.pid if process is not None and process.poll() is None else None

    def poll(self) -> None:
        """Notice what died, and start it again after a pause that grows if it dies soon again."""
        now = time.monotonic()
        for name, process in list(self._running.items()):
            code = process.poll()
            if code is not None:
                del self._running[name]
                pause_s = self._pause_s(name, now - self._started_s[name])
                log.warning("%s ended with %s; starting it again in %s s", name, code, pause_s)
                self._due[name] = now + pause_s
        for name, due in list(self._due.items()):
            if now >= due:
                del self._due[name]
                self._start(name)

    def _pause_s(self, name: str, lived_s: float) -> float:
        deaths = self._deaths.get(name, 0) if lived_s < STEADY_S else 0
        self._deaths[name] = deaths + 1
        return RESTART_PAUSES_S[min(deaths, len(RESTART_PAUSES_S) - 1)]

    def stop(self, hurry: Stop | None = None) -> list[str]:
        """End in order: lanes, then the spool, then the uploader once it has sent everything.

        Args:
            hurry: once it is set, nobody waits for the upload any more; None: it never is.

        Returns:
            What did not end as it should, one sentence each; empty if all is recorded and sent.
        """
        recording = [name for name in self._commands if name.startswith("lane:")] + ["spool"]
        found = [f"{name} was not running at the end" for name in recording if name in self._due]
        was_started = "spool" in self._running or "spool" in self._due
        self._due.clear()
        codes = self._end(recording[:-1])
        if was_started:
            self._await_spool()
        codes |= self._end(["spool"])
        # A lane that was just being started has read nothing; its absence is counted.
        clean = (0, -signal.SIGTERM)
        found += [f"{name} ended with {code}" for name, code in codes.items() if code not in clean]
        if self._config.upload.mode != "off" and not self._drain(hurry or Stop()):
            found.append("not everything was uploaded in time; it goes on next time")
        self._end(["upload", "web", "power"])
        return found

    def _await_spool(self) -> None:
        """See to it that the spool process runs and can be told to end: it ends the session."""
        if self.pid("spool") is None:
            self._start("spool")
        deadline_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline_s and (pid := self.pid("spool")) is not None:
            sign = status.read(self._config.spool.run_dir, "spool") or {}
            if sign.get("pid") == pid:
                return
            time.sleep(POLL_S)

    def _drain(self, hurry: Stop) -> bool:
        """Wait until nothing is left to send; return whether it came to that."""
        left = _unsent(self._config)
        deadline_s = time.monotonic() + self._config.upload.drain_s
        if left:
            log.info(
                "waiting up to %g s for the server; Ctrl-C again to leave it for next time",
                self._config.upload.drain_s,
            )
        while left and time.monotonic() < deadline_s and not hurry.wait(POLL_S):
            self.poll()
            left = [one for one in left if not _is_sent(one)]
        return not left

    def _end(self, names: list[str]) -> dict[str, int]:
        """End processes together; return the exit code of each, negative for a signal."""
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
        return {name: process.returncode for name, process in ending.items()}

    def kill(self) -> None:
        """End every process at once, for when the runner itself fails; may be called twice."""
        for process in self._running.values():
            process.kill()
            process.wait()
        self._running.clear()
        self._leash.close()


def _unsent(config: Config) -> list[Path]:
    """Return the uploader's journals, there or not yet, of the sessions that are to be sent."""
    try:
        spool = Spool.current(config.spool_dir)
    except SpoolError:
        return []  # nothing was recorded, or nothing that this version could send
    journals = {one: config.upload_dir / one for one in spool.session_ids()}
    return [file for one, file in journals.items() if not _is_sent(file) and _waits(spool, one)]


def _waits(spool: Spool, session_id: str) -> bool:
    try:
        # What was recorded with upload off has its spool for destination.
        return not spool.session(session_id).state.is_terminal
    except SpoolError:
        return False  # it has no whole record, and the uploader passes it over


def _is_sent(file: Path) -> bool:
    return any(entry["entry"] == "done" for entry in journal.read(file))


def _refuse_second(directory: Path) -> None:
    """Find out before anything is started that another recorder has the spool."""
    try:
        spool = Spool(directory)
    except SpoolError:
        return  # none yet, or one that the spool's process leaves alone
    try:
        os.close(spool.hold())
    except OSError as error:
        if error.errno not in AWAY:
            raise
        log.warning("the disk takes nothing now: %s; it is waited for", error)


def run(config: Config, stop: Stop) -> int:
    """Record in the foreground until told to stop; call it in the main thread.

    A second SIGINT or SIGTERM, while it waits for the upload, ends that wait.

    Returns:
        Exit code: 0, or 1 if something recorded is still waiting to be uploaded, or a process did
        not end as it should; the log says which.

    Raises:
        SpoolError: another recorder writes to the spool.
    """
    _refuse_second(config.spool_dir)
    runner = Runner(config)
    try:
        runner.start()
        while not stop.wait(POLL_S):
            runner.poll()
        log.info("stopping; the last batch is made durable and sent")
        found = runner.stop(stop_on_signals())
        for text in found:
            log.warning("%s", text)
        return 1 if found else 0
    finally:
        runner.kill()
