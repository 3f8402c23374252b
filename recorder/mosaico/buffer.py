"""Rows of one topic that wait to be sent: bounded in bytes, bundled by size, number and age."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from recorder.errors import RecorderError, RemoteAwayError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from recorder.mosaico.message import Message


class AbortedError(RecorderError):
    """What waited was dropped, and nothing more will come."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much of one topic may wait, and how long. One batch is one file on the server.

    Args:
        batch_bytes: rows go out when they reach this size; a batch costs the server about 7 ms, and
            batches of this size already reach its full throughput.
        batch_rows: or this number.
        batch_age_s: or when the oldest of them has waited so long.
        waiting_bytes: `push` blocks while this much is not sent yet. Rows are counted as what they
            take in memory, about.
        timeout_s: for so long `push` waits for room, and `flush`, `finish` and the session's end
            for any progress, before they raise.
    """

    batch_bytes: int = 4_000_000
    batch_rows: int = 10_000
    batch_age_s: float = 5.0
    waiting_bytes: int = 32_000_000
    timeout_s: float = 60.0


@dataclass(frozen=True)
class Load:
    """What is encoded and sent in one go, and how many bytes of the buffer it takes."""

    content: list[Message] | pa.RecordBatch
    size_bytes: int

    @property
    def rows(self) -> int:
        """How many."""
        content = self.content
        return content.num_rows if isinstance(content, pa.RecordBatch) else len(content)


class Buffer:
    """Takes rows from any number of threads and gives them to one, in the same order.

    Args:
        locator: of the topic, for messages.
        limits: of waiting.
    """

    def __init__(self, locator: str, limits: Limits) -> None:
        self._locator = locator
        self._limits = limits
        # The lock guards everything below. The user's threads add at one end, the topic's takes at
        # the other; `changed` tells either of what the other did.
        self._lock = threading.Lock()
        self.changed = threading.Condition(self._lock)
        self._rows: list[Message] = []  # not yet a load
        self._rows_bytes = 0
        self._oldest_s = 0.0
        self._loads: deque[Load] = deque()
        self._taken: Load | None = None  # on its way just now
        self._waiting_bytes = 0  # of all three
        self._is_open = True  # takes rows
        self.is_aborted = False

    def add(self, message: Message, size_bytes: int) -> bool:
        """Take a row; False if the buffer is closed.

        Raises:
            RemoteAwayError: there was no room in time; the row was not taken.
        """
        limits = self._limits
        with self._lock:
            if not self._is_open or self._waiting_bytes + size_bytes > limits.waiting_bytes:
                self._wait_for_room(size_bytes)
                if not self._is_open:
                    return False
            if not self._rows:
                self._oldest_s = time.monotonic()
                self.changed.notify_all()  # somebody is to watch their age
            # The sizes first: a signal's exception between these lines must not leave too small
            # ones, or less than nothing would wait in the end.
            self._waiting_bytes += size_bytes
            self._rows_bytes += size_bytes
            self._rows.append(message)
            if len(self._rows) >= limits.batch_rows or self._rows_bytes >= limits.batch_bytes:
                self._bundle()
        return True

    def add_batch(self, batch: pa.RecordBatch) -> bool:
        """Take a batch, behind the rows that were added before; else like `add`."""
        size_bytes = max(1, batch.nbytes)
        with self._lock:
            self._wait_for_room(size_bytes)
            if not self._is_open:
                return False
            self._bundle()
            self._waiting_bytes += size_bytes
            self._loads.append(Load(batch, size_bytes))
            self.changed.notify_all()
        return True

    def hand_over(self) -> None:
        """Make due what there is now."""
        with self._lock:
            self._bundle()

    def close(self) -> None:
        """Take nothing more; what there is is due."""
        with self._lock:
            self._bundle()
            self._is_open = False
            self.changed.notify_all()

    def abort(self) -> int:
        """Take nothing more and drop what there is; return how many rows were not known as sent."""
        with self._lock:
            rows = len(self._rows) + sum(load.rows for load in self._loads)
            rows += self._taken.rows if self._taken else 0
            self._is_open = False
            self.is_aborted = True
            self._rows, self._rows_bytes, self._waiting_bytes = [], 0, 0
            self._loads.clear()
            self.changed.notify_all()
        return rows

    def is_sent(self) -> bool:
        """Tell whether nothing is left, nor on its way; call it with the lock of `changed` held."""
        return not (self._rows or self._loads or self._taken)

    def loads(self) -> Iterator[Load]:
        """Wait for loads and yield them; who asks for the next one has sent the one before.

        Raises:
            AbortedError: the buffer was aborted.
        """
        while True:
            with self._lock:
                while not self._loads:
                    if self.is_aborted:
                        raise AbortedError(self._locator)
                    if not self._is_open:
                        return
                    self._wait_for_load()
                load = self._taken = self._loads.popleft()
            yield load
            with self._lock:
                self._taken = None
                self._waiting_bytes = max(0, self._waiting_bytes - load.size_bytes)
                self.changed.notify_all()

    # --- with the lock held

    def _bundle(self) -> None:
        if self._rows:
            self._loads.append(Load(self._rows, self._rows_bytes))
            self._rows, self._rows_bytes = [], 0
            self.changed.notify_all()

    def _wait_for_room(self, size_bytes: int) -> None:
        """Return when there is room or the buffer is closed."""
        until_s = time.monotonic() + self._limits.timeout_s
        # A single row may be larger than all that may wait: it goes when nothing else does.
        while self._is_open and 0 < self._waiting_bytes > self._limits.waiting_bytes - size_bytes:
            self._bundle()
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                raise RemoteAwayError(
                    f"{self._locator}: no room within {self._limits.timeout_s:g} s:"
                    f" {self._waiting_bytes} bytes wait to be sent"
                )
            self.changed.wait(left_s)

    def _wait_for_load(self) -> None:
        left_s = self._oldest_s + self._limits.batch_age_s - time.monotonic()
        if self._rows and left_s <= 0:
            self._bundle()
        else:
            self.changed.wait(left_s if self._rows else None)
