"""Topics beside each other: buffers, batches, back-pressure, and one that is stuck."""

from __future__ import annotations

import dataclasses
import itertools
import signal
import threading
from typing import Any

import pyarrow as pa
import pytest

from recorder.errors import RemoteAwayError
from recorder.mosaico import (
    GPS,
    CompressedImage,
    GPSStatus,
    Limits,
    Message,
    MosaicoClient,
    PutStream,
    SessionLevelErrorPolicy,
    String,
    TopicLevelErrorPolicy,
    Vector3d,
    encode,
    ontology,
    rows,
    table,
)
from tests.recorder.building import wait_until
from tests.recorder.mosaico.conftest import Held

FRAME_BYTES = 1_000_000
#: Small enough that a stuck topic is found out at once, and far above what gRPC itself takes in.
IMPATIENT = Limits(batch_bytes=FRAME_BYTES, waiting_bytes=3 * FRAME_BYTES, timeout_s=0.5)
NO_BYTES: Any = bytearray(b"a buffer that is used again")


class InterruptError(BaseException):
    """Something that comes at any moment, like Ctrl-C."""


def frame(number, size_bytes=FRAME_BYTES):
    return Message(timestamp_ns=number, data=CompressedImage(data=bytes(size_bytes), format="raw"))


def push_until_full(camera):
    """Push frames until there is no room; return how many were taken."""
    taken = itertools.count()

    def push():
        while True:
            camera.push(frame(next(taken)))

    with pytest.raises(RemoteAwayError, match=r"drive/camera: no room within \d"):
        push()
    return next(taken) - 1


def test_each_topic_has_a_connection_of_its_own(link, asked):
    with MosaicoClient.connect("127.0.0.1", link.port) as linked:
        with linked.sequence_create("drive", {}) as writer:
            for name in ("a", "b", "c"):
                topic = writer.topic_create(name, {}, String)
                topic.push(asked.note(1))
                topic.flush()
        assert asked.held(linked).sessions_locked == [True]
    assert len(link.connections) == 4


def test_a_stuck_topic_holds_up_no_other_and_loses_nothing(client, asked, gate):
    # Patient enough for a busy machine once the gate is open.
    limits = dataclasses.replace(IMPATIENT, timeout_s=3.0)
    with client.sequence_create("drive", {}) as writer:
        camera = writer.topic_create("camera", {}, CompressedImage, limits=limits)
        notes = writer.topic_create("notes", {}, String)
        taken = push_until_full(camera)
        for time_ns in range(1000):
            notes.push(asked.note(time_ns))
        notes.finish()
        assert asked.held(client).topics == {"camera": (0, False), "notes": (1000, True)}
        gate.set()
        wait_until(lambda: asked.rows_of(client, "drive/camera") == taken)
    assert asked.held(client) == Held({"camera": (taken, True), "notes": (1000, True)}, [True], 0)


def test_a_full_buffer_holds_no_more_than_its_bound(client, gate):
    one = encode.batch([frame(102)], ontology.schema("CompressedImage"))

    def write():
        with client.sequence_create("drive", {}, SessionLevelErrorPolicy.Delete) as writer:
            camera = writer.topic_create("camera", {}, CompressedImage, limits=IMPATIENT)
            push_until_full(camera)
            with pytest.raises(RemoteAwayError, match=r": (2|3)\d{6} bytes wait to be sent"):
                camera.push(frame(101))
            with pytest.raises(RemoteAwayError, match="no room"):
                camera.push_batch(one)
            gate.set()
            raise InterruptError

    with pytest.raises(InterruptError):
        write()


def test_a_row_larger_than_the_whole_buffer_goes_alone(client):
    limits = Limits(waiting_bytes=1000, timeout_s=30.0)
    with client.sequence_create("drive", {}) as writer:
        camera = writer.topic_create("camera", {}, CompressedImage, limits=limits)
        for number in range(3):
            camera.push(frame(number, 5000))
    assert client.describe_topic("drive/camera").row_count == 3


@pytest.mark.parametrize(
    "policy", [TopicLevelErrorPolicy.Raise, TopicLevelErrorPolicy.Ignore], ids=["raise", "ignore"]
)
def test_a_topic_that_is_stuck_at_the_end_is_told_by_name_and_the_others_are_whole(
    client, asked, gate, policy
):
    def write():
        with client.sequence_create("drive", {}) as writer:
            camera = writer.topic_create(
                "camera", {}, CompressedImage, limits=IMPATIENT, on_error=policy
            )
            notes = writer.topic_create("notes", {}, String)
            push_until_full(camera)
            notes.push(asked.note(1))

    with pytest.raises(RemoteAwayError, match=r"unlocked: drive/camera: nothing moved for 0\.5 s"):
        write()
    held = asked.held(client)
    assert held.topics["notes"] == (1, True)
    assert not held.topics["camera"][1]
    assert (held.sessions_locked, held.notes) == ([False], 1)
    gate.set()
    wait_until(lambda: not any(one.name == "topic drive/camera" for one in threading.enumerate()))
    assert not asked.held(client).topics["camera"][1]


def test_a_stuck_topic_does_not_keep_delete_from_deleting(client, gate, monkeypatch):
    monkeypatch.setattr("recorder.mosaico.outbox.ABORT_LIMIT_S", 0.5)

    def write():
        with client.sequence_create("drive", {}, SessionLevelErrorPolicy.Delete) as writer:
            camera = writer.topic_create("camera", {}, CompressedImage, limits=IMPATIENT)
            push_until_full(camera)
            raise InterruptError

    with pytest.raises(InterruptError):
        write()
    assert client.sequences() == []
    gate.set()


def test_a_second_interrupt_while_the_session_ends_commits_nothing(client, asked, gate):
    """Ctrl-C, and once more while the policy waits for a topic that is stuck."""

    def interrupt(*_):
        raise InterruptError

    def write():
        with client.sequence_create("drive", {}) as writer:
            limits = Limits(waiting_bytes=1000 * FRAME_BYTES)
            camera = writer.topic_create("camera", {}, CompressedImage, limits=limits)
            picture = CompressedImage(data=bytes(FRAME_BYTES), format="raw")
            for number in range(200):  # more than gRPC takes in
                camera.push(Message(timestamp_ns=number, data=picture))
            signal.setitimer(signal.ITIMER_REAL, 0.5)
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with pytest.raises(InterruptError):
            write()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    gate.set()
    wait_until(lambda: not any(one.name == "topic drive/camera" for one in threading.enumerate()))
    assert asked.held(client).sessions_locked == [False]
    assert not asked.held(client).topics["camera"][1]


def test_rows_go_out_by_their_number(client, asked):
    with client.sequence_create("drive", {}) as writer:
        topic = writer.topic_create("notes", {}, String, limits=Limits(batch_rows=10))
        for time_ns in range(25):
            topic.push(asked.note(time_ns))
    assert client.describe_topic("drive/notes").chunks == 3


def test_rows_go_out_by_their_size(client):
    with client.sequence_create("drive", {}) as writer:
        limits = Limits(batch_bytes=5 * FRAME_BYTES)
        topic = writer.topic_create("camera", {}, CompressedImage, limits=limits)
        for number in range(6):
            topic.push(frame(number))
    assert client.describe_topic("drive/camera").chunks == 2


def test_rows_go_out_by_their_age_although_nobody_pushes_any_more(client, asked):
    with client.sequence_create("drive", {}) as writer:
        topic = writer.topic_create("notes", {}, String, limits=Limits(batch_age_s=0.1))
        for time_ns in (1, 2):
            topic.push(asked.note(time_ns))
            wait_until(lambda: asked.rows_of(client, "drive/notes") == time_ns)  # noqa: B023 - used at once


def test_rows_wait_together_until_they_are_due(client, asked):
    with client.sequence_create("drive", {}) as writer:
        topic = writer.topic_create("notes", {}, String, limits=Limits(batch_age_s=600.0))
        for time_ns in range(100):
            topic.push(asked.note(time_ns))
        topic.flush()
        wait_until(lambda: asked.rows_of(client, "drive/notes") == 100)
    assert client.describe_topic("drive/notes").chunks == 1


def test_rows_are_encoded_by_the_topics_own_thread(client, asked, monkeypatch):
    threads = []
    whole_batch = encode.batch

    def batch(messages, schema):
        threads.append(threading.current_thread().name)
        return whole_batch(messages, schema)

    monkeypatch.setattr(encode, "batch", batch)
    with client.sequence_create("drive", {}) as writer:
        writer.topic_create("notes", {}, String).push(asked.note(1))
    assert threads == ["topic drive/notes"]


def test_several_threads_push_into_one_topic(client, asked):
    with client.sequence_create("drive", {}) as writer:
        topic = writer.topic_create("notes", {}, String, limits=Limits(batch_rows=100))

        def push(first):
            for number in range(1000):
                topic.push(asked.note(first + number))

        threads = [threading.Thread(target=push, args=(n * 1000,)) for n in range(4)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
    stored = table(client, "drive/notes").column("timestamp_ns").to_pylist()
    assert stored == list(range(4000))


def test_a_batch_goes_behind_the_rows_that_were_pushed_before(client, asked, monkeypatch):
    sent = []
    whole_write = PutStream.write

    def write(stream, batch):
        sent.append(batch.column("timestamp_ns").to_pylist())
        whole_write(stream, batch)

    monkeypatch.setattr(PutStream, "write", write)
    with client.sequence_create("drive", {}) as writer:
        topic = writer.topic_create("notes", {}, String)
        topic.push(asked.note(1))
        topic.push_batch(encode.batch([asked.note(2), asked.note(3)], ontology.schema("String")))
        topic.push(asked.note(4))
    assert sent == [[1], [2, 3], [4]]
    assert [row["timestamp_ns"] for row in rows(client, "drive/notes")] == [1, 2, 3, 4]


def test_a_batch_that_does_not_fit_the_topic_is_refused_and_the_topic_goes_on(client, asked):
    schema = ontology.schema("String")
    good = encode.batch([asked.note(1)], schema)
    nulls = [pa.array([1], pa.int64()), pa.array([None], pa.string())]
    with client.sequence_create("drive", {}) as writer:
        topic = writer.topic_create("notes", {}, String)
        with pytest.raises(ValueError, match="schema of String"):
            topic.push_batch(good.rename_columns(["timestamp_ns", "text"]))
        with pytest.raises(ValueError, match="data must not be null"):
            topic.push_batch(pa.RecordBatch.from_arrays(nulls, schema=schema))
        topic.push_batch(good)
    assert asked.held(client) == Held({"notes": (1, True)}, [True], 0)


def test_batches_above_the_servers_limit_are_cut(client, monkeypatch):
    monkeypatch.setattr(MosaicoClient, "most_batch_bytes", 10_000)
    schema = ontology.schema("CompressedImage")
    with client.sequence_create("drive", {}) as writer:
        camera = writer.topic_create("camera", {}, CompressedImage)
        camera.push_batch(encode.batch([frame(number, 3000) for number in range(8)], schema))
    assert client.describe_topic("drive/camera").row_count == 8
    assert client.describe_topic("drive/camera").chunks >= 4


@pytest.mark.parametrize("policy", list(TopicLevelErrorPolicy))
def test_a_row_above_the_servers_limit_is_counted_and_noted_and_the_rest_goes_on(
    client, monkeypatch, policy
):
    monkeypatch.setattr(MosaicoClient, "most_batch_bytes", 10_000)
    sizes = (3000, 30_000, 3000, 3000)
    with client.sequence_create("drive", {}) as writer:
        camera = writer.topic_create("camera", {}, CompressedImage, on_error=policy)
        for number, size_bytes in enumerate(sizes):
            camera.push(frame(number, size_bytes))
        camera.flush()
        camera.push(frame(9, 10))
    assert camera.too_large_rows == 1
    assert [row["timestamp_ns"] for row in rows(client, "drive/camera")] == [0, 2, 3, 9]
    [noted] = client.notifications("drive/camera")
    assert "the row with timestamp_ns 1 was left out" in noted.text


def test_a_blob_that_is_no_bytes_is_refused_at_once(client):
    with client.sequence_create("drive", {}) as writer:
        camera = writer.topic_create("camera", {}, CompressedImage)
        image = CompressedImage(data=NO_BYTES, format="raw")
        with pytest.raises(TypeError, match="drive/camera: data must be bytes, not bytearray"):
            camera.push(Message(timestamp_ns=1, data=image))
    assert client.describe_topic("drive/camera").row_count == 0


def test_structs_that_are_null_in_some_rows_come_back_so(client):
    status = GPSStatus(status=1, service=1, hdop=0.9)
    known = [None, status, None, status]
    with client.sequence_create("drive", {}) as writer:
        topic = writer.topic_create("gps", {}, GPS)
        for number, one in enumerate(known):
            fix = GPS(position=Vector3d(x=48.1, y=11.5, z=500.0 + number), status=one)
            topic.push(Message(timestamp_ns=number, data=fix))
    found = list(rows(client, "drive/gps"))
    assert [row["status"] and row["status"]["hdop"] for row in found] == [None, 0.9, None, 0.9]
    assert [row["position"]["z"] for row in found] == [500.0, 501.0, 502.0, 503.0]
    assert table(client, "drive/gps").schema.equals(ontology.schema("GPS"))


def test_a_finished_topic_counts_what_is_pushed_into_it(client, asked):
    with client.sequence_create("drive", {}) as writer:
        topic = writer.topic_create("notes", {}, String)
        topic.push(asked.note(1))
        topic.finish()
        topic.push(asked.note(2))
        topic.push_batch(encode.batch([asked.note(3)], ontology.schema("String")))
        topic.finish()
    topic.push(asked.note(4))
    assert topic.ignored_rows == 3
    assert asked.held(client) == Held({"notes": (1, True)}, [True], 0)
