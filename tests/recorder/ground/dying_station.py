"""A station that is killed right after its n-th durable step, for ``python -m``: DIRECTORY N.

A step is a transaction, the sync of a file or folder, or half of a chunk's file that is written. It
prints its URL and serves until it dies or its standard input ends.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from recorder.ground import run, store
from recorder.ground.database import Database

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator


class Steps:
    """Counts steps and tells the one to die at.

    Args:
        left: so many steps, counted from `armed` on.
    """

    armed = False

    def __init__(self, left: int) -> None:
        self._left = left

    def is_last(self) -> bool:
        self._left -= self.armed
        return self.armed and self._left == 0


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def put_around(steps: Steps) -> None:
    """Put the steps around the station's own code."""
    change, sync, write = Database.change, store._sync, pq.write_table

    @contextmanager
    def change_and_die(self: Database) -> Iterator[sqlite3.Connection]:
        with change(self) as db:
            yield db
        if steps.is_last():
            die()

    def sync_and_die(path: Path) -> None:
        sync(path)
        if steps.is_last():
            die()

    def write_half_and_die(table: Any, path: Path, **how: Any) -> None:
        write(table, path, **how)
        if steps.is_last():
            os.truncate(path, path.stat().st_size // 2)
            die()

    Database.change = change_and_die  # type: ignore[method-assign]  # the steps to die at
    store._sync = sync_and_die
    pq.write_table = write_half_and_die


def main(directory: str, count: str) -> None:
    steps, stop = Steps(int(count)), threading.Event()
    put_around(steps)

    def stop_with_the_input() -> None:
        sys.stdin.read()
        stop.set()

    def ready(url: str) -> None:
        steps.armed = True
        print(url, flush=True)  # noqa: T201 - the test reads it

    threading.Thread(target=stop_with_the_input, daemon=True).start()
    run(Path(directory), "127.0.0.1", 0, stop, ready=ready)


if __name__ == "__main__":
    main(*sys.argv[1:])
