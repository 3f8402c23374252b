"""The writing workflow of the seed, its policies, and what the server holds afterwards."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from recorder.errors import RemoteError, RemoteRefusedError
from recorder.ground import GroundStation
from recorder.mosaico import (
    GPS,
    IMU,
    GPSStatus,
    Header,
    Message,
    MosaicoClient,
    SessionLevelErrorPolicy,
    String,
    Time,
    TopicLevelErrorPolicy,
    Vector3d,
    ontology,
    rows,
)

#: Wrong on purpose: what no type checker lets through.
NO_TEXT: Any = 7
NO_STATUS: Any = None


class UserError(Exception):
    """Something in the user's own code."""


class InterruptError(BaseException):
    """Something that comes at any moment, like Ctrl-C."""


def imu(number):
    return IMU(
        header=Header(timestamp=Time.from_ns(1_700_000_000_000_000_000), sample_counter=number),
        acceleration=Vector3d(x=0.1, y=0.2, z=9.8),
        angular_velocity=Vector3d(x=0.0, y=0.0, z=number / 10),
    )


def note(time_ns):
    return Message(timestamp_ns=time_ns, data=String(data=f"note {time_ns}"))


def stored(client, locator):
    topic = client.describe_topic(locator)
    return (topic.row_count, topic.locked)


def session_is_locked(client, sequence="drive"):
    return [session.locked for session in client.describe_sequence(sequence).sessions]


def test_an_update_adds_topics_and_touches_nothing_else(client):
    with client.sequence_create("drive", {}) as writer:
        writer.topic_create("first", {}, String).push(note(1))
    with client.sequence_handler("drive").update(on_error=SessionLevelErrorPolicy.Delete) as more:
        more.topic_create("second", {}, String).push(note(2))
    assert session_is_locked(client) == [True, True]
    assert stored(client, "drive/first") == stored(client, "drive/second") == (1, True)


def test_an_update_that_fails_under_delete_removes_only_its_own_session(client):
    with client.sequence_create("drive", {}) as writer:
        writer.topic_create("first", {}, String).push(note(1))

    def write():
        with client.sequence_handler("drive").update(
            on_error=SessionLevelErrorPolicy.Delete
        ) as more:
            more.topic_create("second", {}, String).push(note(2))
            raise UserError

    with pytest.raises(UserError):
        write()
    assert session_is_locked(client) == [True]
    assert client.describe_topic("drive/second") is None


def test_a_handler_of_an_unknown_sequence_is_refused(client):
    with pytest.raises(RemoteRefusedError, match="none of this name"):
        client.sequence_handler("nothing")


@pytest.mark.parametrize("error", [UserError("boom"), SystemExit(3), KeyboardInterrupt()])
def test_report_delivers_what_is_buffered_in_every_topic_notes_once_and_finalizes(client, error):
    def write():
        with client.sequence_create("drive", {}) as writer:
            failing = writer.topic_create("failing", {}, String)
            healthy = writer.topic_create("healthy", {}, String)
            for time_ns in range(3):
                failing.push(note(time_ns))
                healthy.push(note(time_ns))
            raise error

    with pytest.raises(type(error)):
        write()
    assert stored(client, "drive/failing") == stored(client, "drive/healthy") == (3, True)
    assert session_is_locked(client) == [True]
    [noted] = client.notifications("drive")
    assert type(error).__name__ in noted.text
    assert client.describe_sequence("drive").sessions[0].locator in noted.text


def test_delete_removes_the_sequence_that_the_session_made(client):
    def write():
        with client.sequence_create("drive", {}, SessionLevelErrorPolicy.Delete) as writer:
            topic = writer.topic_create("notes", {}, String)
            topic.push(note(1))
            topic.flush()
            raise UserError

    with pytest.raises(UserError):
        write()
    assert client.sequences() == []


def test_delete_without_the_permission_says_so_and_leaves_the_session_unlocked(tmp_path):
    with GroundStation(tmp_path / "keyed", check_keys=True) as station:
        key = station.keys.create(["read", "write"])
        with MosaicoClient.connect_url(station.url, api_key=key) as client:

            def write():
                with client.sequence_create("drive", {}, SessionLevelErrorPolicy.Delete) as writer:
                    topic = writer.topic_create("notes", {}, String)
                    topic.push(note(1))
                    topic.flush()
                    raise UserError("the user's own")

            with pytest.raises(RemoteError, match="not enough permissions") as refused:
                write()
            assert isinstance(refused.value.__cause__, UserError)
            assert session_is_locked(client) == [False]
            assert stored(client, "drive/notes") == (1, False)


def test_a_null_where_none_may_be_is_found_before_it_is_sent(client):
    half = GPS(position=Vector3d(x=1.0), status=GPSStatus(status=NO_STATUS, service=1))

    def write():
        with client.sequence_create("drive", {}) as writer:
            topic = writer.topic_create("gps", {}, GPS)
            topic.push(Message(timestamp_ns=1, data=half))
            topic.push(Message(timestamp_ns=2, data=GPS(position=Vector3d(x=1.0))))

    with pytest.raises(ValueError, match=r"timestamp_ns 1: status\.status must not be null"):
        write()
    assert [row["timestamp_ns"] for row in rows(client, "drive/gps")] == [2]


def test_a_message_of_another_ontology_is_no_row(client):
    with client.sequence_create("drive", {}) as writer:
        topic = writer.topic_create("notes", {}, String)
        with pytest.raises(TypeError, match="takes String, not IMU"):
            topic.push(Message(timestamp_ns=1, data=imu(1)))
    assert stored(client, "drive/notes") == (0, True)


def test_a_topic_that_the_server_refuses_leaves_the_decision_to_the_session(client):
    def write():
        with client.sequence_create("drive", {}) as writer:
            writer.topic_create("notes", {}, String).push(note(1))
            writer.topic_create("no such name", {}, String)

    with pytest.raises(RemoteRefusedError, match="invalid topic name"):
        write()
    assert stored(client, "drive/notes") == (1, True)
    assert session_is_locked(client) == [True]


def test_contradicting_names_of_the_policy_are_refused(client):
    with client.sequence_create("drive", {}) as writer, pytest.raises(ValueError, match="give one"):
        writer.topic_create(
            "notes",
            {},
            String,
            error_policy=TopicLevelErrorPolicy.Raise,
            on_error=TopicLevelErrorPolicy.Ignore,
        )


def test_a_lost_server_is_told_and_no_policy_hides_it(station, client):
    def write():
        with client.sequence_create("drive", {}) as writer:
            topic = writer.topic_create("notes", {}, String, on_error=TopicLevelErrorPolicy.Ignore)
            topic.push(note(1))
            station.close()
            with topic:
                topic.flush()

    with pytest.raises(RemoteError, match="Report failed") as told:
        write()
    assert isinstance(told.value.__cause__, RemoteError)


def _batch(*times_ns):
    return pa.RecordBatch.from_pylist(
        [{"timestamp_ns": t, "data": "x"} for t in times_ns], ontology.schema("String")
    )
