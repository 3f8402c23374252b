"""What servers of three generations say, as the codec reads it."""

from __future__ import annotations

import json

import pytest

from recorder.errors import RemoteRefusedError
from recorder.mosaico import codec


def as_json(**facts):
    return json.dumps(facts).encode()


def test_an_answer_of_another_action_is_refused():
    with pytest.raises(RemoteRefusedError, match="session_create"):
        codec.response("session_create", as_json(action="topic_create", response=None))


def test_an_answer_that_is_no_json_is_refused():
    with pytest.raises(RemoteRefusedError, match="no JSON"):
        codec.response("session_create", b"\xff\x00")


def test_an_action_with_nothing_to_say_answers_with_an_empty_dictionary():
    assert codec.response("topic_delete", as_json(action="empty", response=None)) == {}
    assert codec.response("topic_delete", b"") == {}


def test_an_answer_without_the_handle_is_refused():
    with pytest.raises(RemoteRefusedError, match="uuid"):
        codec.text("session_create", {"locator": "s:1"}, "uuid")


@pytest.mark.parametrize("value", [float("nan"), float("-inf"), "\ud800", ["a", {"b\udcff": 1}]])
def test_what_is_no_json_is_refused_here_and_not_sent(value):
    with pytest.raises(ValueError, match="no JSON: "):
        codec.request({"user_metadata": {"a": value}})
    assert json.loads(codec.request({"a": "Prüf \U0001f697"})) == {"a": "Prüf \U0001f697"}


def test_a_server_before_0_7_tells_no_message_limit():
    told = {"version": "0.5.0", "semver": {"major": 0, "minor": 5, "patch": 0, "pre": None}}
    assert codec.server_info(told) == codec.ServerInfo("0.5.0", (0, 5, 0), None)


def test_a_topic_of_0_7_tells_its_rows_and_its_range():
    told = as_json(
        created_at_ns=1,
        completed_at_ns=2,
        locked=True,
        resource_locator="s/imu",
        ontology_tag="IMU",
        serialization_format="default",
        user_metadata={"a": 1},
        data_info={
            "interval": {"start_ns": 5, "end_ns": 9},
            "total_row_count": 3,
            "total_bytes": 10,
            "total_chunks_count": 2,
        },
        time_window_info=None,
    )
    assert codec.topic_info(told, {}) == codec.TopicInfo("s/imu", True, "IMU", 3, 2, 5, 9, {"a": 1})


def test_a_topic_of_0_5_keeps_tag_and_metadata_in_its_schema_and_counts_no_rows():
    told = as_json(
        created_at_ns=1,
        completed_at_ns=2,
        locked=True,
        resource_locator="s/imu",
        info={"chunks_number": 2, "total_bytes": 9, "timestamp": {"start_ns": 5, "end_ns": 9}},
    )
    schema_metadata = {
        codec.PROPERTIES_KEY: as_json(ontology_tag="imu", serialization_format="default"),
        codec.USER_METADATA_KEY: as_json(a=1),
    }
    assert codec.topic_info(told, schema_metadata) == codec.TopicInfo(
        "s/imu", True, "imu", None, 2, 5, 9, {"a": 1}
    )


def test_an_unfinished_topic_of_0_5_tells_nothing_of_its_rows():
    told = as_json(created_at_ns=1, locked=False, resource_locator="s/imu", info=None)
    topic = codec.topic_info(told, {})
    assert (topic.locked, topic.row_count, topic.chunks, topic.first_ns) == (False, None, 0, None)


def test_facts_that_are_missing_are_refused_and_not_guessed():
    for broken in (as_json(locked=True), as_json(resource_locator="s/imu")):
        with pytest.raises(RemoteRefusedError, match="not understood"):
            codec.topic_info(broken, {})
    with pytest.raises(RemoteRefusedError, match="not understood"):
        codec.sequence_info(as_json(resource_locator="s", sessions=[{"topics": []}]), {}, ())
