"""The upload process: what the spool holds for certain goes to the server, each row once.

It may be started before the spool exists, killed at any instant and started again: every step is
journalled before it is taken (`recorder.upload.log`), and the server is asked what it holds.
A lost link, a restart or a request to stop costs time, never data.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from recorder.upload.memory import BATCHES_BYTES, keep_small, share_one_heap

if __name__ == "__main__":
    keep_small(BATCHES_BYTES)  # before what follows loads Arrow
    share_one_heap()

from recorder.errors import (
    ConfigError,
    DamagedError,
    RecorderError,
    RemoteAwayError,
    RemoteRefusedError,
)
from recorder.service import Stop, entry
from recorder.spool import journal
from recorder.spool.spool import Spool
from recorder.upload import wake
from recorder.upload.anew import begin_anew
from recorder.upload.backlog import Asked
from recorder.upload.compare import Compared, compare
from recorder.upload.source import Source
from recorder.upload.state import UploadState
from recorder.upload.worker import REFUSED_PAUSE_S, SIGN_S, StoppedError, Uploader, connected

if TYPE_CHECKING:
    from collections.abc import Callable

    from recorder.config import Config

__all__ = ["Asked", "StoppedError", "Summary", "Uploader", "main", "upload_once", "verify_all"]

LOOK_S = 1.0
#: Pauses after a lost link, in seconds; the last one stays. Up to as much again comes at random, so
#: that a fleet does not come back in step.
PAUSES_S = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 150.0)
#: A network that comes and goes wakes it no more often.
LEAST_PAUSE_S = 0.2


@dataclass
class Summary:
    """What an upload by hand did, and what it found done.

    Args:
        done: ids of the sessions that it brought to the server.
        parked: ids of those that the server refused, each with the reason.
        before: ids of those that were delivered before, each with the URL of the server that got
            it, which need not be the one that was named now; no server was asked about them.
        lacking: of those in `done` of which some could not be sent any more: by id and lane, how
            many stored samples, by the cause (`recorder.session.ledger`).
    """

    done: list[str] = field(default_factory=list)
    parked: dict[str, str] = field(default_factory=dict)
    before: dict[str, str] = field(default_factory=dict)
    lacking: dict[str, dict[str, dict[str, int]]] = field(default_factory=dict)


class Process:
    """The upload process, which works by itself until it is told to stop.

    Args:
        config: the resolved configuration.
        stop: the request to end.
    """

    def __init__(self, config: Config, stop: Stop) -> None:
        self._stop = stop
        self._uploader = Uploader(config, stop)
        self._waker = wake.Waker(stop, config.spool.run_dir / wake.SOCKET)
        self._failures = 0

    def run(self) -> None:
        """Upload what there is, and what comes, until told to stop."""
        self._uploader.notifier.ready("looking at the spool")
        while not self._stop.is_set():
            try:
                self._pause(self._drain())
            except StoppedError:
                break
        self._uploader.notifier.stopping()

    def _drain(self) -> float:
        """Do what can be done; return how long to wait then, in s."""
        uploader = self._uploader
        try:
            while uploader.work() and not self._stop.is_set():
                self._failures = 0
            uploader.rest()
        except RemoteAwayError as error:
            return self._failed("away", str(error))
        except OSError as error:
            uploader.backlog.doubt()
            return self._failed("disk", f"{error.filename or 'journal'}: {error.strerror}")
        except (RemoteRefusedError, ConfigError) as error:
            uploader.hang_up()
            uploader.say("parked", str(error))
            return REFUSED_PAUSE_S
        return LOOK_S

    def _failed(self, state: str, error: str) -> float:
        pause_s = PAUSES_S[min(self._failures, len(PAUSES_S) - 1)]
        self._failures += 1
        self._uploader.hang_up()
        self._uploader.say(state, error)
        return pause_s * (1 + random.random())

    def _pause(self, pause_s: float) -> None:
        until_s = time.monotonic() + pause_s
        while (left_s := until_s - time.monotonic()) > 0 and not self._stop.is_set():
            orders = self._waker.wait(min(left_s, SIGN_S))
            self._uploader.tick()
            if orders is not None:
                self._obey(orders)
                self._stop.wait(LEAST_PAUSE_S)
                return

    def _obey(self, orders: list[str]) -> None:
        """Carry out what was ordered; whatever it was, or if the network changed, look again."""
        if self._uploader.permit is not None:
            self._uploader.permit.look()
        for order in orders:
            word, _, start = order.partition(" ")
            if word == wake.OVER_CAP:
                self._uploader.backlog.allow_over_cap(start)

    def close(self) -> None:
        """Let go of everything; may be called twice."""
        self._waker.close()
        self._uploader.close()


def upload_once(
    config: Config,
    progress: Callable[[dict[str, Any]], None] | None = None,
    asked: Asked | None = None,
) -> Summary:
    """Upload every session that is not being recorded, and what was parked before, then return.

    Args:
        config: the resolved configuration; mode, hours, metered networks and the wait
            for a better time do not matter.
        progress: called about once a second with the life sign's facts.
        asked: which sessions, and how; the first characters of an id are enough.

    Raises:
        ConfigError: no server is configured, or a key or certificate cannot be read.
        SpoolError: there is no spool or no such session, or another uploader is at work.
        RemoteAwayError: the server is not there; what was done stands, call again.
        RemoteRefusedError: the server refuses the key.
        RecorderError: the month's cap does not let it be sent, or the server still has all of
            what is to be sent anew.
    """
    _server(config)
    wish = _found(config, asked or Asked())
    now = replace(config, upload=replace(config.upload, time_wait_s=0.0))  # somebody waits
    uploader = Uploader(now, Stop(), asked=wish, progress=progress)
    try:
        if wish.anew:
            with connected(config) as client:
                path = config.upload_dir / wish.anew
                begin_anew(client, path, config.upload.server)
        uploader.backlog.look()
        for upload in uploader.backlog:
            upload.retry()
            if wish.over_cap:
                upload.allow_over_cap()
        while uploader.work():
            pass
        uploader.sign()
        backlog = uploader.backlog
        if uploader.capped:
            raise RecorderError(next(iter(uploader.capped.values())))
        return Summary(backlog.done, uploader.parked(), backlog.before, backlog.lacking)
    finally:
        uploader.close()


def verify_all(
    config: Config, tick: Callable[[int], None], session_id: str = ""
) -> dict[str, Compared]:
    """Read back everything that this server got, and compare it row by row with what was sent.

    It changes nothing, and may run beside the upload process.

    Args:
        config: the resolved configuration.
        tick: called with the bytes of each batch that was read back.
        session_id: only sessions whose ids begin with this.

    Returns:
        What came of it, by session id.

    Raises:
        ConfigError: no server is configured, or a key or certificate cannot be read.
        SpoolError: there is no spool, or no such session.
        RemoteAwayError: the server is not there.
        RemoteRefusedError: the key may not read.
    """
    server = _server(config)
    spool = Spool.current(config.spool_dir)
    journals = sorted(config.upload_dir.glob("[!.]*-*"))
    journals = [path for path in journals if path.name.startswith(session_id)]
    if session_id and not journals:
        spool.find(session_id)  # nothing was sent of it, or there is none
    found: dict[str, Compared] = {}
    with connected(config) as client:
        for path in journals:
            try:
                state = UploadState(journal.read(path))
            except DamagedError as error:
                found[path.name] = Compared("", wrong=[f"{path} is damaged: {error}"])
                continue
            if state.sequence and state.server in ("", server):
                source = Source(spool, path.name) if path.name in spool.session_ids() else None
                found[path.name] = compare(client, state, source, tick)
    return found


def _server(config: Config) -> str:
    if not config.upload.server:
        raise ConfigError("upload.server: no server is configured")
    return config.upload.server


def _found(config: Config, asked: Asked) -> Asked:
    """Return the same with whole ids."""
    if not asked.session_id:
        return asked
    whole = Spool.current(config.spool_dir).find(asked.session_id)
    return replace(asked, session_id=whole, anew=whole if asked.anew else "")


def main(config: Config, stop: Stop) -> None:
    """Run the upload process until told to stop.

    A key or certificate that cannot be read is told in the life sign and looked at again.

    Raises:
        SpoolError: another uploader is at work, or the spool is of another format.
    """
    process = Process(config, stop)
    try:
        process.run()
    finally:
        process.close()


if __name__ == "__main__":
    entry("upload", main)
