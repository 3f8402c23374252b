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
    CompressedImage,
    GPSStatus,
    Header,
    Message,
    MosaicoClient,
    PutStream,
    SessionLevelErrorPolicy,
    String,
    Time,
    TopicLevelErrorPolicy,
    Vector3d,
    ontology,
    rows,
    table,
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


def test_the_seeds_example_stores_every_row_and_finalizes(client):
    with client.sequence_create(
        sequence_name="mission_log_042",
        metadata={"vehicle": {"vehicle_id": "veh_sim_042"}, "driver": {"role": "validation"}},
        on_error=SessionLevelErrorPolicy.Delete,
    ) as seq_writer:
        imu_writer = seq_writer.topic_create(
            topic_name="sensors/imu",
            metadata={"vendor": "inertix-dynamics", "calibrated": "false"},
            error_policy=TopicLevelErrorPolicy.Raise,
            ontology_type=IMU,
        )
        gps_writer = seq_writer.topic_create(
            topic_name="sensors/gps",
            metadata={"interface": {"type": "UART", "baudrate": 115200}},
            error_policy=TopicLevelErrorPolicy.Ignore,
            ontology_type=GPS,
        )
        for number in range(200):
            with imu_writer:
                imu_writer.push(message=Message(timestamp_ns=number, data=imu(number)))
        for number in range(10):
            with gps_writer:
                fix = GPS(
                    position=Vector3d(x=48.1, y=11.5, z=500.0 + number),
                    status=GPSStatus(status=1, service=1, hdop=0.9) if number else None,
                )
                gps_writer.push(message=Message(timestamp_ns=number, data=fix))
    assert stored(client, "mission_log_042/sensors/imu") == (200, True)
    assert stored(client, "mission_log_042/sensors/gps") == (10, True)
    assert session_is_locked(client, "mission_log_042") == [True]
    assert table(client, "mission_log_042/sensors/gps").schema.equals(ontology.schema("GPS"))
    [first, second, *_] = rows(client, "mission_log_042/sensors/gps")
    assert first["status"] is None
    assert second["status"]["hdop"] == 0.9
    assert second["position"]["z"] == 501.0


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


def test_topic_raise_lets_the_session_decide_and_loses_no_pushed_row(client):
    def write():
        with client.sequence_create("drive", {}) as writer:
            failing = writer.topic_create("failing", {}, String)
            healthy = writer.topic_create("healthy", {}, String)
            healthy.push(note(1))
            for time_ns in range(6):
                with failing:
                    if time_ns == 3:
                        raise UserError
                    failing.push(note(time_ns))

    with pytest.raises(UserError):
        write()
    assert stored(client, "drive/failing") == (3, True)
    assert stored(client, "drive/healthy") == (1, True)


def test_topic_ignore_notes_the_error_and_goes_on(client):
    with client.sequence_create("drive", {}) as writer:
        topic = writer.topic_create("notes", {}, String, on_error=TopicLevelErrorPolicy.Ignore)
        for time_ns in range(6):
            with topic:
                if time_ns == 3:
                    raise UserError("not this one")
                topic.push(note(time_ns))
    assert stored(client, "drive/notes") == (5, True)
    assert [noted.text for noted in client.notifications("drive/notes")] == [
        "UserError: not this one"
    ]


def test_topic_finalize_ends_the_topic_with_its_rows_and_counts_later_pushes(client):
    with client.sequence_create("drive", {}) as writer:
        topic = writer.topic_create(
            "notes", {}, String, error_policy=TopicLevelErrorPolicy.Finalize
        )
        healthy = writer.topic_create("healthy", {}, String)
        for time_ns in range(6):
            with topic:
                if time_ns == 3:
                    raise UserError
                topic.push(note(time_ns))
            healthy.push(note(time_ns))
    assert stored(client, "drive/notes") == (3, True)
    assert topic.ignored_rows == 2
    assert stored(client, "drive/healthy") == (6, True)


def test_topic_finalize_keeps_the_good_rows_beside_one_that_cannot_be_encoded(client):
    with client.sequence_create("drive", {}) as writer:
        topic = writer.topic_create(
            "notes", {}, String, error_policy=TopicLevelErrorPolicy.Finalize
        )
        with topic:
            for message in (note(1), Message(timestamp_ns=2, data=String(data=NO_TEXT)), note(3)):
                topic.push(message)
            raise UserError
    assert stored(client, "drive/notes") == (2, True)
    assert len(client.notifications("drive/notes")) == 2


def test_a_topic_policy_lets_an_exit_through(client):
    def write():
        with client.sequence_create("drive", {}) as writer:
            topic = writer.topic_create("notes", {}, String, on_error=TopicLevelErrorPolicy.Ignore)
            topic.push(note(1))
            with topic:
                raise SystemExit(1)

    with pytest.raises(SystemExit):
        write()
    assert stored(client, "drive/notes") == (1, True)


def test_a_row_that_cannot_be_encoded_costs_no_other_row(client):
    bad = Message(timestamp_ns=2, data=String(data=NO_TEXT))

    def write():
        with client.sequence_create("drive", {}) as writer:
            topic = writer.topic_create("notes", {}, String)
            for message in (note(1), bad, note(3)):
                topic.push(message)

    with pytest.raises(ValueError, match="1 rows left out"):
        write()
    assert [row["timestamp_ns"] for row in rows(client, "drive/notes")] == [1, 3]


def test_a_null_where_none_may_be_is_found_before_it_is_sent(client):
    half = GPS(position=Vector3d(x=1.0), status=GPSStatus(status=NO_STATUS, service=1))

    def write():
        with client.sequence_create("drive", {}) as writer:
            topic = writer.topic_create("gps", {}, GPS)
            topic.push(Message(timestamp_ns=1, data=half))
            topic.push(Message(timestamp_ns=2, data=GPS(position=Vector3d(x=1.0))))

    with pytest.raises(ValueError, match="'status' must not be null"):
        write()
    assert [row["timestamp_ns"] for row in rows(client, "drive/gps")] == [2]


def test_a_message_of_another_ontology_is_no_row(client):
    with client.sequence_create("drive", {}) as writer:
        topic = writer.topic_create("notes", {}, String)
        with pytest.raises(TypeError, match="takes String, not IMU"):
            topic.push(Message(timestamp_ns=1, data=imu(1)))
    assert stored(client, "drive/notes") == (0, True)


def test_a_row_above_the_servers_limit_is_counted_and_reported_and_the_rest_goes_on(
    client, monkeypatch
):
    monkeypatch.setattr(MosaicoClient, "most_batch_bytes", 10_000)
    frames = [b"a" * 3000, b"b" * 30_000, b"c" * 3000, b"d" * 3000]
    with client.sequence_create("drive", {}) as writer:
        camera = writer.topic_create("camera", {}, CompressedImage)
        for number, frame in enumerate(frames):
            image = CompressedImage(data=frame, format="jpeg")
            camera.push(Message(timestamp_ns=number, data=image))
    assert camera.too_large_rows == 1
    assert [row["data"] for row in rows(client, "drive/camera")] == [frames[n] for n in (0, 2, 3)]
    assert len(client.notifications("drive/camera")) == 1


def test_a_batch_goes_behind_the_rows_that_were_pushed_before(client):
    with client.sequence_create("drive", {}) as writer:
        topic = writer.topic_create("notes", {}, String)
        topic.push(note(1))
        topic.push_batch(_batch(2, 3))
        with pytest.raises(ValueError, match="schema of String"):
            topic.push_batch(_batch(4).rename_columns(["timestamp_ns", "text"]))
    assert client.describe_topic("drive/notes").chunks == 2
    assert [row["timestamp_ns"] for row in rows(client, "drive/notes")] == [1, 2, 3]


def test_a_full_buffer_is_sent_before_the_session_ends(client):
    with client.sequence_create("drive", {}) as writer:
        topic = writer.topic_create("camera", {}, CompressedImage)
        for number in range(5):
            image = CompressedImage(data=bytes(1_000_000), format="raw")
            topic.push(Message(timestamp_ns=number, data=image))
        topic.push(Message(timestamp_ns=9, data=CompressedImage(data=b"", format="raw")))
    assert client.describe_topic("drive/camera").chunks == 2


def test_an_interrupted_write_never_ends_as_a_whole_topic(client, monkeypatch):
    whole_write = PutStream.write

    def interrupted(stream, batch):
        if batch.column("timestamp_ns")[0].as_py() == 2:
            raise InterruptError
        whole_write(stream, batch)

    monkeypatch.setattr(PutStream, "write", interrupted)

    def write():
        with client.sequence_create("drive", {}) as writer:
            topic = writer.topic_create("notes", {}, String)
            for time_ns in (1, 2, 3):
                topic.push(note(time_ns))
                topic.flush()

    with pytest.raises(RemoteError, match=r"Report failed: .*still uploading") as told:
        write()
    assert isinstance(told.value.__cause__, InterruptError)
    assert stored(client, "drive/notes") == (1, False)


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
