"""The two processes of a campaign, each the real one, with a death ordered for a chosen step.

Both are forked from a server process that has everything imported, so that a restart costs
milliseconds. What is changed inside them is time: shorter pauses, smaller batches, a clock that is
wrong. A wrong build (`tests.chaos.wrong`) is the only change of what they do.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import logging
import multiprocessing
import os
import resource
import signal
import time
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recorder import clock, config, uploader
from recorder.errors import RemoteAwayError
from recorder.ground import GroundStation
from recorder.mosaico import wire
from recorder.mosaico.wire import PutStream
from recorder.service import stop_on_signals
from recorder.spool.journal import Journal
from recorder.upload import planner, worker
from recorder.upload.parts import Part
from tests.chaos.wrong import BUILDS
from tests.recorder.ground.dying_station import Steps, put_around

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.chaos.processes"])
END_S = 20.0
_PR_SET_PDEATHSIG = 1
#: How a child that was killed ended.
KILLED = -signal.SIGKILL
DONE = 0

#: Everything that only takes time, shorter.
PAUSES_S = (0.02, 0.05, 0.1, 0.2)
LOOK_S = 0.05
#: How often somebody who uploads by hand calls while the server is away.
BY_HAND_CALLS = 5
KEEPALIVE = (
    ("grpc.keepalive_time_ms", 700),
    ("grpc.keepalive_timeout_ms", 500),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.ping_timeout_ms", 500),
)
SESSION_LOG_S = 0.3
BATCH_ROWS, BATCH_BYTES = 80, 15_000


@dataclass(frozen=True)
class Orders:
    """What becomes of an uploader.

    Args:
        settings: its configuration as JSON.
        log: file for its words.
        boot: file with the boot's id.
        build: one of `BUILDS`.
        death: (``before`` or ``after``, kind of a journal entry, ``any`` or ``write`` of a batch;
            the how many-th of them is the last), or None.
        clock_step_s: its clock is wrong by so much.
        stop_limit_s: a stream under way may take so long to end after SIGTERM.
        by_hand: upload everything that is stopped, then end.
    """

    settings: str
    log: Path
    boot: Path
    build: str = "none"
    death: tuple[str, str, int] | None = None
    clock_step_s: float = 0.0
    stop_limit_s: float = 3.0
    by_hand: bool = False


class SilentError(Exception):
    """A process does not answer."""


class Child:
    """One process; a pipe to it."""

    def __init__(self, target: Callable[..., None], *arguments: object) -> None:
        self.pipe, theirs = CONTEXT.Pipe()
        self._process = CONTEXT.Process(target=target, args=(*arguments, theirs), daemon=True)
        self._process.start()
        theirs.close()

    @property
    def sentinel(self) -> int:
        return self._process.sentinel

    @property
    def code(self) -> int | None:
        """How it ended, None while it lives."""
        return self._process.exitcode

    def ask(self, *order: object) -> Any:
        """Send an order and wait for its answer."""
        self.pipe.send(order)
        return self.hear()

    def hear(self) -> Any:
        """Wait for its word; EOFError if it died."""
        if not self.pipe.poll(END_S):
            raise SilentError("a process does not answer")
        return self.pipe.recv()

    def limit_files(self, most_bytes: int) -> None:
        """Let no file of the process grow beyond a size: its disk is full; -1: it is not."""
        with contextlib.suppress(ProcessLookupError):
            hard = resource.prlimit(self.pid, resource.RLIMIT_FSIZE)[1]
            resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (most_bytes, hard))

    @property
    def pid(self) -> int:
        pid = self._process.pid
        assert pid is not None
        return pid

    def stop(self) -> None:
        """Ask it to end, once it listens: before, SIGTERM would kill it; it may be dead already."""
        with contextlib.suppress(EOFError):
            self.hear()
        if self.code is None:
            self._process.terminate()

    def end(self) -> int | None:
        """Wait for its end, and kill it if that does not come; return how it ended."""
        if not wait([self.sentinel], END_S):
            self.kill()
            return None
        self._process.join()
        return self.code

    def kill(self) -> None:
        self._process.kill()
        self._process.join()
        self.pipe.close()


def _begin(log: Path) -> None:
    """Die with whoever forked us, and speak into a file."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(file, 2)
    logging.basicConfig(level=logging.INFO, format=f"{os.getpid()} %(message)s")


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


# --- the station


def station(folder: Path, log: Path, death: int, pipe: Connection) -> None:
    """Serve; on the pipe the port, then answers to orders.

    Args:
        folder: its directory.
        log: file for its words.
        death: the durable step that it does not outlive, 0: none.
        pipe: to the campaign.
    """
    _begin(log)
    steps = Steps(death)
    if death:
        put_around(steps)
    one = GroundStation(folder, check_keys=True)
    steps.armed = True
    pipe.send(one.port)
    with contextlib.suppress(EOFError):
        while (order := pipe.recv())[0] != "end":
            kind, what = order
            if kind == "key":
                pipe.send(one.keys.create(what))
            else:
                one.keys.revoke(what.rpartition("_")[2])
                pipe.send(None)
    one.close()
    os._exit(DONE)  # a client that holds a silent stream holds the interpreter too


# --- the uploader


def upload(orders: Orders, pipe: Connection) -> None:
    """Upload until told to stop, of which a word on the pipe says that it listens, or by hand."""
    _begin(orders.log)
    _hurry(orders)
    _step_clock(orders.clock_step_s)
    BUILDS[orders.build]()
    if orders.death is not None:
        _die_at(*orders.death)
    settings = config.from_json(orders.settings)
    if orders.by_hand:
        _upload_by_hand(settings)
    else:
        stop = stop_on_signals()
        pipe.send("listening")
        uploader.main(settings, stop)
    os._exit(DONE)


def _upload_by_hand(settings: config.Config) -> None:
    """Upload as a person does: who hears that the server is away calls again.

    On a busy machine even a link without faults may not answer a ping in time.
    """
    for _ in range(BY_HAND_CALLS - 1):
        with contextlib.suppress(RemoteAwayError):
            uploader.upload_once(settings)
            return
    uploader.upload_once(settings)


def _hurry(orders: Orders) -> None:
    small = functools.partial(Part, batch_rows=BATCH_ROWS, batch_bytes=BATCH_BYTES)
    for module, name, value in (
        (uploader, "PAUSES_S", PAUSES_S),
        (uploader, "REFUSED_PAUSE_S", LOOK_S),
        (uploader, "LOOK_S", LOOK_S),
        (worker, "STOP_LIMIT_S", orders.stop_limit_s),
        (wire, "KEEPALIVE", KEEPALIVE),
        (planner, "Part", small),
        (planner, "SESSION_LOG_S", SESSION_LOG_S),
        (clock, "_BOOT_ID", orders.boot),
    ):
        assert name in vars(module), f"{module.__name__}.{name} is no more"
        setattr(module, name, value)


def _step_clock(step_s: float) -> None:
    now, now_ns, any_ns = time.time, time.time_ns, time.clock_gettime_ns
    step_ns = round(step_s * 1e9)

    def clock_gettime_ns(which: int) -> int:
        return any_ns(which) + step_ns * (which == time.CLOCK_REALTIME)

    time.time = lambda: now() + step_s
    time.time_ns = lambda: now_ns() + step_ns
    time.clock_gettime_ns = clock_gettime_ns


def _die_at(when: str, kind: str, number: int) -> None:
    left = [number]
    record, write = Journal.record, PutStream.write

    def is_last() -> bool:
        left[0] -= 1
        return left[0] == 0

    def record_and_die(self: Journal, entry: dict[str, Any]) -> None:
        is_it = kind in (entry["entry"], "any") and is_last()
        if is_it and when == "before":
            _die()
        record(self, entry)
        if is_it:
            _die()

    def write_and_die(self: PutStream, batch: Any) -> None:
        write(self, batch)
        if is_last():
            _die()

    if kind == "write":
        PutStream.write = write_and_die  # type: ignore[method-assign] # the step to die at
    else:
        Journal.record = record_and_die  # type: ignore[method-assign] # likewise
