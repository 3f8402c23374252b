"""What every process of the recorder does: stop on request, notify systemd, keep its double out.

Every process is ``main(config, stop)``. `entry` is the few lines around it that are the same for
systemd and for the foreground runner: settings come as one JSON argument, SIGTERM and SIGINT set
`stop`, and the log goes to stderr.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import select
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from recorder import config
from recorder.errors import RecorderError

if TYPE_CHECKING:
    from collections.abc import Callable

#: Environment variable: the descriptor of a process's end of its `Leash`.
_LEASH = "RECORDER_LEASH"
log = logging.getLogger(__name__)


class Notifier:
    """Speaks to systemd: ready, status in words, and pings of the watchdog.

    Without systemd every call does nothing.
    """

    def __init__(self) -> None:
        self._systemd = None
        # Made only where somebody listens: the library never closes its socket.
        if "NOTIFY_SOCKET" in os.environ:
            import sdnotify  # noqa: PLC0415 - with `socket` half a megabyte, for systemd alone

            self._systemd = sdnotify.SystemdNotifier()

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
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_bytes(name.encode()[:15])


class Leash:
    """Ties processes to this one: however it ends, the kernel tells them to end too.

    It holds one end of a pipe, and they the other. Not by prctl(2), for which Python has no
    function: `ctypes` is half a megabyte of each lane.

    Attributes:
        fds: what a process is to inherit (`pass_fds` of `subprocess.Popen`).
        environment: what its environment is to have besides.
    """

    def __init__(self) -> None:
        theirs, self._ours = os.pipe2(os.O_CLOEXEC)
        self.fds = (theirs,)
        self.environment = {_LEASH: str(theirs)}

    def close(self) -> None:
        """Let them end; may be called twice."""
        if self._ours >= 0:
            os.close(self._ours)
            os.close(*self.fds)
            self._ours = -1


def _end_with(theirs: int) -> None:
    # Opened anew: who is told belongs to an opened file, and that one our brothers have as well.
    own = os.open(f"/proc/self/fd/{theirs}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    os.close(theirs)
    fcntl.fcntl(own, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(own, fcntl.F_SETSIG, signal.SIGTERM)
    fcntl.fcntl(own, fcntl.F_SETFL, os.O_NONBLOCK | os.O_ASYNC)
    look = select.poll()
    look.register(own, 0)
    if look.poll(0):  # it was gone before we asked
        os.kill(os.getpid(), signal.SIGTERM)


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
    stop = stop_on_signals()
    if leash := os.environ.pop(_LEASH, ""):
        _end_with(int(leash))
    try:
        main(config.from_json(sys.argv[-1]), stop)
    except RecorderError as error:
        log.error("%s", error)  # noqa: TRY400 - one line for the user, no traceback
        raise SystemExit(1) from error
