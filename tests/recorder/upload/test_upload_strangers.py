"""What others wrote to the same server hides no recording of ours, whatever they call theirs."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from recorder.cli import recorder
from recorder.mosaico import Message, MosaicoClient, String
from recorder.uploader import upload_once

ID = "3d0c57f1-0000-4000-8000-000000000000"


@pytest.fixture
def sent(drive, station):
    """Upload a recording; return the server."""
    drive.tell_time()
    drive.imu(20)
    drive.end()
    upload_once(drive.config(station.url))
    return station.url


def write(url, recording, topic="notes", text="none of ours"):
    with (
        MosaicoClient.connect_url(url) as client,
        client.sequence_create("stranger", {"recording": recording}) as sequence,
    ):
        sequence.topic_create(topic, {}, String).push(
            Message(timestamp_ns=1, data=String(data=text))
        )


def call(*arguments):
    return CliRunner().invoke(recorder, [str(one) for one in arguments])


def all_ways(url, recording_id):
    return [
        call("sessions", "--server", url, "--all", "--json"),
        call("show", recording_id, "--server", url),
        call("watch", "--server", url, "--once"),
        call("replay", recording_id, "--server", url),
        call("audit", url, recording_id),
    ]


@pytest.mark.parametrize(
    "recording", ["a rainy day", 7, [1], None, {}, {"id": 7}, {"id": ID}, {"id": ID, "replaces": 5}]
)
def test_a_sequence_that_calls_something_else_a_recording_is_passed_over(drive, sent, recording):
    write(sent, recording)
    for result in all_ways(sent, drive.id):
        assert result.exit_code == 0, result.output
        assert "stranger" not in result.stdout


def test_a_recording_whose_newest_record_is_none_is_named_and_hides_no_other(drive, sent, caplog):
    write(sent, {"id": ID}, "recorder/summary", "no record")
    for result in all_ways(sent, drive.id):
        assert result.exit_code == 0, result.output
    assert "stranger: its record cannot be read" in caplog.text


def test_a_topics_name_is_no_recordings(drive, sent):
    with MosaicoClient.connect_url(sent) as client:
        (name,) = client.sequences()
    result = call("replay", f"{name}/imu", "--server", sent)
    assert result.exit_code == 1
    assert f"no recordings begin with '{name}/imu'" in result.output
