from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from drivers.base import Device, Driver, Field, Sample, boot_ns
from recorder import config, status, web
from recorder.errors import RecorderError
from recorder.web.board import Board
from recorder.web.server import WebServer
from tests.recorder.building import wait_until

PATIENCE_S = 20.0


class Metronome(Driver):
    """A device that gives a number every 20 ms."""

    kind = "metronome"
    ontology = "IMU"
    fields = (Field("number", "<u4", "1"),)
    rate_hz = 50.0
    rate_tolerance = 0.01

    def __init__(self) -> None:
        self._number = 0

    def open(self) -> Device:
        return Device(model="Metronome <1>")

    def read(self, timeout_s: float) -> Sample | None:
        time.sleep(min(1 / self.rate_hz, timeout_s))  # the device's own pace
        self._number += 1
        payload = [struct.pack("<I", self._number)]
        return Sample(boot_ns(), 1, payload, counter=self._number)

    def finish(self) -> list[Sample]:
        return []

    def close(self) -> None:
        pass


@contextlib.contextmanager
def running(settings: config.Config, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run one of the recorder's processes as the foreground runner does; it must end on request."""
    paths = os.pathsep.join([str(Path(__file__).parent), str(Path(web.__file__).parents[2])])
    process = subprocess.Popen(
        [sys.executable, "-m", *command, config.to_json(settings)],
        env={**os.environ, "PYTHONPATH": paths},
    )
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def settings(tmp_path: Path) -> config.Config:
    return config.Config(
        lanes=[config.Lane(name="beat", driver=f"{Path(__file__).stem}:Metronome")],
        spool=config.Spool(
            directory=tmp_path / "rec", run_dir=tmp_path / "run", free_floor_bytes=0
        ),
        upload=config.Upload(mode="off"),
        web=config.Web(port=0),
    )


@pytest.fixture
def url(settings: config.Config) -> Iterator[str]:
    with running(settings, "recorder.web"):
        yield address(settings)


def address(settings: config.Config) -> str:
    sign = wait_until(lambda: status.read(settings.spool.run_dir, "web"))
    assert sign["url"] == f"http://127.0.0.1:{sign['port']}/"
    return str(sign["url"])


def port_of(url: str) -> int:
    return int(url.rstrip("/").rsplit(":", 1)[1])


def ask(url: str, method: str = "GET") -> tuple[int, str, Any]:
    request = urllib.request.Request(url, method=method)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return answer.status, answer.read().decode(), answer.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode(), error.headers


def board(url: str) -> dict[str, Any]:
    code, text, headers = ask(url + "status.json")
    assert (code, headers["Content-Type"]) == (200, "application/json")
    found: dict[str, Any] = json.loads(text)
    return found


def test_a_running_recorder_is_shown_from_its_device_to_its_disk(
    settings: config.Config, url: str
) -> None:
    spool = running(settings, "recorder.spooler")
    with spool, running(settings, "recorder.lane", "beat"):

        def is_known() -> bool:
            now = board(url)
            session = now["session"]
            beat = now["lanes"][0]
            return bool(session and session["state"] == "open" and beat["measured_hz"])

        wait_until(is_known)
        now = board(url)
        assert now["session"]["is_recorded"] is True
        assert now["session"]["lanes"][0]["stored"] > 0
        beat = now["lanes"][0]
        assert beat["device"]["model"] == "Metronome <1>"
        assert (beat["rate_hz"], beat["state"], beat["is_silent"]) == (50.0, "running", False)
        assert beat["last_sample_age_s"] >= 0
        assert now["spool"]["free_bytes"] > 0
        assert ask(url + "healthz")[:2] == (200, "ok\n")
        code, text, headers = ask(url + "metrics")
        assert (code, headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
        samples = re.search(r'^recorder_samples_total\{lane="beat"\} (\d+)$', text, re.MULTILINE)
        assert samples is not None
        assert int(samples[1]) > 0

    def is_over() -> bool:
        session = board(url)["session"]
        return bool(session and session["recording"] == "stopped")

    wait_until(is_over)  # read from the spool: no life sign speaks of it any more
    ended = board(url)["session"]
    assert (ended["is_recorded"], ended["state"]) == (False, "closed")
    assert (ended["end_reason"], ended["quality_basis"]) == ("shutdown", "delivered")


def test_health_names_the_processes_that_are_silent(settings: config.Config, url: str) -> None:
    old = {"session": None, "boot_ns": boot_ns() - 6_000_000_000}
    status.publish(settings.spool.run_dir, "spool", old)
    code, text, _ = ask(url + "healthz")
    assert (code, text) == (503, "silent: spool, lane-beat\n")


def test_nothing_can_be_changed_from_outside(url: str) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert ask(url + "status.json", method)[0] == 501


def test_what_is_not_there_is_not_found(url: str) -> None:
    assert ask(url + "../recorder.toml")[0] == 404
    assert ask(url + "status.json/x")[0] == 404


def test_head_gives_the_length_without_the_page(url: str) -> None:
    page = ask(url)[1]
    with socket.create_connection(("127.0.0.1", port_of(url)), PATIENCE_S) as connection:
        connection.sendall(b"HEAD / HTTP/1.0\r\n\r\n")
        with connection.makefile("rb") as stream:
            head, _, body = stream.read().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 200 ")
    assert f"\r\nContent-Length: {len(page.encode())}".encode() in head
    assert body == b""


def test_the_page_takes_nothing_from_elsewhere_and_puts_texts_in_as_texts(url: str) -> None:
    code, page, headers = ask(url)
    assert (code, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    links = set(re.findall(r'(?:src|href)="([^"]*)"', page))
    assert links == {"data:,", "status.json"}
    assert "//" not in re.sub(r"^\s*//.*$", "", page, flags=re.MULTILINE)
    assert "innerHTML" not in page


def test_a_client_that_says_nothing_does_not_hold_up_the_end(settings: config.Config) -> None:
    with running(settings, "recorder.web"):
        url = address(settings)
        idle = socket.create_connection(("127.0.0.1", port_of(url)))
        board(url)  # the idle one was accepted before this one
    idle.close()


def test_a_port_that_is_taken_is_told_in_one_sentence(settings: config.Config) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(RecorderError, match=f"cannot listen on 127.0.0.1:{port}"):
            WebServer("127.0.0.1", port, Board(settings).look())


def test_the_process_loads_no_arrow(settings: config.Config) -> None:
    with running(settings, "recorder.web") as process:
        assert ask(address(settings) + "status.json")[0] == 200
        maps = Path(f"/proc/{process.pid}/maps").read_text()
    assert "python" in maps
    assert not re.search(r"pyarrow|numpy|libarrow", maps)
