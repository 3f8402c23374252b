"""The machine after the cut: the recorder's own start, in a process and a boot of its own.

Runs in a forked child, so that a crash of the recovery is a finding and no more, and so that one
cut leaves nothing to the next.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
import uuid
from typing import TYPE_CHECKING, TypeVar

from recorder import clock, spooler
from recorder.service import Stop
from recorder.spool import endings
from tests.powercut import wrong

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

    from recorder.config import Config

T = TypeVar("T")
_FORK = multiprocessing.get_context("fork")
_LONGEST_S, _SHOWN_BYTES = 60.0, 3000


class ApartError(Exception):
    """What was done in a process of its own failed; the message is its traceback."""


def apart(work: Callable[[], T]) -> T:
    """Do something in a forked child and return what it returns.

    Raises:
        ApartError: it raised, died, or took too long.
    """
    with tempfile.TemporaryFile() as errors:
        mine, its = _FORK.Pipe(duplex=False)
        child = _FORK.Process(target=_tell, args=(its, errors.fileno(), work))
        child.start()
        its.close()
        try:
            if not mine.poll(_LONGEST_S):
                raise ApartError(f"it does not end within {_LONGEST_S:.0f} s")
            found: T = mine.recv()
        except EOFError:
            child.join()
            errors.seek(0)
            raise ApartError(errors.read()[-_SHOWN_BYTES:].decode(errors="replace")) from None
        finally:
            mine.close()
            child.kill()
            child.join()
    return found


def _tell(pipe: Connection, errors: int, work: Callable[[], object]) -> None:
    os.dup2(errors, sys.stderr.fileno())
    pipe.send(work())


def compact_at_once() -> None:
    """Let this process rewrite journals of ended sessions however little that saves."""
    endings.LEAST_BYTES, endings._PERIOD_NS = 1, 300_000_000


def reboot(plain: Config, wrong_build: str) -> None:
    """Start the recorder's spool process in another boot, let it recover, and end it in order.

    Args:
        plain: the configuration; its `run_dir` must be empty, as a tmpfs is after a boot.
        wrong_build: name of the build (`wrong`).
    """
    plain.spool.run_dir.mkdir(parents=True, exist_ok=True)
    boot = plain.spool.run_dir / "boot_id"
    boot.write_text(str(uuid.uuid4()))
    clock._BOOT_ID = boot
    wrong.build(wrong_build)
    compact_at_once()
    stop = Stop()
    stop.set()
    spooler.main(plain, stop)
