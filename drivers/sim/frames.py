"""A camera that delivers real JPEG pictures over a socket, see `drivers.sim.frame_wire`.

It keeps to its own grid of time from the first start on, has few buffers, and drops frames when
they are not taken; its numbers go on, also while nobody is connected (the recorder's process may
have been killed: a camera does not know). An end, asked for, stops it.

What it does not simulate: a sensor (exposure, gain, noise, rolling shutter), an encoder's delay and
rate control, other formats than JPEG, and the controls of a real camera.
"""

from __future__ import annotations

import json
import random
import selectors
import socket
import zlib
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from drivers.base import boot_ns
from drivers.sim.frame_wire import DESCRIBE, END, HEADER, START

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from pathlib import Path

#: Frames that wait in the camera for a slow reader; the socket holds two or three more.
BUFFERS = 4
SOCKET_BYTES = 65536
TICK_S = 0.25


class Frame(NamedTuple):
    """A frame on its way out."""

    number: int
    boot_ns: int
    picture: bytes


class Camera:
    """The camera and its socket; one client, a new one replaces the old.

    Args:
        path: where to listen; the file is removed at the end.
        log: one JSON object per frame, as soon as its fate is known: ``frame``, ``boot_ns``,
            ``bytes``, ``crc32``, and ``sent``, whether it left the camera whole.
        draw: makes the picture of a frame from its number and its time in s.
        rate_hz: frames per second.
        size: width and height of the pictures, in pixels.
    """

    def __init__(
        self,
        path: Path,
        log: Path,
        draw: Callable[[int, float], bytes],
        rate_hz: float,
        size: tuple[int, int],
    ) -> None:
        self._path = path
        self._log = log.open("w", encoding="ascii", buffering=1)
        self._draw = draw
        self._period_ns = round(1e9 / rate_hz)
        self._size = size
        self._number = 0
        self._due_ns: int | None = None  # of the next frame; None: not started
        self._waiting: deque[Frame] = deque()
        self._rest = memoryview(b"")  # of the first in `_waiting`, or of the end mark
        self._ending = False
        self._client: socket.socket | None = None
        self._drop = self._garbage = 0
        self._lossy = 0.0
        self._dice = random.Random(0)
        self._stalled_until_ns = self._unplugged_until_ns = 0
        self._listener = self._listen()

    def fault(self, name: str, *, n: int = 1, seconds: float = 1.0, share: float = 0.0) -> None:
        """Misbehave; may be called from any thread (it sets single values only).

        Args:
            name: ``drop``: the next `n` frames are numbered but not sent; ``garbage``: the next
                `n` pictures are cut short; ``stall``: for `seconds` there are no frames at all,
                and afterwards the numbers go on as if nothing had been; ``lossy``: from now on each
                frame is dropped with the probability `share`; ``unplug``: hangs up, and listens
                again after `seconds`.
            n: frames.
            seconds: duration.
            share: 0 to 1.
        """
        if name == "drop":
            self._drop = n
        elif name == "garbage":
            self._garbage = n
        elif name == "stall":
            self._stalled_until_ns = boot_ns() + round(seconds * 1e9)
        elif name == "lossy":
            self._lossy = share
        elif name == "unplug":
            self._unplugged_until_ns = boot_ns() + round(seconds * 1e9)
        else:
            known = "drop, garbage, lossy, stall and unplug"
            raise ValueError(f"a camera has no fault {name!r}, only {known}")

    def _listen(self) -> socket.socket:
        self._path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(self._path))
        listener.listen()
        return listener

    def run(self, stop: threading.Event) -> None:
        """Serve until told to stop, then close everything."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            while not stop.is_set():
                self._plug(selector)
                for key, _ in selector.select(self._pause_s()):
                    self._serve(selector, key.fileobj is self._listener)
                if self._due_ns is not None and self._due_ns <= boot_ns():
                    self._expose(self._due_ns)
                    self._due_ns += self._period_ns
                self._send(selector)
            self._hang_up(selector)
        self._listener.close()
        self._log.close()
        self._path.unlink(missing_ok=True)

    def _plug(self, selector: selectors.BaseSelector) -> None:
        """Take the socket away while the camera is unplugged, and bring it back afterwards."""
        is_away = boot_ns() < self._unplugged_until_ns
        is_listening = self._listener.fileno() >= 0
        if is_away and is_listening:
            self._hang_up(selector)
            selector.unregister(self._listener)
            self._listener.close()
            self._path.unlink(missing_ok=True)
        elif not is_away and not is_listening:
            self._listener = self._listen()
            selector.register(self._listener, selectors.EVENT_READ)

    def _pause_s(self) -> float:
        if self._due_ns is None:
            return TICK_S
        return min(TICK_S, max(0.0, (self._due_ns - boot_ns()) / 1e9))

    def _serve(self, selector: selectors.BaseSelector, is_new: bool) -> None:
        if is_new:
            self._hang_up(selector)
            self._client, _ = self._listener.accept()
            self._client.setblocking(False)
            self._client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BYTES)
            selector.register(self._client, selectors.EVENT_READ)
        elif self._client is not None:
            self._obey(selector, self._client)

    def _obey(self, selector: selectors.BaseSelector, client: socket.socket) -> None:
        try:
            order = client.recv(1)
        except BlockingIOError:  # it became writable, not readable
            return
        except OSError:
            order = b""
        if order == START:
            self._due_ns = self._due_ns or boot_ns() + self._period_ns
        elif order == END:
            self._due_ns = None
            self._ending = True
        elif order == DESCRIBE:
            # Before anything streams to this client, and shorter than any socket's buffer.
            rate = round(1e12 / self._period_ns)
            try:
                client.send(HEADER.pack(rate, 0, *self._size, 0))
            except OSError:  # it has gone meanwhile
                self._hang_up(selector)
        else:
            self._hang_up(selector)

    def _expose(self, at_ns: int) -> None:
        picture = self._draw(self._number, at_ns / 1e9)
        if self._garbage > 0:
            self._garbage -= 1
            picture = picture[: len(picture) // 2]
        frame = Frame(self._number, at_ns, picture)
        self._number += 1
        if self._is_dropped(at_ns) or self._client is None or len(self._waiting) >= BUFFERS:
            self._note(frame, sent=False)
        else:
            self._waiting.append(frame)

    def _is_dropped(self, at_ns: int) -> bool:
        if self._drop > 0:
            self._drop -= 1
            return True
        if self._lossy and self._dice.random() < self._lossy:
            return True
        return at_ns < self._stalled_until_ns

    def _send(self, selector: selectors.BaseSelector) -> None:
        """Send what the socket takes; ask to be woken when it takes more."""
        if self._client is None:
            return
        try:
            while self._load():
                self._rest = self._rest[self._client.send(self._rest) :]
                if not self._rest and self._waiting:
                    self._note(self._waiting.popleft(), sent=True)
        except BlockingIOError:
            selector.modify(self._client, selectors.EVENT_READ | selectors.EVENT_WRITE)
        except OSError:
            self._hang_up(selector)
        else:
            selector.modify(self._client, selectors.EVENT_READ)

    def _load(self) -> bool:
        """Take up the next frame, or the end mark behind the last; False if there is nothing."""
        if self._rest:
            return True
        if self._waiting:
            frame = self._waiting[0]
            head = HEADER.pack(frame.number, frame.boot_ns, *self._size, len(frame.picture))
            self._rest = memoryview(head + frame.picture)
        elif self._ending:
            self._ending = False
            self._rest = memoryview(HEADER.pack(0, 0, 0, 0, 0))
        return bool(self._rest)

    def _hang_up(self, selector: selectors.BaseSelector) -> None:
        for frame in self._waiting:
            self._note(frame, sent=False)
        self._waiting.clear()
        self._rest = memoryview(b"")
        self._ending = False
        if self._client is not None:
            selector.unregister(self._client)
            self._client.close()
            self._client = None

    def _note(self, frame: Frame, sent: bool) -> None:
        line = {
            "frame": frame.number,
            "boot_ns": frame.boot_ns,
            "bytes": len(frame.picture),
            "crc32": zlib.crc32(frame.picture),
            "sent": sent,
        }
        self._log.write(json.dumps(line) + "\n")
