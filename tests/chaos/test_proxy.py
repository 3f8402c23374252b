from __future__ import annotations

import contextlib
import random
import socket

import pytest

from recorder.errors import RemoteAwayError
from recorder.ground import GroundStation
from recorder.mosaico import MosaicoClient
from tests.chaos.flow import Frames
from tests.chaos.proxy import HOST, Proxy, Toxic


@pytest.fixture
def link():
    made = Proxy()
    yield made
    made.close()


@contextlib.contextmanager
def ends(link):
    """Both ends of one connection over the link."""
    with socket.create_server((HOST, 0)) as listener:
        link.station_port = listener.getsockname()[1]
        with socket.create_connection((HOST, link.port), timeout=10) as client:
            station, _ = listener.accept()
            station.settimeout(10)
            with station:
                yield client, station


def read(sock, size):
    found = b""
    while len(found) < size and (more := sock.recv(65_536)):
        found += more
    return found


def call(number):
    """The head of a call: a frame of HTTP/2 with headers and no content."""
    return bytes([0, 0, 0, 1, 4]) + number.to_bytes(4, "big")


PREFACE = b"P" * 24


@pytest.mark.parametrize("kind", ["delay", "throttle", "freeze", "freeze_back"])
def test_a_slow_link_changes_no_byte(link, kind):
    link.arm([Toxic(kind, 1, 0, 0.2)])
    up, down = PREFACE + call(1) + random.Random(1).randbytes(50_000), b"answer" * 1000
    with ends(link) as (client, station):
        client.sendall(up)
        station.sendall(down)
        assert read(station, len(up)) == up
        assert read(client, len(down)) == down
    assert link.struck[kind] == 1


def test_a_reset_is_a_reset_at_the_other_end(link):
    link.arm([Toxic("reset", 1)])
    with ends(link) as (client, _):
        client.sendall(PREFACE + call(1))
        with pytest.raises(ConnectionResetError):
            client.recv(1)


@pytest.mark.parametrize(("kind", "is_up"), [("half_close", True), ("half_close_back", False)])
def test_a_half_closed_link_still_carries_the_other_way(link, kind, is_up):
    link.arm([Toxic(kind, 1)])
    with ends(link) as (client, station):
        client.sendall(PREFACE + call(1))
        closed, (giver, taker) = (
            (station, (station, client)) if is_up else (client, (client, station))
        )
        while closed.recv(65_536):
            pass
        giver.sendall(b"still there")
        rest = read(taker, 24 + 9 + 11 if not is_up else 11)
        assert rest.endswith(b"still there")


def test_frames_are_found_however_the_bytes_are_cut():
    text = PREFACE + call(1) + bytes([0, 0, 3, 0, 1, 0, 0, 0, 1]) + b"abc" + call(3)
    for cut in range(len(text) + 1):
        frames = Frames(len(PREFACE))
        found = [*frames.feed(text[:cut]), *frames.feed(text[cut:])]
        assert [(kind, flags, stream) for _, kind, flags, stream in found] == [
            (1, 4, 1),
            (0, 1, 1),
            (1, 4, 3),
        ]


def test_the_answer_of_exactly_one_call_is_lost_and_the_call_was_carried_out(link, tmp_path):
    with GroundStation(tmp_path / "ground") as station:
        link.station_port = station.port
        url = f"grpc://{HOST}:{link.port}"
        with MosaicoClient.connect_url(url) as client:
            link.arm([Toxic("lose_answer", 2)])
            client.create_sequence("first", {})
            with pytest.raises(RemoteAwayError):
                client.create_sequence("second", {})
        assert [one["name"] for one in station.catalogue.sequences()] == ["first", "second"]
    assert link.struck["lose_answer"] == 1
