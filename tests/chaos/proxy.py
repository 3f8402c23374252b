"""A link that goes bad: a TCP proxy between an uploader and a station. It changes no byte.

It follows the frames of HTTP/2 (RFC 9113, 4.1) in both directions, so that a toxic can begin at the
n-th call and the answer of exactly that call can be lost.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.chaos.flow import DATA, END_STREAM, HEADERS, PREFACE_BYTES, Flow, Frames

if TYPE_CHECKING:
    from collections.abc import Sequence

HOST = "127.0.0.1"
TICK_S = 0.005
READ_BYTES = 65_536
#: SO_LINGER: a close that throws away what is unsent and tells the peer so (RST).
RESET = struct.pack("ii", 1, 0)
#: These end a connection, those make it bad for a while; `lose_answer` lets the station do what it
#: was asked, and ends the connection before the answer is through.
ENDS = ("cut", "reset", "half_close", "half_close_back")
STAYS = ("freeze", "freeze_back", "delay", "throttle")
KINDS = (*ENDS, *STAYS, "lose_answer")


@dataclass(frozen=True)
class Toxic:
    """One thing that happens to the link.

    Args:
        kind: one of `KINDS`; ``_back`` means the direction from the station to the uploader.
        at_call: it begins with this call, counted from when it was armed; the first is 1.
        after_bytes: so many bytes behind that call's beginning, of both directions.
        lasts_s: how long, of those that stay.
    """

    kind: str
    at_call: int
    after_bytes: int = 0
    lasts_s: float = 0.0


@dataclass
class Connection:
    """Both directions, and what is wrong with them."""

    up: Flow
    down: Flow
    delay_s: float = 0.0
    rate_bytes: float = 0.0
    bad_until_s: float = 0.0
    lost_stream: int = 0
    #: Toxics that strike when so many more bytes came by.
    pending: list[tuple[int, Toxic]] = field(default_factory=list)

    @property
    def flows(self) -> tuple[Flow, Flow]:
        return self.up, self.down

    @property
    def is_over(self) -> bool:
        return self.up.is_told and self.down.is_told

    def close(self, *, is_reset: bool) -> None:
        for sock in (self.up.source, self.down.source):
            if is_reset:
                with contextlib.suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            sock.close()
        for flow in self.flows:
            flow.is_ended = flow.is_told = True


class Proxy:
    """The link; it carries from the moment it is made until `close`."""

    def __init__(self) -> None:
        self._listener = socket.create_server((HOST, 0))
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        #: Where the station listens just now.
        self.station_port = 0
        self.struck: Counter[str] = Counter()
        self._connections: list[Connection] = []
        # The campaign arms, heals and waits for calls; the link's thread counts and strikes.
        self._lock = threading.Condition()
        self._toxics: list[Toxic] = []
        self._calls = 0
        self._is_healing = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="proxy")
        self._thread.start()

    def arm(self, toxics: Sequence[Toxic]) -> None:
        """Count calls anew, and let these happen."""
        with self._lock:
            self._toxics, self._calls = list(toxics), 0

    def heal(self) -> None:
        """Let nothing happen any more, and end what is going on."""
        with self._lock:
            self._toxics, self._is_healing = [], True

    def wait_for_call(self, number: int, timeout_s: float) -> bool:
        """Wait until so many calls were made since the toxics were armed."""
        with self._lock:
            return self._lock.wait_for(lambda: self._calls >= number, timeout_s)

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        self._listener.close()

    def _run(self) -> None:
        while not self._ended.is_set():
            now_s = time.monotonic()
            self._mend(now_s)
            flows = [(one, flow) for one in self._connections for flow in one.flows]
            readers = {flow.source: (one, flow) for one, flow in flows if flow.may_read(now_s)}
            writers = [flow.sink for _, flow in flows if flow.has_due(now_s)]
            readable, _, _ = select.select([self._listener, *readers], writers, [], TICK_S)
            for sock in readable:
                if sock is self._listener:
                    self._accept()
                elif sock.fileno() >= 0:
                    self._read(*readers[sock])
            for one in self._connections:
                self._send(one)
            self._forget()
        for one in self._connections:
            one.close(is_reset=False)

    def _mend(self, now_s: float) -> None:
        with self._lock:
            is_healing, self._is_healing = self._is_healing, False
        for one in self._connections:
            if is_healing:
                one.pending.clear()
                one.lost_stream = 0
                one.up.frozen_until_s = one.down.frozen_until_s = one.bad_until_s = 0.0
            if now_s >= one.bad_until_s:
                one.delay_s = one.rate_bytes = 0.0

    def _forget(self) -> None:
        for one in self._connections:
            if one.is_over:
                one.close(is_reset=False)
        self._connections = [one for one in self._connections if not one.is_over]

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        try:
            station = socket.create_connection((HOST, self.station_port), timeout=2)
        except OSError:
            client.close()
            return
        for sock in (client, station):
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        up = Flow(client, station, Frames(PREFACE_BYTES))
        self._connections.append(Connection(up, Flow(station, client, Frames(0))))

    def _read(self, one: Connection, flow: Flow) -> None:
        try:
            data = flow.source.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:  # reset by the peer: so it is for the other one
            one.close(is_reset=True)
            return
        if not data:
            flow.is_ended = True
            return
        kept = self._follow(one, flow, data)
        flow.add(time.monotonic() + one.delay_s, data[:kept])
        if kept < len(data):
            self.struck["lose_answer"] += 1
            one.close(is_reset=True)
            return
        self._count_down(one, len(data))

    def _follow(self, one: Connection, flow: Flow, data: bytes) -> int:
        """Look at the frames; return how many bytes may be passed on."""
        for offset, kind, flags, stream in flow.frames.feed(data):
            if flow is one.up and kind == HEADERS:
                self._begin_call(one, stream)
            is_end = kind in (DATA, HEADERS) and flags & END_STREAM
            if flow is one.down and is_end and stream == one.lost_stream:
                return max(offset, 0)
        return len(data)

    def _begin_call(self, one: Connection, stream: int) -> None:
        with self._lock:
            self._calls += 1
            due = [toxic for toxic in self._toxics if toxic.at_call == self._calls]
            self._lock.notify_all()
        for toxic in due:
            if toxic.kind == "lose_answer":
                one.lost_stream = stream
            else:
                one.pending.append((toxic.after_bytes, toxic))

    def _count_down(self, one: Connection, size: int) -> None:
        one.pending = [(left - size, toxic) for left, toxic in one.pending]
        due = [toxic for left, toxic in one.pending if left <= 0]
        one.pending = [(left, toxic) for left, toxic in one.pending if left > 0]
        for toxic in due:
            self.struck[toxic.kind] += 1
            if toxic.kind in ENDS:
                _end(one, toxic.kind)
            else:
                _spoil(one, toxic)

    def _send(self, one: Connection) -> None:
        now_s = time.monotonic()
        most_bytes = round(one.rate_bytes * TICK_S) if one.rate_bytes else 1 << 30
        try:
            for flow in one.flows:
                if not flow.is_told:
                    flow.send(now_s, most_bytes)
        except OSError:
            one.close(is_reset=True)


def _end(one: Connection, kind: str) -> None:
    if kind == "half_close":
        one.up.end()
    elif kind == "half_close_back":
        one.down.end()
    else:
        one.close(is_reset=kind == "reset")


def _spoil(one: Connection, toxic: Toxic) -> None:
    until_s = time.monotonic() + toxic.lasts_s
    if toxic.kind == "delay":
        one.delay_s, one.bad_until_s = 0.03, until_s
    elif toxic.kind == "throttle":
        one.rate_bytes, one.bad_until_s = 200_000.0, until_s
    else:
        one.down.frozen_until_s = until_s
        if toxic.kind == "freeze":
            one.up.frozen_until_s = until_s
