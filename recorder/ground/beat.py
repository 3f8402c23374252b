"""A tiny message on every open upload stream, now and then.

Clients find a dead link by HTTP/2 pings, one per 5 s here. gRPC's C++ servers, which pyarrow wraps,
hang up on a client that pings a few times while they send nothing; mosaicod does not. Measured: a
stream that rested for 70 s was gone, with pings every second after 5 s. pyarrow cannot change that
setting, but every frame that the server sends resets the count, so the station sends an empty
acknowledgement; clients drain them unread when they close the stream.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.flight as fl

from recorder.upload.memory import give_back

if TYPE_CHECKING:
    from collections.abc import Iterator

INTERVAL_S = 4.0
# 5 bytes each, never read before the end: far below the 64 KiB at which a write would block.
MOST_BEATS = 8000


class Beat:
    """Beats on all open streams from one thread of its own, from `start` until `stop`.

    When the last of them is over, memory is given back: what gRPC received of fifty streams at once
    would else stay with the allocator (measured: 700 MB).
    """

    def __init__(self) -> None:
        # Flight's threads add and remove writers, ours uses them: a writer is dead memory once its
        # call returned, so it is removed under the same lock that a beat holds.
        self._lock = threading.Lock()
        self._beats: dict[fl.FlightMetadataWriter, int] = {}
        self._were_any = False  # since the last beat
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ground-beat", daemon=True)

    def start(self) -> None:
        """Begin to beat."""
        self._thread.start()

    @property
    def stopped(self) -> bool:
        """True after `stop`."""
        return self._stop.is_set()

    @property
    def streams(self) -> int:
        """Streams that are beaten on."""
        with self._lock:
            return len(self._beats)

    @contextmanager
    def on(self, writer: fl.FlightMetadataWriter) -> Iterator[None]:
        """Beat on a stream as long as the block lasts."""
        with self._lock:
            self._beats[writer] = 0
            self._were_any = True
        try:
            yield
        finally:
            with self._lock:
                del self._beats[writer]

    def stop(self) -> None:
        """End the thread; may be called twice."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        is_at_rest = True
        while not self._stop.wait(INTERVAL_S):
            with self._lock:
                for writer, beats in self._beats.items():
                    if beats < MOST_BEATS:
                        self._beats[writer] = beats + self._beat(writer)
                was_at_rest, is_at_rest = is_at_rest, not (self._beats or self._were_any)
                self._were_any = False
            if is_at_rest and not was_at_rest:
                give_back()

    def _beat(self, writer: fl.FlightMetadataWriter) -> int:
        try:
            writer.write(pa.py_buffer(b""))
        except (pa.ArrowException, OSError):
            return MOST_BEATS  # that client is gone; its own call finds out
        return 1
