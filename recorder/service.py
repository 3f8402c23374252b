"""What every process of the recorder does: stop on request, notify systemd, keep its double out.

Every process is ``main(config, stop)``. `entry` is the few lines around it that are the same for
systemd and for the foreground runner: settings come as one JSON argument, SIGTERM and SIGINT set
`stop`, and the log goes to stderr.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import logging
import os
import select
import signal
import sys
from typing import TYPE_CHECKING

import sdnotify

from recorder import config
from recorder.errors import RecorderError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15
log = logging.getLogger(__name__)


class Notifier:
    """Speaks to systemd: ready, status in words, and pings of the watchdog.

    Without systemd every call does nothing.
    """

    def __init__(self) -> None:
        # Made only where somebody listens: the library never closes its socket.
        self._systemd = sdnotify.SystemdNotifier() if "NOTIFY_SOCKET" in os.environ else None

    def ready(self, status: str) -> None:
        """Say that this process has recovered and loops."""
        self._say(f"READY=1\nSTATUS={status}")

    def ping(self, status: str) -> None:
        """Say from the working loop that it turns."""
        self._say(f"WATCHDOG=1\nSTATUS={status}")

    def stopping(self) -> None:
        """Say that this process is ending on request."""
        self._say("STOPPING=1")

    def _say(self, words: str) -> None:
        if self._systemd is not None:
            self._systemd.notify(words)


def set_up_log(name: str, level: int = logging.INFO) -> None:
    """Log to stderr, each line with the process's name; under systemd journald adds the time."""
    under_systemd = "JOURNAL_STREAM" in os.environ
    form = f"{name}: %(message)s" if under_systemd else f"%(asctime)s {name}: %(message)s"
    logging.basicConfig(level=level, stream=sys.stderr, format=form, datefmt="%H:%M:%S")


class Stop:
    """A request to end that a signal handler may set at any instant.

    `threading.Event` cannot: its lock is not re-entrant, and a handler that runs while the same
    thread is inside `wait` would wait for itself.
    """

    def __init__(self) -> None:
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._is_set = False

    def set(self) -> None:
        """Ask for the end; may be called again."""
        if not self._is_set:
            self._is_set = True
            os.write(self._write, b"x")

    def is_set(self) -> bool:
        """Tell whether the end was asked for."""
        return self._is_set

    def fileno(self) -> int:
        """Return a descriptor that becomes readable when the end is asked for."""
        return self._read

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the end is asked for, or for so long; return whether it was."""
        select.select([self._read], [], [], timeout_s)
        return self._is_set


def stop_on_signals() -> Stop:
    """Return a `Stop` that SIGTERM and SIGINT set. Call it in the main thread."""
    stop = Stop()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def name_process(name: str) -> None:
    """Give this process a name of at most 15 characters that `ps` and `top` show."""
    _prctl(_PR_SET_NAME, name.encode()[:15])


def give_back() -> None:
    """Give the kernel back what reading the modules left unused: half a megabyte a process."""
    with contextlib.suppress(AttributeError):  # a C library that is not GNU's
        ctypes.CDLL(None).malloc_trim(0)


def _prctl(option: int, argument: bytes | int) -> None:
    ctypes.CDLL(None).prctl(option, argument, 0, 0, 0)


def hold(path: Path) -> int | None:
    """Take the lock of a file, which is made if it is missing.

    Returns:
        The descriptor, which holds the lock until it is closed; None if another one holds it.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        # Only now: the kernel refuses O_CREAT on what another user made in a sticky folder. Its
        # group may take the lock too: the spool looks whether a lane runs.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o660)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def entry(name: str, main: Callable[[config.Config, Stop], None]) -> None:
    """Run a process with the resolved settings that are its last argument, and exit.

    Exit code 0 after a requested stop, 1 after an error that is told in one line.
    """
    set_up_log(name)
    name_process(f"rec-{name}")
    if os.environ.pop("RECORDER_DIE_WITH_PARENT", ""):
        _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    stop = stop_on_signals()
    try:
        main(config.from_json(sys.argv[-1]), stop)
    except RecorderError as error:
        log.error("%s", error)  # noqa: TRY400 - one line for the user, no traceback
        raise SystemExit(1) from error
