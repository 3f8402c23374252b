"""The command socket: how the outside speaks to the spooler.

A UNIX stream socket; each connection carries one request and one answer, both one line of JSON.
A request has ``command`` and its arguments; an answer has ``ok`` and either the facts or ``error``.
What changes the recording is journalled before it is answered.
"""

from __future__ import annotations

import contextlib
import json
import socket
import time
from typing import TYPE_CHECKING, Any

from recorder.errors import RecorderError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: A dependency travels in one line: 4 MiB, as base64.
_MOST_BYTES = 6 * 1024 * 1024
_CHUNK_BYTES = 65_536
_PATIENCE_S = 1.0


class CommandServer:
    """The listening end, polled by the loop that owns it.

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

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when somebody asks."""
        return self._socket.fileno()

    def serve(self, answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        """Answer everybody who is waiting.

        Args:
            answer: gives the facts for a request, or raises RecorderError with the reason.
        """
        while True:
            try:
                peer, _ = self._socket.accept()
            except BlockingIOError:
                return
            with peer:
                _serve(peer, answer)

    def close(self) -> None:
        """Stop listening; may be called twice."""
        self._socket.close()
        self._path.unlink(missing_ok=True)


def _serve(peer: socket.socket, answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    try:
        line = _line(peer, _PATIENCE_S)
    except OSError:
        return  # whoever asked is gone, or takes longer than the recording can wait
    reply = json.dumps(_reply(line, answer)).encode() + b"\n"
    with contextlib.suppress(OSError):  # gone meanwhile; what was asked for is done and journalled
        peer.sendall(reply)


def _reply(line: bytes, answer: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    try:
        return {"ok": True, **answer(json.loads(line))}
    except (RecorderError, ValueError, KeyError, TypeError, RecursionError, OSError) as error:
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


def ask(path: Path, command: str, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """Send one command to the recorder that runs here.

    Raises:
        RecorderError: none runs, or it said no; the message says why.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
        peer.settimeout(10 * _PATIENCE_S)
        try:
            peer.connect(str(path))
            peer.sendall(json.dumps({"command": command, **arguments}).encode() + b"\n")
            answer: dict[str, Any] = json.loads(_line(peer, 10 * _PATIENCE_S))
        except (OSError, json.JSONDecodeError) as error:
            raise RecorderError(f"no recorder answers at {path}: {error}") from error
    if not answer.pop("ok"):
        raise RecorderError(answer["error"])
    return answer
