"""One topic's rows on their way: a thread of its own encodes and sends them.

Each topic has its own thread and its own connection, so a slow topic holds up no other. Who pushes
only appends to a list; all encoding and all waiting for the network is done by the thread.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING

import pyarrow as pa

from recorder.errors import RemoteAwayError, RemoteError
from recorder.mosaico import encode
from recorder.mosaico.buffer import Buffer, Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from recorder.mosaico.buffer import Load
    from recorder.mosaico.message import Message
    from recorder.mosaico.server import Server
    from recorder.mosaico.wire import PutStream

#: A thread that was told to break off gets this long; then it is left to end with the process.
ABORT_LIMIT_S = 5.0


class TooLargeError(ValueError):
    """A row is above the server's message limit; it was left out, and the rest goes on."""


class Outbox:
    """Sends one topic; its thread starts with it and ends with `close`, `abort` or a failure.

    Args:
        server: a connection; the topic's own is made beside it.
        locator: ``sequence/topic/path``.
        topic_uuid: of the topic.
        schema: of the topic.
        limits: of waiting.
        told: called with each failure, without a lock and most often by the thread: `TooLargeError`
            for a row above the server's limit, `ValueError` for rows that cannot be encoded (both
            times, all others were sent), `RemoteError` when the stream is broken, once.
    """

    def __init__(
        self,
        server: Server,
        locator: str,
        topic_uuid: str,
        *,
        schema: pa.Schema,
        limits: Limits,
        told: Callable[[ValueError | RemoteError], None],
    ) -> None:
        self._server = server
        self._locator = locator
        self._topic_uuid = topic_uuid
        self._schema = schema
        self._limits = limits
        self._told = told
        self.buffer = Buffer(locator, limits)
        self._progress_s = time.monotonic()
        # The last two are changed under the lock of the buffer's `changed`.
        self.broken: RemoteError | None = None
        self._is_over = False  # all was told that had to be
        # A daemon: nothing ends a thread that is stuck in a write but the end of the process.
        self._thread = threading.Thread(target=self._run, name=f"topic {locator}", daemon=True)
        self._thread.start()

    def wait_sent(self) -> None:
        """Wait until everything was sent, or the topic is broken; it breaks if nothing moves."""
        self._wait(self.buffer.is_sent)

    def wait_closed(self) -> None:
        """Wait until the topic is finalized on the server, or broken; else like `wait_sent`."""
        self._wait(lambda: False)
        if self.broken is None:
            self._thread.join(ABORT_LIMIT_S)

    def wait_aborted(self) -> None:
        """Wait for the stream to be broken off, but never long."""
        self._thread.join(ABORT_LIMIT_S)

    def _wait(self, is_done: Callable[[], bool]) -> None:
        changed, timeout_s = self.buffer.changed, self._limits.timeout_s
        began_s = time.monotonic()
        with changed:
            while not self._is_over and not is_done():
                left_s = max(began_s, self._progress_s) + timeout_s - time.monotonic()
                if left_s <= 0:
                    break
                changed.wait(left_s)
            else:
                return
        # The thread may come to itself later; then it breaks the stream off and tells nothing.
        self._ended(RemoteAwayError(f"{self._locator}: nothing moved for {timeout_s:g} s"))

    def _break(self, error: RemoteError) -> None:
        rows = self.buffer.abort()
        broken = type(error)(f"{error} ({rows} rows not sent)")
        broken.__cause__ = error
        with self.buffer.changed:
            if self.broken is not None:
                return
            self.broken = broken
        self._told(broken)

    # --- the thread

    def _run(self) -> None:
        with _Ending(self._ended):
            loads = self.buffer.loads()
            first = next(loads, None)
            with self._connected() as stream:
                for load in chain([] if first is None else [first], loads):
                    self._send(stream, load)

    def _ended(self, error: BaseException | None) -> None:
        if error is not None and not self.buffer.is_aborted:
            self._break(_remote(self._locator, error))
        with self.buffer.changed:
            self._is_over = True
            self.buffer.changed.notify_all()

    @contextmanager
    def _connected(self) -> Iterator[PutStream]:
        with (
            self._server.twin() as line,
            line.open_put(self._locator, self._topic_uuid, self._schema) as stream,
        ):
            yield stream

    def _send(self, stream: PutStream, load: Load) -> None:
        if isinstance(load.content, pa.RecordBatch):
            self._send_batch(stream, load.content)
            return
        try:
            batch = encode.batch(load.content, self._schema)
        except ValueError:
            self._send_good(stream, load.content)
        else:
            self._send_batch(stream, batch)

    def _send_good(self, stream: PutStream, rows: list[Message]) -> None:
        good, bad = encode.good_and_bad(rows, self._schema)
        first, reason = bad[0]
        if good:
            self._send_batch(stream, encode.batch(good, self._schema))
        self._told(
            ValueError(
                f"{self._locator}: {len(bad)} rows left out, the first with timestamp_ns"
                f" {first.timestamp_ns}: {reason}"
            )
        )

    def _send_batch(self, stream: PutStream, batch: pa.RecordBatch) -> None:
        limit_bytes = self._server.most_batch_bytes
        for piece in encode.pieces(batch, min(limit_bytes, 2 * self._limits.batch_bytes)):
            size_bytes = pa.ipc.get_record_batch_size(piece)
            if size_bytes <= limit_bytes:
                stream.write(piece)
            else:
                self._told(
                    TooLargeError(
                        f"{self._locator}: the row with timestamp_ns {piece.column(0)[0]} was left"
                        f" out: its {size_bytes} bytes are above the server's limit"
                    )
                )
            self._progress_s = time.monotonic()


class _Ending:
    """Tells how a block ended, whatever ended it: who waits for a thread must not miss that."""

    def __init__(self, told: Callable[[BaseException | None], None]) -> None:
        self._told = told

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        self._told(error)
        return True


def _remote(locator: str, error: BaseException) -> RemoteError:
    if isinstance(error, RemoteError):
        return error
    fault = RemoteError(f"{locator}: {error!r}")
    fault.__cause__ = error
    return fault
