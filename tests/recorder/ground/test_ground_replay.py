"""A recording that the real uploader brought, replayed: as lines, as a file, to another server."""

from __future__ import annotations

import base64
import itertools
import json
import signal
import subprocess
import sys
import time
from typing import Any

import pyarrow as pa
import pytest
from click.testing import CliRunner, Result

from recorder.cli import recorder
from recorder.errors import RecorderError, RemoteForbiddenError
from recorder.ground import GroundStation, replay
from recorder.ground.copying import Copy
from recorder.ground.observe import Address, Observer
from recorder.mosaico import Message, MosaicoClient, String, ontology, table
from recorder.service import Stop
from recorder.upload.planner import SESSION_LOG_S
from recorder.uploader import upload_once
from tests.known import known
from tests.recorder.upload.made import Drive

PROGRAM = [sys.executable, "-c", "from recorder.cli import main; main()"]
LANES = {"imu": 600, "gps": 30, "camera": 12}
OWN = {"recorder/session", "recorder/summary"}


def call(*arguments: object) -> Result:
    return CliRunner().invoke(recorder, [str(one) for one in arguments])


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    """A station with one recording in several parts, and one sequence that is none."""
    folder = tmp_path_factory.mktemp("origin")
    with GroundStation(folder / "ground") as station:
        drive = Drive(folder / "drive")
        drive.tell_time()
        drive.beat()
        drive.imu(60)
        drive.gps(30)
        drive.camera(12)
        drive.end()
        done = upload_once(drive.config(station.url, part_bytes=65_536))
        assert done.done
        with MosaicoClient.connect_url(station.url) as client:
            client.create_sequence("foreign", {})
        yield station


@pytest.fixture
def client(origin):
    with MosaicoClient.connect_url(origin.url) as connected:
        yield connected


@pytest.fixture
def info(client):
    [name] = [one for one in client.sequences() if one != "foreign"]
    return known(client.describe_sequence(name))


def recording_id(info):
    return info.user_metadata["recording"]["id"]


def strict(word: str) -> None:
    pytest.fail(f"{word} is no JSON")


def lines(result: Result) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.output
    return [json.loads(line, parse_constant=strict) for line in result.stdout.splitlines()]


def counts(rows: list[dict[str, Any]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for row in rows:
        found[row["topic"]] = found.get(row["topic"], 0) + 1
    return found


def test_all_rows_come_as_lines_merged_by_time_under_their_lanes_names(origin, client, info):
    assert len(info.topics) > len(LANES) + len(OWN)  # lanes came in parts
    rows = lines(call("replay", recording_id(info)[:8], "--server", origin.url))
    found = counts(rows)
    assert {lane: found[lane] for lane in LANES} == LANES
    assert set(found) == {*LANES, *OWN}
    times = [row["timestamp_ns"] for row in rows]
    assert times == sorted(times)
    pictures = [base64.b64decode(row["data"]) for row in rows if row["topic"] == "camera"]
    stored = [
        data
        for topic in sorted(one.locator for one in info.topics if "/camera" in one.locator)
        for data in table(client, topic).column("data").to_pylist()
    ]
    assert pictures == stored


def test_the_period_that_the_uploader_declares_is_the_one_that_counts(origin):
    with Observer(Address(origin.url)) as observer:
        [seen] = observer.recordings()
    assert (seen.life, seen.period_s) == ("ended", SESSION_LOG_S)


def test_only_some_topics_and_some_time_are_replayed(origin, client, info):
    gps = table(client, f"{info.name}/gps").column("timestamp_ns").to_pylist()
    command = ("replay", info.name, "--server", origin.url)
    rows = lines(call(*command, "--topic", "gps", "--from", gps[5], "--to", gps[9]))
    assert [row["timestamp_ns"] for row in rows] == gps[5:9]
    rows = lines(call(*command, "--topic", "i*", "--topic", "/gps"))
    assert counts(rows) == {"imu": LANES["imu"], "gps": LANES["gps"]}
    seconds = lines(call(*command, "--topic", "gps", "--from", "2023-11-14T22:13:20Z"))
    assert len(seconds) == LANES["gps"]


def test_what_is_not_there_is_told(origin, info):
    for arguments, told in (
        ([info.name, "--topic", "radar"], "has no 'radar'; it has camera, gps, imu"),
        (["0000"], "no recordings begin with '0000'"),
        (["foreign"], "has no rows"),
        ([info.name, "--from", 2**62], "has no rows"),
    ):
        result = call("replay", *arguments, "--server", origin.url)
        assert result.exit_code == 1
        assert told in result.stderr


def test_slices_hold_little_whatever_the_recording_holds(client, info, monkeypatch):
    monkeypatch.setattr(replay, "SLICE_BYTES", 50_000)
    monkeypatch.setattr(replay, "_FIRST_ROWS", 10)
    sources = replay.sources(info)
    seen = list(replay.slices(client, sources))
    assert sum(one.rows for one in seen) == sum(one.topic.row_count or 0 for one in sources)
    assert all(a.end_ns <= b.start_ns for a, b in itertools.pairwise(seen))
    assert len(seen) > 4
    # A picture has 20,000 bytes; the span may grow fourfold at once.
    assert max(one.size_bytes for one in seen) < 4 * 50_000 + 20_000


def test_the_file_holds_all_rows_by_time_and_every_value(origin, client, info, tmp_path):
    file = tmp_path / "drive.arrow"
    result = call("replay", info.name, "--server", origin.url, "--to-file", file, "--json")
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    whole = pa.ipc.open_file(file).read_all()
    assert (facts["rows"], facts["to"]) == (whole.num_rows, str(file))
    assert facts["topics"]["imu"] == LANES["imu"]
    times = whole.column("timestamp_ns").to_pylist()
    assert times == sorted(times)
    assert [facts["first_utc_ns"], facts["last_utc_ns"]] == [times[0], times[-1]]
    for lane in ("imu", "gps", "camera"):
        mine = whole.filter(pa.compute.equal(whole.column("topic"), lane))
        parts = sorted(one.locator for one in info.topics if f"/{lane}" in one.locator)
        stored = pa.concat_tables([table(client, one) for one in parts])
        assert mine.column("timestamp_ns").to_pylist() == stored.column("timestamp_ns").to_pylist()
        columns = mine.column(lane).combine_chunks().flatten()
        names = [name for name in stored.column_names if name != "timestamp_ns"]
        for name, column in zip(names, columns, strict=True):
            assert repr(column.to_pylist()) == repr(stored.column(name).to_pylist()), name
    assert [one.name for one in tmp_path.iterdir()] == ["drive.arrow"]
    again = call("replay", info.name, "--server", origin.url, "--to-file", file)
    assert again.exit_code == 2
    assert "exists already" in again.stderr


def test_a_copy_on_another_server_is_the_same_in_every_topic(origin, client, info, tmp_path):
    with (
        GroundStation(tmp_path / "target") as target,
        MosaicoClient.connect_url(target.url) as other,
    ):
        command = ("replay", recording_id(info), "--server", origin.url, "--to-server", target.url)
        result = call(*command)
        assert result.exit_code == 0, result.output
        assert "rows (" in result.stdout
        copied = known(other.describe_sequence(info.name))
        assert copied.user_metadata == info.user_metadata
        assert [one.locked for one in copied.sessions] == [True]
        ours = {one.locator: one for one in info.topics}
        assert {one.locator: one for one in copied.topics} == ours
        for locator in ours:
            there, here = table(other, locator), table(client, locator)
            assert there.schema.equals(here.schema, check_metadata=True)
            assert repr(there.to_pylist()) == repr(here.to_pylist())  # NaN equals NaN here
        assert "recorder/summary" in copied.topics[-1].locator
        again = call(*command)
        assert again.exit_code == 1
        assert "already" in again.stderr
        listed = call("sessions", "--server", target.url, "--json")
        assert [one["life"] for one in json.loads(listed.stdout)] == ["ended"]


def test_a_part_of_a_recording_is_copied_without_its_commit_mark(origin, info, tmp_path):
    with (
        GroundStation(tmp_path / "target") as target,
        MosaicoClient.connect_url(target.url) as other,
    ):
        result = call(
            "replay", info.name, "--server", origin.url, "--to-server", target.url, "--to", 2**62
        )
        assert result.exit_code == 0, result.output
        paths = {one.locator for one in known(other.describe_sequence(info.name)).topics}
        assert {one.locator for one in info.topics} - paths == {f"{info.name}/recorder/summary"}


class StopsAfter(Stop):
    """Asks for the end when it was looked at so often."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self._looks = looks

    def is_set(self) -> bool:
        self._looks -= 1
        return self._looks < 0


def copy(client, other, info, looks):
    pace = replay.Pace(1e6, StopsAfter(looks))
    chosen = replay.sources(info)
    return Copy(client, other, info, chosen, pace=pace, show=lambda _: None)


def test_a_copy_that_is_stopped_leaves_nothing_behind(client, info, tmp_path):
    with (
        GroundStation(tmp_path / "target") as target,
        MosaicoClient.connect_url(target.url) as other,
    ):
        with pytest.raises(RecorderError, match="stopped"):
            copy(client, other, info, 1).run(None, None)
        assert other.sequences() == []


def test_a_copy_that_is_stopped_and_cannot_be_removed_is_named_and_finalizes_nothing_half(
    client, info, tmp_path
):
    with GroundStation(tmp_path / "target", check_keys=True) as target:
        key = target.keys.create(["read", "write"])
        with MosaicoClient.connect_url(target.url, api_key=key) as other:
            with pytest.raises(RecorderError, match=f"{info.name} cannot be removed") as told:
                copy(client, other, info, 1).run(None, None)
            assert isinstance(told.value.__cause__, RemoteForbiddenError)
            whole = {one.locator: one.row_count for one in info.topics}
            left = known(other.describe_sequence(info.name))
            assert not left.sessions[0].locked
            assert all(one.row_count == whole[one.locator] for one in left.topics if one.locked)


def test_what_broke_on_the_way_does_not_count(tmp_path, bench):
    """Only topics of the manifest are the recording."""
    with GroundStation(tmp_path) as station, MosaicoClient.connect_url(station.url) as client:
        client.create_sequence("drive", {"recording": {"id": "0190"}})
        session = client.create_session("drive")
        for path in ("notes", "notes-r1", "recorder/summary"):
            manifest = {"manifest": {"topics": [{"topic": "notes-r1", "lane": "notes"}]}}
            metadata = manifest if path == "recorder/summary" else {}
            uuid = client.create_topic(
                session.uuid,
                f"drive/{path}",
                ontology_tag="String",
                serialization_format=ontology.serialization_format("String"),
                metadata=metadata,
            )
            client.put(f"drive/{path}", uuid, bench.schema, [bench.batch(1, 2)])
        found = replay.sources(known(client.describe_sequence("drive")))
        assert {(one.lane, one.topic.locator) for one in found} == {
            ("notes", "drive/notes-r1"),
            ("recorder/summary", "drive/recorder/summary"),
        }


def test_the_pace_lets_time_pass_and_ends_when_told(monkeypatch):
    stop = Stop()
    waits: list[float] = []
    now_s = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now_s[0])
    monkeypatch.setattr(stop, "wait", waits.append)
    pace = replay.Pace(2.0, stop)
    assert [pace.wait_for(at) for at in (10**9, 3 * 10**9)] == [True, True]
    now_s[0] = 107.0
    assert pace.wait_for(5 * 10**9)
    assert waits == [0.0, 1.0, 0.0]
    stop.set()
    assert not pace.wait_for(6 * 10**9)
    assert replay.Pace(None, Stop()).wait_for(0)


def test_a_paced_replay_is_ended_by_ctrl_c_with_code_1(origin, info):
    command = [*PROGRAM, "replay", info.name, "--server", origin.url, "--speed", "0.01"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert json.loads(known(process.stdout).readline())
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=30)
    assert process.returncode == 1
    assert b"stopped before the end" in told


def test_rows_from_before_1970_are_replayed_and_copied_too(tmp_path):
    times = [-5_000_000_000, -1, 0, 7]
    with GroundStation(tmp_path / "here") as here, GroundStation(tmp_path / "there") as there:
        with (
            MosaicoClient.connect_url(here.url) as client,
            client.sequence_create("old", {}) as old,
        ):
            topic = old.topic_create("notes", {}, String)
            for time_ns in times:
                topic.push(Message(timestamp_ns=time_ns, data=String(data=str(time_ns))))
        rows = lines(call("replay", "old", "--server", here.url))
        assert [one["timestamp_ns"] for one in rows] == times
        copied = call("replay", "old", "--server", here.url, "--to-server", there.url)
        assert copied.exit_code == 0, copied.output
        with MosaicoClient.connect_url(there.url) as client:
            assert table(client, "old/notes").column("timestamp_ns").to_pylist() == times
