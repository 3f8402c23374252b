"""The client's calls against the real ground station."""

from __future__ import annotations

import gc
import json
import socket
import subprocess
import sys

import pyarrow as pa
import pyarrow.flight as fl
import pytest

from recorder.errors import RemoteAwayError, RemoteRefusedError
from recorder.mosaico import MosaicoClient, ontology, rows, table
from recorder.mosaico.wire import remote_errors

SCHEMA = ontology.schema("String")


def batch(*times_ns):
    return pa.RecordBatch.from_pylist(
        [{"timestamp_ns": time_ns, "data": f"row {time_ns}"} for time_ns in times_ns], SCHEMA
    )


def new_topic(client, name="notes"):
    client.create_sequence("drive", {})
    session = client.create_session("drive")
    return session, f"drive/{name}", add_topic(client, session, f"drive/{name}")


def add_topic(client, session, locator):
    return client.create_topic(
        session.uuid,
        locator,
        ontology_tag="String",
        serialization_format="default",
        metadata={"role": "test"},
    )


def test_the_server_announces_its_limit_and_the_client_keeps_a_tenth_below(client):
    assert client.info.most_message_bytes == 52_428_800
    assert client.most_batch_bytes == 47_185_920


class OldServer(fl.FlightServerBase):  # type: ignore[misc]  # pyarrow ships no types
    """Knows the one action by which servers up to 0.6 say who they are."""

    def do_action(self, context, action):
        if action.type != "version":
            raise pa.ArrowInvalid(f"no available action {action.type}")
        semver = {"major": 0, "minor": 5, "patch": 0, "pre": None}
        answer = {"action": "version", "response": {"version": "0.5.0", "semver": semver}}
        return [json.dumps(answer).encode()]


def test_a_server_of_an_older_generation_is_asked_in_its_own_words():
    with (
        OldServer("grpc://127.0.0.1:0") as old,
        MosaicoClient.connect("127.0.0.1", old.port) as client,
    ):
        assert client.info.semver == (0, 5, 0)
        assert client.most_batch_bytes == 22_000_000


def test_a_proxy_that_answers_instead_of_the_server_is_away_and_no_refusal():
    error = pa.ArrowNotImplementedError(
        "Flight returned unimplemented error, with message: Received http2 header with status: 404"
    )
    with pytest.raises(RemoteAwayError, match="status: 404"), remote_errors("info"):
        raise error


def test_nobody_listening_is_away():
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        with pytest.raises(RemoteAwayError, match="info"):
            MosaicoClient.connect("127.0.0.1", port, timeout_s=2.0)


def test_a_url_that_is_none_is_refused():
    with pytest.raises(RemoteRefusedError, match="connect"):
        MosaicoClient.connect_url("nowhere")


@pytest.mark.parametrize("roots", [b"", b"-----BEGIN PRIVATE KEY-----\n", b"nothing of the kind"])
def test_roots_that_are_no_certificates_are_refused_and_nobody_is_away(roots):
    with pytest.raises(RemoteRefusedError, match="the root certificates hold none"):
        MosaicoClient.connect_url("grpc+tls://localhost:1", tls_root_certs=roots)


def test_what_was_put_is_described_and_read_back_in_order(client):
    session, locator, uuid = new_topic(client)
    client.put(locator, uuid, SCHEMA, [batch(5, 6), batch(1, 2)])
    client.finalize_session(session.uuid)
    topic = client.describe_topic(locator)
    assert (topic.locked, topic.row_count, topic.chunks) == (True, 4, 2)
    assert (topic.first_ns, topic.last_ns) == (1, 6)
    assert (topic.ontology_tag, topic.user_metadata) == ("String", {"role": "test"})
    sequence = client.describe_sequence("drive")
    assert sequence.sessions[0].locked
    assert sequence.sessions[0].topics == (locator,)
    assert sequence.topics == (topic,)
    assert table(client, locator).equals(pa.Table.from_batches([batch(1, 2, 5, 6)]))
    assert [row["timestamp_ns"] for row in rows(client, locator, 2, 6)] == [2, 5]


def test_what_does_not_exist_is_described_as_none(client):
    assert client.describe_sequence("nothing") is None
    assert client.describe_topic("nothing/at/all") is None
    with pytest.raises(RemoteRefusedError, match="no such topic"):
        list(client.read("nothing/at/all"))


def test_an_exception_while_batches_are_made_leaves_the_topic_uploading(client):
    session, locator, uuid = new_topic(client)

    def breaking():
        yield batch(1, 2)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        client.put(locator, uuid, SCHEMA, breaking())
    topic = client.describe_topic(locator)
    assert not topic.locked
    assert topic.row_count == 2
    with pytest.raises(RemoteRefusedError, match="still uploading"):
        client.finalize_session(session.uuid)


def test_an_exception_before_the_first_batch_leaves_the_topic_uploading(client):
    _, locator, uuid = new_topic(client)
    with pytest.raises(ZeroDivisionError):
        client.put(locator, uuid, SCHEMA, (1 / 0 for _ in range(1)))
    assert not client.describe_topic(locator).locked


def test_a_batch_of_another_schema_leaves_the_topic_uploading(client):
    _, locator, uuid = new_topic(client)
    other = pa.record_batch({"timestamp_ns": [1]})
    with pytest.raises(RemoteRefusedError, match="different schema"):
        client.put(locator, uuid, SCHEMA, [batch(1), other])
    assert not client.describe_topic(locator).locked


def test_a_batch_above_the_limit_is_refused_here_and_the_stream_goes_on(client, monkeypatch):
    _, locator, uuid = new_topic(client)
    monkeypatch.setattr(MosaicoClient, "most_batch_bytes", 1000)
    large = pa.RecordBatch.from_pylist([{"timestamp_ns": 1, "data": "x" * 2000}], SCHEMA)
    with client.open_put(locator, uuid, SCHEMA) as stream:
        with pytest.raises(RemoteRefusedError, match="above the limit"):
            stream.write(large)
        stream.write(batch(2))
    assert [row["timestamp_ns"] for row in rows(client, locator)] == [2]


def test_a_stream_that_is_dropped_leaves_the_topic_uploading(client):
    _, locator, uuid = new_topic(client)
    stream = client.open_put(locator, uuid, SCHEMA)
    stream.write(batch(1))
    del stream
    gc.collect()
    assert not client.describe_topic(locator).locked


LEAVING = """
import sys
import pyarrow as pa
from recorder.mosaico import MosaicoClient, ontology
client = MosaicoClient.connect_url(sys.argv[1])
stream = client.open_put(sys.argv[2], sys.argv[3], ontology.schema("String"))
stream.write(pa.RecordBatch.from_pylist([{"timestamp_ns": 1, "data": "a"}], stream_schema))
sys.exit(3)
""".replace("stream_schema", 'ontology.schema("String")')


def test_a_process_that_exits_with_an_open_stream_commits_nothing(station, client):
    _, locator, uuid = new_topic(client)
    done = subprocess.run(
        [sys.executable, "-c", LEAVING, station.url, locator, uuid], timeout=60, check=False
    )
    assert done.returncode == 3
    topic = client.describe_topic(locator)
    assert not topic.locked
    assert topic.row_count == 1


def test_a_broken_topic_is_repaired_in_its_session_by_deleting_and_replaying(client):
    session, locator, uuid = new_topic(client)
    with pytest.raises(ZeroDivisionError):
        client.put(locator, uuid, SCHEMA, (batch(1) if n == 0 else 1 / 0 for n in range(2)))
    client.delete_topic(locator)
    assert client.describe_topic(locator) is None
    client.put(locator, add_topic(client, session, locator), SCHEMA, [batch(1), batch(2)])
    client.finalize_session(session.uuid)
    assert client.describe_topic(locator).row_count == 2


def test_a_second_put_is_refused_with_the_servers_words(client):
    _, locator, uuid = new_topic(client)
    client.put(locator, uuid, SCHEMA, [batch(1)])
    with pytest.raises(RemoteRefusedError, match="already been uploaded and finalized"):
        client.put(locator, uuid, SCHEMA, [batch(1)])


def test_an_error_shows_the_servers_sentence_without_its_stack(client):
    client.create_sequence("drive", {})
    with pytest.raises(RemoteRefusedError) as refused:
        client.create_sequence("drive", {})
    assert str(refused.value) == "sequence_create: sequence 'drive' already exists"


def test_notes_are_left_and_listed_on_sequences_and_topics(client):
    _, locator, _ = new_topic(client)
    client.notify("drive", "the drive is short")
    client.notify(locator, "the lens is dirty")
    assert [note.text for note in client.notifications("drive")] == ["the drive is short"]
    [note] = client.notifications(locator)
    assert (note.locator, note.text) == (locator, "the lens is dirty")
    assert note.created.endswith(" UTC")


def test_deletes_remove_topic_session_and_sequence(client):
    session, locator, _ = new_topic(client)
    client.delete_topic(locator)
    assert client.describe_sequence("drive").topics == ()
    client.delete_session(session.locator, session.uuid)
    assert client.describe_sequence("drive").sessions == ()
    client.delete_sequence("drive")
    assert client.sequences() == []


def test_a_server_that_stopped_is_away(station, client):
    client.create_sequence("drive", {})
    station.close()
    with pytest.raises(RemoteAwayError):
        client.describe_sequence("drive")
