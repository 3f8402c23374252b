"""Connections between a client and a station that freeze and break when they are told to."""

from __future__ import annotations

import select
import socket
import struct
import threading
from dataclasses import dataclass

LOOK_S = 0.02
#: SO_LINGER: a close that throws away what is unsent and tells the peer so (RST).
RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Connection:
    """The two sockets of one connection."""

    client: socket.socket
    station: socket.socket


class Link:
    """Carries bytes until it is frozen; each connection can be broken on its own."""

    def __init__(self, port: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._station_port = port
        self._ended = threading.Event()
        self.frozen: set[str] = set()
        self.connections: list[Connection] = []
        self._to_break: list[tuple[Connection, threading.Event]] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def break_off(self, number: int) -> None:
        """Reset a connection, by its place among all that were ever made."""
        is_done = threading.Event()
        self._to_break.append((self.connections[number], is_done))
        assert is_done.wait(10), "the link does not run"

    def _run(self) -> None:
        peers: dict[socket.socket, tuple[socket.socket, str]] = {}
        while not self._ended.is_set():
            readable, _, _ = select.select([self._listener, *peers], [], [], LOOK_S)
            while self._to_break:
                broken, is_done = self._to_break.pop()
                self._reset(broken, peers)
                is_done.set()
            for sock in readable:
                if sock is self._listener:
                    self._accept(peers)
                elif sock in peers:
                    self._carry(sock, peers)
        for sock in peers:
            sock.close()

    def _accept(self, peers: dict[socket.socket, tuple[socket.socket, str]]) -> None:
        client, _ = self._listener.accept()
        station = socket.create_connection(("127.0.0.1", self._station_port))
        peers[client], peers[station] = (station, "up"), (client, "down")
        self.connections.append(Connection(client, station))

    def _carry(
        self, sock: socket.socket, peers: dict[socket.socket, tuple[socket.socket, str]]
    ) -> None:
        peer, direction = peers[sock]
        if direction in self.frozen:
            self._ended.wait(LOOK_S)
            return
        data = sock.recv(65536)
        if data:
            peer.sendall(data)
        else:
            for ended in (sock, peer):
                del peers[ended]
                ended.close()

    def _reset(
        self, found: Connection, peers: dict[socket.socket, tuple[socket.socket, str]]
    ) -> None:
        for sock in (found.client, found.station):
            if peers.pop(sock, None) is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                sock.close()

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        self._listener.close()
