"""A link that freezes: nothing is closed, nothing comes any more, as in a tunnel."""

from __future__ import annotations

import itertools

import pytest

from recorder.errors import RemoteAwayError
from recorder.mosaico import CompressedImage, Message, MosaicoClient, ontology
from recorder.mosaico.encode import batch

SCHEMA = ontology.schema("CompressedImage")


def frame(number, size_bytes=500_000):
    image = CompressedImage(data=bytes(size_bytes), format="raw")
    return batch([Message(timestamp_ns=number, data=image)], SCHEMA)


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
