"""The vendor's own SDK 0.7.0 against the station, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys

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

pytest.importorskip("mosaicolabs", reason="the vendor's SDK is not installed")

SDK = """
import json, sys
from mosaicolabs import (GPS, IMU, CompressedImage, Message, MosaicoClient, Point3d,
                         SessionLevelErrorPolicy, TopicLevelErrorPolicy, Vector3d)

def imu(n):
    vector = Vector3d(x=float(n), y=0.5, z=9.8)
    return IMU(acceleration=vector, angular_velocity=vector)

facts = {}
with MosaicoClient.connect("127.0.0.1", int(sys.argv[1]), api_key=sys.argv[2]) as client:
    facts["listed"] = client.list_sequences()
    ours = client.sequence_handler("ours")
    facts["topics"] = sorted(ours.topics)
    facts["metadata"] = ours.user_metadata
    facts["range"] = [ours.timestamp_ns_min, ours.timestamp_ns_max]
    facts["merged"] = [(topic, type(m.data).__name__, m.timestamp_ns)
                       for topic, m in ours.get_data_streamer()]
    facts["imu"] = [(m.timestamp_ns, m.data.header.sample_counter, m.data.acceleration.z)
                    for m in client.topic_handler("ours", "imu").get_data_streamer()]
    facts["window"] = [m.timestamp_ns for m in client.topic_handler("ours", "imu")
                       .get_data_streamer(start_timestamp_ns=12, end_timestamp_ns=14)]
    gps = list(client.topic_handler("ours", "gps/fix").get_data_streamer())
    facts["gps"] = [gps[0].data.position.x, gps[0].data.status.satellites, gps[1].data.status]
    facts["jpeg"] = next(iter(client.topic_handler("ours", "camera/front")
                              .get_data_streamer())).data.data.hex()
    facts["topic_metadata"] = client.topic_handler("ours", "imu").user_metadata

    with client.sequence_create("theirs", {"a": {"b": 1}}) as writer:
        t = writer.topic_create("imu", {"m": 1}, IMU)
        g = writer.topic_create("gps", {}, GPS)
        c = writer.topic_create("camera", {}, CompressedImage)
        for n in range(100):
            t.push(Message(timestamp_ns=n, data=imu(n)))
        g.push(Message(timestamp_ns=1, data=GPS(position=Point3d(x=1, y=2, z=3))))
        c.push(Message(timestamp_ns=1, data=CompressedImage(data=b"abc", format="jpeg")))
    with client.sequence_handler("theirs").update() as updater:
        updater.topic_create("late", {}, IMU).push(Message(timestamp_ns=5, data=imu(5)))
    for name, policy in (("kept", SessionLevelErrorPolicy.Report),
                         ("gone", SessionLevelErrorPolicy.Delete)):
        try:
            with client.sequence_create(name, {}, on_error=policy) as writer:
                writer.topic_create("imu", {}, IMU)
                raise ValueError("on purpose")
        except ValueError:
            pass
    facts["noted"] = [n.message for n in client.list_sequence_notifications("kept")]
    facts["after_policies"] = client.list_sequences()
    client.sequence_delete("kept")
    facts["after_delete"] = client.list_sequences()
print(json.dumps(facts))
"""


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
def keyed(tmp_path_factory):
    with GroundStation(tmp_path_factory.mktemp("ground"), check_keys=True) as station:
        key = station.keys.create(["read", "write", "delete"])
        with MosaicoClient.connect_url(station.url, api_key=key) as client:
            write_ours(client)
            yield station, key, client


@pytest.fixture(scope="module")
def facts(keyed):
    station, key, _ = keyed
    done = subprocess.run(
        [sys.executable, "-c", SDK, str(station.port), key],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_sdk_lists_what_our_client_wrote(facts):
    assert facts["listed"] == ["ours"]
    assert facts["topics"] == ["/camera/front", "/gps/fix", "/imu"]
    assert facts["metadata"] == {"recording": {"id": "0190"}}
    assert facts["topic_metadata"] == {"vendor": "inertix"}
    assert facts["range"] == [8, 14]


def test_the_sdk_reads_our_sequence_merged_by_time_in_its_typed_classes(facts):
    assert facts["merged"][:3] == [
        ["/gps/fix", "GPS", 8],
        ["/camera/front", "CompressedImage", 9],
        ["/imu", "IMU", 10],
    ]
    assert sorted(time_ns for _, _, time_ns in facts["merged"]) == [8, 9, 10, 11, 12, 12, 13, 14]
    assert {kind for _, kind, _ in facts["merged"]} == {"GPS", "CompressedImage", "IMU"}


def test_the_sdk_reads_our_values(facts):
    assert facts["imu"] == [[10 + n, n, 9.8] for n in range(5)]
    assert facts["gps"] == [48.1, 9, None]
    assert facts["jpeg"] == "ffd8ffd9"


def test_the_sdk_reads_a_time_window(facts):
    assert facts["window"] == [12, 13]


def test_what_the_sdk_writes_our_client_reads(facts, keyed):
    _, _, client = keyed
    assert facts["after_delete"] == ["ours", "theirs"]
    assert client.describe_topic("theirs/imu").row_count == 100
    assert client.describe_topic("theirs/imu").user_metadata == {"m": 1}
    assert table(client, "theirs/imu").column("timestamp_ns").to_pylist() == list(range(100))
    assert client.describe_topic("theirs/camera").row_count == 1


def test_the_sdk_updates_a_sequence_with_a_second_session(facts, keyed):
    _, _, client = keyed
    assert facts["after_delete"]
    sessions = client.describe_sequence("theirs").sessions
    assert [session.locked for session in sessions] == [True, True]
    assert sessions[1].topics == ("theirs/late",)


def test_the_sdks_policies_keep_with_a_note_or_remove(facts):
    assert facts["after_policies"] == ["kept", "ours", "theirs"]
    [note] = facts["noted"]
    assert "on purpose" in note
