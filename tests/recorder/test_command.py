from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from recorder.command import CommandServer, ask
from recorder.errors import RecorderError
from tests.recorder.building import wait_until


@pytest.fixture
def server(tmp_path: Path) -> Iterator[CommandServer]:
    one = CommandServer(tmp_path / "run" / "command.sock")
    yield one
    one.close()
    one.close()


def answered(
    server: CommandServer, answer: Callable[[dict[str, Any]], dict[str, Any]], raw: bytes
) -> bytes:
    """Send bytes as a client and return what comes back."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
        peer.settimeout(5)
        peer.connect(str(server._path))
        peer.sendall(raw)
        server.serve(answer)
        return peer.recv(65_536)


def test_a_question_gets_its_facts_and_the_socket_is_for_the_group_only(
    server: CommandServer,
) -> None:
    got = answered(server, lambda request: {"got": request}, b'{"command": "mark", "label": "x"}\n')
    assert json.loads(got) == {"ok": True, "got": {"command": "mark", "label": "x"}}
    assert server._path.stat().st_mode & 0o777 == 0o660


@pytest.mark.parametrize(
    "raw", [b"\n", b"nonsense\n", b"\xff\n", b"[" * 60_000 + b"\n", b"null\n", b"[1]\n"]
)
def test_what_is_no_request_is_answered_and_harms_nothing(
    server: CommandServer, raw: bytes
) -> None:
    got = json.loads(answered(server, dict, raw))
    assert got["ok"] is False
    assert got["error"] or raw == b"\n"
    assert json.loads(answered(server, lambda _: {}, b"{}\n"))["ok"]


@pytest.mark.parametrize("error", [RecorderError("no"), OSError(28, "no space"), TypeError("no")])
def test_an_order_that_fails_is_answered_with_the_reason(
    server: CommandServer, error: Exception
) -> None:
    def answer(_: dict[str, Any]) -> dict[str, Any]:
        raise error

    got = json.loads(answered(server, answer, b"{}\n"))
    assert got["ok"] is False
    assert "no" in got["error"]


def test_somebody_who_goes_away_or_never_asks_holds_nobody_up(server: CommandServer) -> None:
    gone = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    gone.connect(str(server._path))
    gone.close()
    mute = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mute.connect(str(server._path))
    assert json.loads(answered(server, lambda _: {"n": 1}, b"{}\n")) == {"ok": True, "n": 1}
    mute.close()


def test_many_who_never_ask_hold_nobody_up_and_are_let_go(server: CommandServer) -> None:
    mute = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(40)]
    for one in mute:
        one.connect(str(server._path))
        server.serve(dict)
    assert json.loads(answered(server, lambda _: {"n": 1}, b"{}\n")) == {"ok": True, "n": 1}
    mute[0].settimeout(5)
    assert mute[0].recv(1) == b""  # there were too many, and it was the first
    for one in mute:
        one.close()
    server.serve(dict)
    assert not server._asking


def test_a_question_may_come_in_pieces(server: CommandServer) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
        peer.settimeout(5)
        peer.connect(str(server._path))
        for piece in (b'{"a"', b": 1", b"}\n"):
            server.serve(lambda request: {"got": request})
            peer.sendall(piece)
        server.serve(lambda request: {"got": request})
        assert json.loads(peer.recv(65_536)) == {"ok": True, "got": {"a": 1}}


def test_ask_brings_the_answer_or_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "command.sock"
    with pytest.raises(RecorderError, match="no recorder answers"):
        ask(path, "status")
    server = CommandServer(path)
    done = threading.Event()

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        if request["command"] == "status":
            return {"session": None}
        raise RecorderError("it cannot be done")

    def served() -> bool:
        server.serve(answer)
        return done.is_set()

    thread = threading.Thread(target=wait_until, args=(served,))
    thread.start()
    try:
        assert ask(path, "status") == {"session": None}
        with pytest.raises(RecorderError, match="it cannot be done"):
            ask(path, "start")
    finally:
        done.set()
        thread.join()
        server.close()
    assert not path.exists()


def test_a_recorder_that_hangs_up_is_named(tmp_path: Path) -> None:
    path = tmp_path / "command.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen(1)

        def hang_up() -> None:
            peer, _ = listener.accept()
            peer.recv(100)
            peer.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(RecorderError, match="no recorder answers"):
            ask(path, "status")
        thread.join()
