"""Clients and stations that die, and what the catalogue says then."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pyarrow.flight as fl
import pytest

from recorder.errors import ConfigError, RemoteError, RemoteRefusedError
from recorder.ground import GroundStation, beat
from recorder.mosaico import MosaicoClient, rows, table
from tests.known import known
from tests.recorder.building import wait_until

WRITER = """
import sys, time
import pyarrow as pa
from recorder.mosaico import MosaicoClient, ontology
schema = ontology.schema("String")
client = MosaicoClient.connect_url(sys.argv[1])
stream = client.open_put("drive/notes", sys.argv[2], schema)
stream.write(pa.RecordBatch.from_pylist([{"timestamp_ns": 1, "data": "row 1"}], schema))
print("written", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("death", [signal.SIGKILL, signal.SIGTERM])
def test_a_client_killed_in_mid_put_leaves_uploading_and_is_repaired(station, client, bench, death):
    session, uuid = bench.drive(client)
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, station.url, uuid], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert known(writer.stdout).readline() == "written\n"
        wait_until(lambda: known(client.describe_topic("drive/notes")).chunks == 1)
        writer.send_signal(death)
        writer.wait(10)
    wait_until(lambda: station.open_uploads == 0)
    topic = known(client.describe_topic("drive/notes"))
    assert (topic.locked, topic.row_count) == (False, 1)
    assert [row["data"] for row in rows(client, "drive/notes")] == ["row 1"]
    with pytest.raises(RemoteRefusedError, match="still uploading"):
        client.finalize_session(session.uuid)
    client.delete_topic("drive/notes")
    again = bench.topic(client, session, "drive/notes")
    client.put("drive/notes", again, bench.schema, [bench.batch(1), bench.batch(2)])
    client.finalize_session(session.uuid)
    assert known(client.describe_topic("drive/notes")).row_count == 2


def test_a_station_killed_and_started_again_keeps_what_it_had_said_yes_to(bench, tmp_path):
    with bench.station_process(tmp_path) as (process, url):
        client = MosaicoClient.connect_url(url)
        session, uuid = bench.drive(client)
        client.put("drive/notes", uuid, bench.schema, [bench.batch(3, 4), bench.batch(1, 2)])
        open_uuid = bench.topic(client, session, "drive/open")
        stream = client.open_put("drive/open", open_uuid, bench.schema)
        stream.write(bench.batch(1))
        wait_until(lambda: known(client.describe_topic("drive/open")).chunks == 1)
        client.notify("drive", "a note")
        process.kill()
        process.wait(10)
        with pytest.raises(RemoteError):
            stream.finish()
        client.close()
    with GroundStation(tmp_path) as station, MosaicoClient.connect_url(station.url) as client:
        assert known(client.describe_topic("drive/notes")).locked
        assert table(client, "drive/notes").column("timestamp_ns").to_pylist() == [1, 2, 3, 4]
        assert [note.text for note in client.notifications("drive")] == ["a note"]
        opened = known(client.describe_topic("drive/open"))
        assert (opened.locked, opened.row_count) == (False, 1)
        with pytest.raises(RemoteRefusedError, match="already uploading"):
            client.put("drive/open", open_uuid, bench.schema, [bench.batch(1)])
        with pytest.raises(RemoteRefusedError, match="still uploading"):
            client.finalize_session(session.uuid)
        client.delete_topic("drive/open")
        again = bench.topic(client, session, "drive/open")
        client.put("drive/open", again, bench.schema, [bench.batch(1)])
        client.finalize_session(session.uuid)


def test_a_station_that_is_told_to_stop_ends_although_a_client_holds_a_stream(bench, tmp_path):
    with bench.station_process(tmp_path) as (process, url):
        client = MosaicoClient.connect_url(url)
        _, uuid = bench.drive(client)
        stream = client.open_put("drive/notes", uuid, bench.schema)
        stream.write(bench.batch(1))
        wait_until(lambda: known(client.describe_topic("drive/notes")).chunks == 1)
        process.terminate()
        assert process.wait(30) == 0
        stream.abort()
        client.close()
    with GroundStation(tmp_path) as station, MosaicoClient.connect_url(station.url) as client:
        assert not known(client.describe_topic("drive/notes")).locked


def test_a_stream_that_rests_outlives_its_clients_pings(tmp_path, bench, monkeypatch):
    """Without beats gRPC's server hangs up after some pings, here after 4 to 5 s."""
    monkeypatch.setattr(beat, "INTERVAL_S", 0.1)
    pings = [
        ("grpc.keepalive_time_ms", 300),
        ("grpc.keepalive_timeout_ms", 3000),
        ("grpc.http2.max_pings_without_data", 0),
    ]
    with (
        GroundStation(tmp_path) as station,
        MosaicoClient.connect_url(station.url) as client,
        fl.FlightClient(station.url, generic_options=pings) as flight,
    ):
        _, uuid = bench.drive(client)
        command = json.dumps({"resource_locator": "drive/notes", "topic_uuid": uuid})
        writer, _ = flight.do_put(fl.FlightDescriptor.for_command(command), bench.schema)
        writer.write_batch(bench.batch(1))
        threading.Event().wait(6.0)  # the rest itself, not a wait for something
        writer.write_batch(bench.batch(2))
        writer.close()
        assert known(client.describe_topic("drive/notes")).row_count == 2


def test_memory_is_given_back_when_the_last_stream_is_over_and_not_before(
    tmp_path, bench, monkeypatch
):
    given_back: list[int] = []
    monkeypatch.setattr(beat, "INTERVAL_S", 0.02)
    with GroundStation(tmp_path) as station, MosaicoClient.connect_url(station.url) as client:
        monkeypatch.setattr(beat, "give_back", lambda: given_back.append(station.open_uploads))
        _, uuid = bench.drive(client)
        with client.open_put("drive/notes", uuid, bench.schema) as stream:
            stream.write(bench.batch(1))
            beats = station._flight.beat._beats
            wait_until(lambda: max(beats.values(), default=0) >= 5)
            assert given_back == []
        wait_until(lambda: given_back == [0])


def test_folders_that_the_catalogue_forgot_are_removed_at_the_next_start(tmp_path):
    with GroundStation(tmp_path):
        pass
    (tmp_path / "rows" / "forgotten").mkdir()
    with GroundStation(tmp_path):
        assert list((tmp_path / "rows").iterdir()) == []


def test_two_stations_do_not_share_a_directory(tmp_path):
    with GroundStation(tmp_path), pytest.raises(ConfigError, match="another station"):
        GroundStation(tmp_path)


def test_a_port_that_is_taken_is_told(tmp_path):
    with (
        GroundStation(tmp_path / "a") as first,
        pytest.raises(ConfigError, match="cannot listen"),
    ):
        GroundStation(tmp_path / "b", port=first.port)


def test_a_file_that_is_no_catalogue_is_told_and_left_alone(tmp_path):
    catalogue = tmp_path / "catalogue.sqlite"
    catalogue.write_bytes(b"something else entirely" * 100)
    with pytest.raises(ConfigError, match=r"catalogue\.sqlite"):
        GroundStation(tmp_path)
    assert catalogue.resolve() not in {one.resolve() for one in Path("/proc/self/fd").iterdir()}
    assert catalogue.read_bytes().startswith(b"something else")
