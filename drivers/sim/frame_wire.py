"""What goes over the camera model's socket, and the client's side of it.

Little-endian. The client sends single bytes: ``D`` asks for the description, ``S`` starts the
stream (one that runs goes on with its numbers), ``E`` ends it. The source sends frames:

    offset  size
         0     8  running number of the frame; it goes on over starts and clients
         8     8  CLOCK_BOOTTIME of the exposure in ns
        16     2  width in pixels
        18     2  height in pixels
        20     4  length n of the picture; with 0 and a width this is the description, whose number
                  is the rate in frames per 1000 s; with 0 and no width the end that ``E`` asked for
        24     n  the picture, a JPEG file
"""

from __future__ import annotations

import errno
import select
import socket
import struct
from typing import NamedTuple

DESCRIBE, START, END = b"D", b"S", b"E"
HEADER = struct.Struct("<QqHHI")
#: A frame that has begun to come is complete within this time, and so is an answer.
WHOLE_S = 2.0
MOST_BYTES = 16 << 20


class Frame(NamedTuple):
    """A frame as it came, or a description."""

    number: int
    boot_ns: int
    size: tuple[int, int]
    picture: memoryview


class FrameClient:
    """A connection to a camera model; every call raises OSError where it breaks.

    Args:
        path: of its socket.
    """

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(WHOLE_S)
        try:
            self._socket.connect(path)
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when a frame comes; -1 after `close`."""
        return self._socket.fileno()

    def order(self, order: bytes) -> None:
        """Send one of the orders."""
        self._socket.sendall(order)

    def describe(self) -> Frame:
        """Return size (and as `number` the rate in frames per 1000 s); before the stream starts."""
        self.order(DESCRIBE)
        found = self.receive()
        if found is None or len(found.picture):
            raise OSError(errno.EPROTO, "no description came")
        return found

    def wait(self, timeout_s: float) -> bool:
        """Wait for a frame; return whether something came."""
        return bool(select.select([self._socket], [], [], timeout_s)[0])

    def receive(self) -> Frame | None:
        """Receive one frame into memory of its own, or None for the end of the stream."""
        number, boot_ns, width, height, size_bytes = HEADER.unpack(self._bytes(HEADER.size))
        if size_bytes > MOST_BYTES:
            raise OSError(errno.EPROTO, f"frame of {size_bytes} bytes: out of step")
        if not size_bytes and not width:
            return None
        return Frame(number, boot_ns, (width, height), self._bytes(size_bytes))

    def close(self) -> None:
        """Disconnect; the stream itself goes on unless it was ended. May be called twice."""
        self._socket.close()

    def _bytes(self, size_bytes: int) -> memoryview:
        data = memoryview(bytearray(size_bytes))
        got = 0
        while got < size_bytes:
            part = self._socket.recv_into(data[got:])
            if part == 0:
                raise ConnectionResetError(errno.ECONNRESET, "has hung up")
            got += part
        return data
