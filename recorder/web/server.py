"""The process of the status page: reads life signs and the spool, serves what they say, no more.

    /              the page, which asks for the status once a second
    /status.json   what `recorder.web.board.Board.look` returned last
    /metrics       the same for Prometheus
    /healthz       200 while every process gives life signs, else 503 and those that do not

Whoever reaches the port may read and nobody can change anything: every method but GET and HEAD is
refused. By default it listens on loopback only.
"""

from __future__ import annotations

import http.server
import importlib.resources
import json
import socketserver
import sys
import threading
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from recorder import __version__, status
from recorder.errors import RecorderError
from recorder.service import Notifier, Stop
from recorder.web import metrics
from recorder.web.board import Board

if TYPE_CHECKING:
    import socket

    from recorder.config import Config

    _Request = socket.socket | tuple[bytes, socket.socket]
    _Address = tuple[str, int] | str

PERIOD_S = 1.0
#: A client that says nothing for so long is let go; it bounds how long a stop takes, too.
CLIENT_S = 3.0
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": (
        "default-src 'none'; connect-src 'self'; img-src data:; "
        "script-src 'unsafe-inline'; style-src 'unsafe-inline'"
    ),
}


class WebServer(http.server.ThreadingHTTPServer):
    """Serves the newest board to whoever asks, each in a thread of its own.

    Args:
        host: address to listen on.
        port: port to listen on; 0 takes a free one, see `url`.
        board: what to serve first; replace it at any time.

    Raises:
        RecorderError: the port cannot be had.
    """

    daemon_threads = False  # so that `server_close` waits for the last answer

    def __init__(self, host: str, port: int, board: dict[str, Any]) -> None:
        #: Replaced as a whole by the main thread, read by the answering ones: needs no lock.
        self.board = board
        self.page = importlib.resources.files("recorder.web").joinpath("page.html").read_bytes()
        try:
            super().__init__((host, port), _Answer)
        except OSError as error:
            raise RecorderError(f"cannot listen on {host}:{port}: {error}") from error

    def server_bind(self) -> None:
        """Bind without asking for the host's name, which without a network can take minutes."""
        socketserver.TCPServer.server_bind(self)

    def handle_error(self, request: _Request, client_address: _Address) -> None:
        """Pass over a client that went away; tell of everything else."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)

    @property
    def url(self) -> str:
        """Where it listens."""
        host, port = self.server_address[:2]
        return f"http://{host!s}:{port}/"


class _Answer(http.server.BaseHTTPRequestHandler):
    server: WebServer
    timeout = CLIENT_S
    server_version = f"recorder/{__version__}"
    sys_version = ""

    def do_GET(self) -> None:
        code, kind, body = self._found()
        self.send_response(code)
        for name, value in {**_HEADERS, "Content-Type": kind}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815 - the library calls it so

    def _found(self) -> tuple[HTTPStatus, str, bytes]:
        board = self.server.board
        path = self.path.partition("?")[0]
        if path == "/":
            return HTTPStatus.OK, "text/html; charset=utf-8", self.server.page
        if path == "/status.json":
            return HTTPStatus.OK, "application/json", json.dumps(board).encode()
        if path == "/metrics":
            return HTTPStatus.OK, metrics.CONTENT_TYPE, metrics.text(board).encode()
        if path == "/healthz":
            return _health(board)
        return HTTPStatus.NOT_FOUND, "text/plain; charset=utf-8", b"not found\n"

    def log_message(self, format: str, *args: object) -> None:
        """Write nothing: a poll a second is no change of state."""


def _health(board: dict[str, Any]) -> tuple[HTTPStatus, str, bytes]:
    silent = [name for name, life in board["processes"].items() if life["is_silent"]]
    code = HTTPStatus.SERVICE_UNAVAILABLE if silent else HTTPStatus.OK
    words = f"silent: {', '.join(silent)}\n" if silent else "ok\n"
    return code, "text/plain; charset=utf-8", words.encode()


def main(config: Config, stop: Stop) -> None:
    """Serve the status page until told to stop.

    The life sign ``web`` says where: its ``url`` and ``port``.

    Args:
        config: the resolved configuration; `config.web` says where to listen.
        stop: the request to end.

    Raises:
        RecorderError: the port cannot be had.
    """
    board = Board(config)
    notifier = Notifier()
    with WebServer(config.web.host, config.web.port, board.look()) as server:
        answering = threading.Thread(target=server.serve_forever, name="answering")
        answering.start()
        try:
            notifier.ready(server.url)
            while True:
                _sign(config, server)
                notifier.ping(server.url)
                if stop.wait(PERIOD_S):
                    break
                server.board = board.look()
            notifier.stopping()
        finally:
            server.shutdown()
            answering.join()


def _sign(config: Config, server: WebServer) -> None:
    facts = {"state": "serving", "url": server.url, "port": server.server_address[1]}
    status.publish(config.spool.run_dir, "web", facts)
