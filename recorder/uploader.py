"""The upload process: what the spool holds for certain goes to the server, each row once.

It may be started before the spool exists, killed at any instant and started again: every step is
journalled before it is taken (`recorder.upload.log`), and the server is asked what it holds.
A lost link, a restart or a request to stop costs time, never data.
"""

from __future__ import annotations

import logging
import os
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from recorder import status
from recorder.errors import (
    ConfigError,
    RecorderError,
    RemoteAwayError,
    RemoteRefusedError,
    SpoolError,
)
from recorder.mosaico import MosaicoClient
from recorder.service import Notifier, Stop, entry, hold
from recorder.upload.backlog import Backlog
from recorder.upload.memory import keep_small

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from recorder.config import Config

log = logging.getLogger(__name__)

LOOK_S = 1.0
#: Pauses after a lost link, in seconds; the last one stays. Up to as much again comes at random, so
#: that a fleet does not come back in step.
PAUSES_S = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 150.0)
#: A refused key is tried again so often: somebody may have changed it.
REFUSED_PAUSE_S = 60.0
#: A stream under way may take so long to end after a request to stop; then it is broken off.
STOP_LIMIT_S = 3.0
SIGN_S = 1.0


class StoppedError(RecorderError):
    """The process was asked to stop while a stream was under way; the stream was broken off."""


@dataclass
class Summary:
    """What an upload by hand did, and what it found done.

    Args:
        done: ids of the sessions that it brought to the server.
        parked: ids of those that the server refused, each with the reason.
        before: ids of those that were delivered before, each with the URL of the server that got
            it, which need not be the one that was named now; no server was asked about them.
    """

    done: list[str] = field(default_factory=list)
    parked: dict[str, str] = field(default_factory=dict)
    before: dict[str, str] = field(default_factory=dict)


class Uploader:
    """Everything the upload process holds.

    Args:
        config: the resolved configuration.
        stop: the request to end.
        by_hand: take every stopped session, whatever the mode, and none that is being recorded.
        progress: called with the life sign's facts whenever these are renewed.

    Raises:
        SpoolError: another uploader works on the same journals.
    """

    def __init__(
        self,
        config: Config,
        stop: Stop,
        *,
        by_hand: bool = False,
        progress: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self._config = config
        self._stop = stop
        self._progress = progress
        self._notifier = Notifier()
        self._lock = _hold(config)
        self.backlog = Backlog(config, self._tick, by_hand=by_hand)
        self._client: MosaicoClient | None = None
        self._state, self._error = "waiting", ""
        self._next_sign_s = self._stop_limit_s = 0.0

    def run(self) -> None:
        """Upload what there is, and what comes, until told to stop."""
        self._notifier.ready("looking at the spool")
        failures = 0
        while not self._stop.is_set():
            pause_s = LOOK_S
            try:
                while self.work() and not self._stop.is_set():
                    failures = 0
                self._rest()
            except RemoteAwayError as error:
                pause_s = _jittered(PAUSES_S[min(failures, len(PAUSES_S) - 1)])
                failures += 1
                self._hang_up("away", error)
            except RemoteRefusedError as error:
                pause_s = REFUSED_PAUSE_S
                self._hang_up("parked", error)
            except StoppedError:
                break
            self._pause(pause_s)
        self._notifier.stopping()

    def _rest(self) -> None:
        stuck = next(iter(self.backlog.parked().values()), "")
        self._state = "parked" if stuck else "idle" if self.backlog.is_there else "waiting"
        self._error = stuck
        self.sign()

    def _hang_up(self, state: str, error: RecorderError) -> None:
        if str(error) != self._error:
            log.warning("%s", error)
        self._state, self._error = state, str(error)
        self.hang_up()
        self.sign()

    def _pause(self, pause_s: float) -> None:
        until_s = time.monotonic() + pause_s
        while (left_s := until_s - time.monotonic()) > 0:
            if self._stop.wait(min(left_s, SIGN_S)):
                return
            self._tick()

    def work(self) -> bool:
        """Look at the spool and do the next thing that is due.

        Returns:
            Whether anything was done.

        Raises:
            RemoteAwayError: the server is not there.
            RemoteRefusedError: the server refuses the key or a whole recording.
            StoppedError: the process is to stop.
        """
        self.backlog.look()
        for upload in self.backlog:
            if upload.step(self._connected):
                self._state, self._error = "uploading", ""
                self._tick()
                return True
            if upload.log.is_done:
                self.backlog.forget(upload)
        return False

    def _connected(self) -> MosaicoClient:
        if self._client is None:
            settings = self._config.upload
            key = _read(settings.key_file)
            self._client = MosaicoClient.connect_url(
                settings.server,
                api_key=key.decode().strip() if key is not None else None,
                tls_root_certs=_read(settings.certificate),
            )
            log.info("connected to %s", settings.server)
        return self._client

    def hang_up(self) -> None:
        """Close the connection, if any."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _tick(self) -> None:
        now_s = time.monotonic()
        if self._stop.is_set():
            self._stop_limit_s = self._stop_limit_s or now_s + STOP_LIMIT_S
            if now_s >= self._stop_limit_s:
                raise StoppedError("told to stop")
        if now_s >= self._next_sign_s:
            self.sign()

    def sign(self) -> None:
        """Publish the life sign; its `boot_ns` is that of the look at the spool it speaks of."""
        self._next_sign_s = time.monotonic() + SIGN_S
        rows, size_bytes = self.backlog.size()
        facts = {
            "state": self._state,
            "server": self._config.upload.server,
            "error": self._error,
            "backlog_rows": rows,
            "backlog_bytes": size_bytes,
            "sessions_pending": len(list(self.backlog)),
            "parked": self.backlog.parked(),
            "drained": self.backlog.is_drained,
            "done": [*self.backlog.before, *self.backlog.done],
            "boot_ns": self.backlog.looked_boot_ns,
        }
        status.publish(self._config.spool.run_dir, "upload", facts)
        self._notifier.ping(self._state)
        if self._progress is not None:
            self._progress(facts)

    def close(self) -> None:
        """Let go of everything; may be called twice."""
        self.hang_up()
        self.backlog.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _hold(config: Config) -> int:
    config.upload_dir.mkdir(parents=True, exist_ok=True)
    lock = hold(config.upload_dir / ".lock")
    if lock is None:
        raise SpoolError(f"{config.upload_dir}: another uploader is at work")
    return lock


def _read(file: Path | None) -> bytes | None:
    try:
        return None if file is None else file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from error


def _jittered(pause_s: float) -> float:
    return pause_s * (1 + random.random())


def upload_once(
    config: Config, progress: Callable[[dict[str, Any]], None] | None = None
) -> Summary:
    """Upload every session that is not being recorded, and what was parked before, then return.

    Args:
        config: the resolved configuration; the mode does not matter.
        progress: called about once a second with the life sign's facts.

    Raises:
        ConfigError: no server is configured, or a key or certificate cannot be read.
        SpoolError: there is no spool, or another uploader is at work.
        RemoteAwayError: the server is not there; what was done stands, call again.
        RemoteRefusedError: the server refuses the key or a whole recording.
    """
    if not config.upload.server:
        raise ConfigError("upload.server: no server is configured")
    uploader = Uploader(config, Stop(), by_hand=True, progress=progress)
    try:
        uploader.backlog.look()
        for upload in uploader.backlog:
            upload.retry()
        while uploader.work():
            pass
        uploader.sign()
        backlog = uploader.backlog
        return Summary(backlog.done, backlog.parked(), backlog.before)
    finally:
        uploader.close()


def main(config: Config, stop: Stop) -> None:
    """Run the upload process until told to stop.

    Raises:
        ConfigError: a key or certificate cannot be read.
        SpoolError: another uploader is at work, or the spool is of another format.
    """
    uploader = Uploader(config, stop)
    try:
        uploader.run()
    finally:
        uploader.close()


if __name__ == "__main__":
    keep_small()
    entry("upload", main)
