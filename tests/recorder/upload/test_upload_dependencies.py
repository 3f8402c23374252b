"""Dependencies on their way to a server and back."""

from __future__ import annotations

import dataclasses
import json
import os
import random
from pathlib import Path
from typing import Any

import pytest

from recorder.config import Session, Upload
from recorder.errors import RecorderError
from recorder.ground import GroundStation
from recorder.mosaico import MosaicoClient, SequenceInfo
from recorder.orders import answer
from recorder.service import Stop
from recorder.spool.dependencies import Dependencies, Dependency, content_id
from recorder.spooler import Spooler
from recorder.upload.dependencies import bring, fetch, on_server
from recorder.upload.worker import Uploader
from recorder.uploader import Asked, upload_once
from tests.recorder.building import Machine, Producer, schema


def described(client: MosaicoClient, name: str) -> SequenceInfo:
    found = client.describe_sequence(name)
    assert found is not None
    return found


def nothing(_: int) -> None:
    return


def one_of(content: bytes, kind: str = "calibration") -> Dependency:
    return Dependency(kind, content_id(content), len(content))


def recorded(directory: Path, server: str, sessions: int, **session: Any) -> Any:
    """Record so many sessions, one behind the other."""
    one = Machine(directory).config
    config = dataclasses.replace(
        one, session=Session(**session), upload=Upload(mode="after_close", server=server)
    )
    spooler = Spooler(config)
    producer = Producer(config.rings_dir, schema(on_error="ignore"))  # numbers are no ontology
    for number in range(sessions):
        producer.put(3)
        spooler.commit()
        answer(spooler, {"command": "new" if number < sessions - 1 else "stop"})
    producer.close()
    spooler.close()
    return config


@pytest.mark.parametrize("size", [0, 1, 44_999, 45_000, 45_001, 1_500_000])
def test_every_size_comes_back_as_it_went_and_goes_once(client: MosaicoClient, size: int) -> None:
    content = random.Random(size).randbytes(size)
    one = one_of(content)
    sent: list[int] = []
    assert bring(client, one, content, sent.append)
    assert sum(sent) >= size
    assert not bring(client, one, content, nothing)  # it is there, and read, not sent
    assert fetch(client, "calibration", one.id) == (one, content)
    assert on_server(client) == [one]
    (name,) = client.sequences()
    assert len(described(client, name).topics) == 1


def test_ten_sessions_that_name_the_same_bring_it_once(tmp_path: Path, station: Any) -> None:
    file = tmp_path / "camera.yaml"
    file.write_bytes(b"focal: 1")
    config = recorded(tmp_path, station.url, 10, dependencies={"calibration": [str(file)]})
    upload_once(config)
    with MosaicoClient.connect_url(station.url) as client:
        there = on_server(client)
        assert sorted(one.kind for one in there) == ["calibration", "configuration", "software"]
        for one in there:
            found = described(client, f"dependency-{one.kind}-{one.id[7:19]}")
            assert [topic.locked for topic in found.topics] == [True]
        recordings = [name for name in client.sequences() if not name.startswith("dependency-")]
        assert len(recordings) == 10
        for name in recordings:
            facts = described(client, name).user_metadata["recording"]
            for kind, ids in facts["dependencies"].items():
                assert fetch(client, kind, ids[0])[0].id == ids[0]
            assert facts["dependencies_missing"] == {}
        assert fetch(client, "calibration", content_id(b"focal: 1"))[1] == b"focal: 1"


def test_another_server_gets_its_own_and_the_same_one_is_not_asked_again(
    tmp_path: Path, station: Any
) -> None:
    config = recorded(tmp_path, station.url, 1)
    upload_once(config)
    uploader = Uploader(config, Stop())
    try:
        assert not uploader._dependencies.step(lambda: pytest.fail("it asks"))
    finally:
        uploader.close()
    with GroundStation(tmp_path / "other") as other:
        again = dataclasses.replace(config, upload=Upload(mode="live", server=other.url))
        uploader = Uploader(again, Stop())
        try:
            with MosaicoClient.connect_url(other.url) as client:
                while uploader._dependencies.step(lambda: client):
                    pass
                assert len(on_server(client)) == 2
        finally:
            uploader.close()


def test_what_a_server_has_lost_goes_there_again_with_a_recording_that_is_sent_anew(
    tmp_path: Path, station: Any
) -> None:
    config = recorded(tmp_path, station.url, 1)
    (session_id,) = upload_once(config).done
    with MosaicoClient.connect_url(station.url) as client:
        before = on_server(client)
        assert len(before) == 2
        for name in client.sequences():
            client.delete_sequence(name)
        assert upload_once(config, asked=Asked(session_id, anew=session_id)).done == [session_id]
        assert on_server(client) == before
        for one in before:
            assert fetch(client, one.kind, one.id)[0] == one


def test_a_topic_that_broke_or_holds_other_bytes_does_not_count(client: MosaicoClient) -> None:
    content = b"steel" * 1000
    one = one_of(content)
    name = f"dependency-calibration-{one.id[7:19]}"
    facts = {"type": one.kind, "id": one.id, "size_bytes": one.size_bytes, "encoding": "base64"}
    client.create_sequence(name, {"dependency": facts})
    session = client.create_session(name)
    for topic in ("content", "content-r1"):
        client.create_topic(
            session.uuid,
            f"{name}/{topic}",
            ontology_tag="String",
            serialization_format="default",
            metadata={},
        )  # their one stream never came
    with pytest.raises(RecorderError, match="no whole content"):
        fetch(client, "calibration", one.id)
    assert bring(client, one, content, nothing)
    assert fetch(client, "calibration", one.id)[1] == content


def test_a_stream_that_was_broken_off_is_sent_again_whole(client: MosaicoClient) -> None:
    content = os.urandom(2_000_000)
    one = one_of(content)
    sent: list[int] = []

    def break_off(size_bytes: int) -> None:
        if sent:
            raise RecorderError("told to stop")
        sent.append(size_bytes)

    with pytest.raises(RecorderError, match="told to stop"):
        bring(client, one, content, break_off)
    with pytest.raises(RecorderError, match="no whole content"):
        fetch(client, "calibration", one.id)
    assert bring(client, one, content, nothing)
    assert fetch(client, "calibration", one.id)[1] == content
    topics = described(client, client.sequences()[0]).topics
    assert sorted((each.locator.rpartition("/")[2], each.locked) for each in topics) == [
        ("content", False),
        ("content-r1", True),
    ]


def test_a_name_that_is_taken_is_refused_and_uploads_go_on(tmp_path: Path, station: Any) -> None:
    config = recorded(tmp_path, station.url, 1)
    store = Dependencies(config.dependencies_dir)
    (software,) = [one for one in store.all() if one.kind == "software"]
    with MosaicoClient.connect_url(station.url) as client:
        client.create_sequence(f"dependency-software-{software.id[7:19]}", {"mine": True})
        assert upload_once(config).done
        assert [one.kind for one in on_server(client)] == ["configuration"]


def test_a_damaged_one_is_not_sent(tmp_path: Path, station: Any) -> None:
    config = recorded(tmp_path, station.url, 1)
    (path,) = (config.dependencies_dir / "software").iterdir()
    path.write_bytes(b"other")
    assert upload_once(config).done
    with MosaicoClient.connect_url(station.url) as client:
        assert [one.kind for one in on_server(client)] == ["configuration"]


def test_the_months_cap_holds_for_dependencies_too(tmp_path: Path, station: Any) -> None:
    config = recorded(tmp_path, station.url, 1)
    store = Dependencies(config.dependencies_dir)
    large = store.add("calibration", os.urandom(200_000))
    capped = dataclasses.replace(
        config, upload=dataclasses.replace(config.upload, monthly_bytes=100_000)
    )
    uploader = Uploader(capped, Stop())
    try:
        with MosaicoClient.connect_url(station.url) as client:
            assert not uploader._dependencies.step(lambda: client)
            assert large not in [one.id for one in on_server(client)]
    finally:
        uploader.close()


def test_what_was_kept_is_json_that_says_what_recorded(tmp_path: Path, station: Any) -> None:
    config = recorded(tmp_path, station.url, 1)
    store = Dependencies(config.dependencies_dir)
    kept = {one.kind: json.loads(store.get(one.kind, one.id)[1]) for one in store.all()}
    assert kept["configuration"]["lanes"][0]["name"] == "imu"
    (digest,) = kept["software"]["drivers"].values()
    assert len(digest) == 64
