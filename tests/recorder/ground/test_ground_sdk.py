"""The vendor's own SDK 0.7.0 against the station over TLS, each of its capabilities a test."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from recorder.ground import GroundStation
from recorder.mosaico import (
    GPS,
    IMU,
    CompressedImage,
    GPSStatus,
    Header,
    Message,
    MosaicoClient,
    Time,
    Vector3d,
    table,
)
from tests.known import known

pytest.importorskip("mosaicolabs", reason="the vendor's SDK is not installed")

ROOT = Path(__file__).parents[3]


def write_ours(client):
    with client.sequence_create("ours", {"recording": {"id": "0190"}}) as writer:
        imu = writer.topic_create("imu", {"vendor": "inertix"}, IMU)
        gps = writer.topic_create("gps/fix", {}, GPS)
        camera = writer.topic_create("camera/front", {}, CompressedImage)
        for number in range(5):
            header = Header(timestamp=Time.from_ns(10 + number), sample_counter=number)
            still = Vector3d(x=0.0, y=0.0, z=9.8)
            data = IMU(header=header, acceleration=still, angular_velocity=still)
            imu.push(Message(timestamp_ns=10 + number, data=data))
        status = GPSStatus(status=1, service=1, satellites=9)
        place = Vector3d(x=48.1, y=11.5, z=500.0)
        gps.push(Message(timestamp_ns=8, data=GPS(position=place, status=status)))
        gps.push(Message(timestamp_ns=12, data=GPS(position=place)))
        camera.push(
            Message(timestamp_ns=9, data=CompressedImage(data=b"\xff\xd8\xff\xd9", format="jpeg"))
        )


@pytest.fixture(scope="module")
def keyed(tmp_path_factory, certificate):
    """A station over TLS that checks keys, a key that may do everything, and our client."""
    directory = tmp_path_factory.mktemp("ground")
    with GroundStation(directory, check_keys=True, tls=certificate) as station:
        key = station.keys.create(["read", "write", "delete"])
        with MosaicoClient.connect_url(
            station.url, api_key=key, tls_root_certs=certificate[0]
        ) as client:
            write_ours(client)
            yield station, key, client


@pytest.fixture(scope="module")
def facts(keyed, certificate, tmp_path_factory):
    station, key, _ = keyed
    roots = tmp_path_factory.mktemp("roots") / "cert.pem"
    roots.write_bytes(certificate[0])
    module = "tests.recorder.ground.sdk_capabilities"
    done = subprocess.run(
        [sys.executable, "-m", module, "127.0.0.1", str(station.port), key, str(roots)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def client(keyed, facts):
    """Our client, after the SDK has done everything."""
    assert facts
    return keyed[2]


def test_connect_with_key_and_tls(facts):
    assert facts["connect"].startswith("0.7.0")


def test_list(facts):
    assert facts["list_sequences"] == ["ours"]


def test_describe_a_sequence(facts):
    assert facts["sequence_handler"] == {
        "topics": ["/camera/front", "/gps/fix", "/imu"],
        "metadata": {"recording": {"id": "0190"}},
        "range": [8, 14],
        "locked": [True],
        "missing": None,
        "exists": [True, False],
    }


def test_describe_a_topic(facts):
    metadata = {"vendor": "inertix"}
    assert facts["topic_handler"] == {"metadata": metadata, "tag": "IMU", "exists": [True, False]}


def test_read_a_topic_in_its_typed_class(facts):
    assert facts["read_typed"] == {
        "imu": [[10 + n, n, 9.8] for n in range(5)],
        "gps": [48.1, 9],
        "no status": None,
        "jpeg": "ffd8ffd9",
    }


def test_read_a_sequence_merged_by_time_in_typed_classes(facts):
    merged = facts["read_merged"]
    assert merged[:3] == [
        ["/gps/fix", "GPS", 8],
        ["/camera/front", "CompressedImage", 9],
        ["/imu", "IMU", 10],
    ]
    assert [time_ns for _, _, time_ns in merged] == [8, 9, 10, 11, 12, 12, 13, 14]
    assert {kind for _, kind, _ in merged} == {"GPS", "CompressedImage", "IMU"}


def test_read_some_topics_of_a_sequence(facts):
    assert facts["read_some_topics"] == ["/gps/fix", "/imu"]


def test_read_a_time_window(facts):
    assert facts["read_a_window"] == [12, 13]


def test_write_a_sequence(facts, client):
    assert facts["write_a_sequence"] == ["/camera", "/gps", "/imu"]
    written = known(client.describe_topic("theirs/imu"))
    assert (written.row_count, written.user_metadata) == (100, {"m": 1})
    assert table(client, "theirs/imu").column("timestamp_ns").to_pylist() == list(range(100))
    assert known(client.describe_topic("theirs/camera")).row_count == 1


def test_rows_that_were_pushed_out_of_order_are_read_by_time(facts):
    assert facts["rows_out_of_order"] == [1, 2, 3, 4, 5]


def test_update_a_sequence_with_a_second_session(facts, client):
    assert facts["update"] == [[True, ["/imu"]], [True, ["/late"]]]
    assert known(client.describe_sequence("grown")).sessions[1].topics == ("grown/late",)


def test_the_session_policy_report_keeps_with_a_note(facts):
    assert facts["report_policy"]["locked"] == [True]
    [note] = facts["report_policy"]["notes"]
    assert "on purpose" in note


def test_the_session_policy_delete_removes(facts):
    assert facts["delete_policy"] is False


def test_the_topic_policy_ignore_goes_on_with_a_note(facts):
    assert facts["ignore_policy_of_a_topic"] == {"times": [0, 1, 3], "notes": ["on purpose"]}


def test_the_topic_policy_finalize_ends_one_topic_with_a_note(facts):
    assert facts["finalize_policy_of_a_topic"] == {"times": [1], "notes": ["on purpose"]}


def test_notifications_are_listed_and_cleared(facts):
    assert facts["notifications"] == [[1, True, "datetime"], [0, 0]]


def test_query_by_metadata_with_every_operator(facts):
    assert facts["query_by_metadata"] == {
        "eq": ["q-1"],
        "neq": ["q-2"],
        "lt": ["q-1"],
        "leq": ["q-1", "q-2"],
        "gt": ["q-2"],
        "geq": ["q-2"],
        "match": ["q-1", "q-2"],
        "between": ["q-2"],
        "outside": ["q-1"],
        "in_": ["q-2"],
        "ex": ["q-1", "q-2"],
        "nex": [],
        "bool": ["q-1"],
    }


def test_query_by_name_and_pattern(facts):
    assert facts["query_by_name"] == [["ours"], ["ours"], True]


def test_query_topics_by_name_tag_metadata_and_creation(facts):
    assert facts["query_topics"] == [
        ["/camera/front"],
        ["/gps/fix"],
        ["/imu"],
        ["/imu"],
        ["/camera/front", "/gps/fix", "/imu"],
    ]


def test_query_by_values_in_the_rows(facts):
    assert facts["query_values"] == {"ours": ["/imu"]}


def test_an_answer_is_the_domain_of_the_next_query(facts):
    assert facts["query_in_an_answer"] == [{"ours": ["/imu"]}, {"ours": ["/camera/front"]}]


def test_rows_that_met_a_query_are_told_as_clusters_of_time_and_their_intersections(facts):
    assert facts["clusters"] == {
        "each": {"/imu": [[0, 10, 11], [1, 20, 22]], "/late": [[0, 12, 13], [1, 22, 24]]},
        "one": [[0, 10, 22]],
        "range": [[0, 11, 11], [1, 20, 21]],
        "both": [[0, 22, 22]],
        "near": [[0, 12, 12], [1, 22, 22]],
    }


def test_delete_a_session(facts):
    assert facts["delete_a_session"] == []


def test_delete_a_sequence(facts):
    assert facts["delete_a_sequence"] == [True, False]
