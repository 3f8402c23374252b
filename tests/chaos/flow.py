"""One direction of a connection, and the frames of HTTP/2 in it (RFC 9113, 4.1)."""

from __future__ import annotations

import contextlib
import socket
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: What waits for a slow side; beyond it nothing more is read.
MOST_WAITING_BYTES = 1 << 20
PREFACE_BYTES = 24
FRAME_BYTES = 9
DATA, HEADERS, END_STREAM = 0, 1, 1


class Frames:
    """Finds the heads of frames in a flow of bytes.

    Args:
        skip: bytes before the first head.
    """

    def __init__(self, skip: int) -> None:
        self._skip = skip
        self._head = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, int, int, int]]:
        """Yield of each frame whose head ends here: its offset, kind, flags and stream."""
        at = 0
        while at < len(data):
            step = min(self._skip, len(data) - at)
            self._skip -= step
            at += step
            if at == len(data):
                return
            piece = data[at : at + FRAME_BYTES - len(self._head)]
            self._head += piece
            at += len(piece)
            if len(self._head) == FRAME_BYTES:
                size, kind, flags = int.from_bytes(self._head[:3], "big"), *self._head[3:5]
                yield at - FRAME_BYTES, kind, flags, int.from_bytes(self._head[5:], "big")
                self._head.clear()
                self._skip = size


class Flow:
    """One direction of a connection."""

    def __init__(self, source: socket.socket, sink: socket.socket, frames: Frames) -> None:
        self.source, self.sink, self.frames = source, sink, frames
        self.waiting: deque[tuple[float, bytes]] = deque()
        self.waiting_bytes = 0
        self.frozen_until_s = 0.0
        self.is_ended = self.is_told = False

    def add(self, due_s: float, data: bytes) -> None:
        self.waiting.append((due_s, data))
        self.waiting_bytes += len(data)

    def may_read(self, now_s: float) -> bool:
        is_open = not self.is_ended and now_s >= self.frozen_until_s
        return is_open and self.waiting_bytes < MOST_WAITING_BYTES

    def has_due(self, now_s: float) -> bool:
        return bool(self.waiting) and now_s >= max(self.frozen_until_s, self.waiting[0][0])

    def send(self, now_s: float, most_bytes: int) -> int:
        """Send what is due, and pass the end on behind it; return how many bytes went."""
        sent = 0
        while self.has_due(now_s) and sent < most_bytes:
            due_s, data = self.waiting.popleft()
            try:
                went = self.sink.send(data[: most_bytes - sent])
            except BlockingIOError:
                went = 0
            sent += went
            self.waiting_bytes -= went
            if went < len(data):
                self.waiting.appendleft((due_s, data[went:]))
                break
        if self.is_ended and not self.waiting and not self.is_told:
            self.end()
        return sent

    def end(self) -> None:
        """Tell the sink that nothing more comes."""
        self.is_ended = self.is_told = True
        self.waiting.clear()
        with contextlib.suppress(OSError):
            self.sink.shutdown(socket.SHUT_WR)
