"""The command socket: how the outside speaks to the spooler.

A UNIX stream socket; each connection carries one request and one answer, both one line of JSON.
A request has ``command`` and its arguments; an answer has ``ok`` and either the facts or ``error``.
What changes the recording is journalled before it is answered.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import time
from typing import TYPE_CHECKING, Any

from recorder.errors import RecorderError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: What a request may bring about that makes no sense: nobody who asks may end who is asked.
_REFUSED = (
    *(RecorderError, OSError, ValueError, TypeError, LookupError, AttributeError),
    *(ArithmeticError, RecursionError, MemoryError),
)
#: A dependency travels in one line: 4 MiB, as base64.
_MOST_BYTES = 6 * 1024 * 1024
_CHUNK_BYTES = 65_536
#: How long a question may take to come and an answer to be taken, and how many may ask at once.
_PATIENCE_S, _TELLING_S, _MOST_PEERS = 1.0, 0.1, 32


class CommandServer:
    """The listening end, polled by the loop that owns it, which never waits for whoever asks.

    Args:
        path: the socket; an old one is replaced. Only its owner and group may connect.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(str(path))
        path.chmod(0o660)
        self._socket.listen(8)
        self._socket.setblocking(False)
        self._ready = select.epoll()
        self._ready.register(self._socket, select.EPOLLIN)
        #: Who has connected and not said everything yet, by descriptor, the oldest first.
        self._asking: dict[int, _Peer] = {}

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when somebody asks."""
        return self._ready.fileno()

    def serve(self, answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        """Answer everybody whose question is there; who is slow is looked at again next time.

        Args:
            answer: gives the facts for a request, or raises RecorderError with the reason.
        """
        self._accept()
        for number, peer in list(self._asking.items()):
            if peer.hear():
                self._drop(number)
                with peer.socket:
                    _tell(peer.socket, _reply(bytes(peer.said), answer))
            elif peer.is_over:
                self._drop(number)
                peer.socket.close()

    def _accept(self) -> None:
        while True:
            try:
                found, _ = self._socket.accept()
            except BlockingIOError:
                return
            found.setblocking(False)
            self._asking[found.fileno()] = _Peer(found)
            self._ready.register(found, select.EPOLLIN)
            if len(self._asking) > _MOST_PEERS:
                oldest = next(iter(self._asking))
                self._drop(oldest).socket.close()

    def _drop(self, number: int) -> _Peer:
        self._ready.unregister(number)
        return self._asking.pop(number)

    def close(self) -> None:
        """Stop listening; may be called twice."""
        for peer in self._asking.values():
            peer.socket.close()
        self._asking.clear()
        self._ready.close()
        self._socket.close()
        self._path.unlink(missing_ok=True)


class _Peer:
    """Somebody who asks.

    Args:
        connected: the connection, not blocking.
    """

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self.said = bytearray()
        self._until_s = time.monotonic() + _PATIENCE_S
        self._is_gone = False

    def hear(self) -> bool:
        """Take what was said; return whether that is a whole question, or all that will come."""
        try:
            while more := self.socket.recv(_CHUNK_BYTES):
                self.said += more
                if len(self.said) >= _MOST_BYTES or self.said.endswith(b"\n"):
                    return True
        except BlockingIOError:
            return False
        except OSError:
            self._is_gone = True
            return False
        self._is_gone = not self.said
        return bool(self.said)

    @property
    def is_over(self) -> bool:
        """Whether nothing is to be expected any more."""
        return self._is_gone or time.monotonic() > self._until_s


def _tell(peer: socket.socket, reply: dict[str, Any]) -> None:
    peer.settimeout(_TELLING_S)
    with contextlib.suppress(OSError):  # gone meanwhile; what was asked for is done and journalled
        peer.sendall(json.dumps(reply).encode() + b"\n")


def _reply(line: bytes, answer: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    try:
        return {"ok": True, **answer(json.loads(line))}
    except _REFUSED as error:
        return {"ok": False, "error": str(error)}


def _line(peer: socket.socket, patience_s: float) -> bytes:
    received = bytearray()
    until_s = time.monotonic() + patience_s
    while not received.endswith(b"\n") and len(received) < _MOST_BYTES:
        peer.settimeout(max(until_s - time.monotonic(), 0.001))
        more = peer.recv(_CHUNK_BYTES)
        if not more:
            break
        received += more
    return bytes(received)


def ask(
    path: Path,
    command: str,
    patience_s: float = 10 * _PATIENCE_S,
    **arguments: Any,  # noqa: ANN401 - JSON
) -> dict[str, Any]:
    """Send one command to the recorder that runs here.

    Args:
        path: its socket.
        command: what is asked for.
        patience_s: how long its answer may take.
        arguments: of the command.

    Raises:
        RecorderError: none runs, or it said no; the message says why.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
        peer.settimeout(patience_s)
        try:
            peer.connect(str(path))
            peer.sendall(json.dumps({"command": command, **arguments}).encode() + b"\n")
            answer: dict[str, Any] = json.loads(_line(peer, patience_s))
        except (OSError, json.JSONDecodeError) as error:
            raise RecorderError(f"no recorder answers at {path}: {error}") from error
    if not answer.pop("ok"):
        raise RecorderError(answer["error"])
    return answer
