"""A link that freezes: nothing is closed, nothing comes any more, as in a tunnel."""

from __future__ import annotations

import itertools
import select
import socket
import threading

import pytest

from recorder.errors import RemoteAwayError
from recorder.mosaico import CompressedImage, Message, MosaicoClient, ontology
from recorder.mosaico.encode import batch
from recorder.mosaico.message import row

SCHEMA = ontology.schema("CompressedImage")


class Link:
    """Carries bytes between one client and the station until it is frozen."""

    def __init__(self, port):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._station_port = port
        self._ended = threading.Event()
        self.frozen = set()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        peers: dict[socket.socket, tuple[socket.socket, str]] = {}
        while not self._ended.is_set():
            readable, _, _ = select.select([self._listener, *peers], [], [], 0.02)
            for sock in readable:
                if sock is self._listener:
                    client, _ = sock.accept()
                    station = socket.create_connection(("127.0.0.1", self._station_port))
                    peers[client], peers[station] = (station, "up"), (client, "down")
                elif sock in peers:
                    self._carry(sock, peers)
        for sock in peers:
            sock.close()

    def _carry(self, sock, peers):
        peer, direction = peers[sock]
        if direction in self.frozen:
            self._ended.wait(0.02)
            return
        data = sock.recv(65536)
        if data:
            peer.sendall(data)
        else:
            for ended in (sock, peer):
                del peers[ended]
                ended.close()

    def close(self):
        self._ended.set()
        self._thread.join()
        self._listener.close()


@pytest.fixture
def link(station):
    carrying = Link(station.port)
    yield carrying
    carrying.close()


def frame(number, size_bytes=500_000):
    image = CompressedImage(data=bytes(size_bytes), format="raw")
    return batch([row(Message(timestamp_ns=number, data=image))], SCHEMA)


def new_topic(client):
    client.create_sequence("drive", {})
    session = client.create_session("drive")
    return client.create_topic(
        session.uuid,
        "drive/camera",
        ontology_tag="CompressedImage",
        serialization_format="image",
        metadata={},
    )


def test_a_link_that_freezes_while_rows_are_written_is_away_and_the_topic_uploading(link, client):
    uuid = new_topic(client)

    def frames():
        for number in itertools.count():
            if number == 3:
                link.frozen |= {"up", "down"}
            yield frame(number)

    with (
        MosaicoClient.connect("127.0.0.1", link.port) as frozen,
        pytest.raises(RemoteAwayError),
    ):
        frozen.put("drive/camera", uuid, SCHEMA, frames())
    assert not client.describe_topic("drive/camera").locked


def test_a_lost_answer_is_away_and_the_topic_turns_out_finalized(link, client):
    uuid = new_topic(client)
    with MosaicoClient.connect("127.0.0.1", link.port) as frozen:
        stream = frozen.open_put("drive/camera", uuid, SCHEMA)
        stream.write(frame(1))
        link.frozen.add("down")
        with pytest.raises(RemoteAwayError):
            stream.finish()
    assert client.describe_topic("drive/camera").locked


def test_a_question_on_a_frozen_link_is_away_after_its_deadline(link):
    with MosaicoClient.connect("127.0.0.1", link.port, timeout_s=0.5) as frozen:
        link.frozen |= {"up", "down"}
        with pytest.raises(RemoteAwayError):
            frozen.sequences()
