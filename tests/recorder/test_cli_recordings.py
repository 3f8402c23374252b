from __future__ import annotations

import json
import signal
import struct
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from click.testing import CliRunner, Result

from drivers.base import Field
from recorder import record
from recorder.cli import recorder
from recorder.clock import Mapping, anchor_now, boot_id, boot_ns
from recorder.mosaico import MosaicoClient, ontology
from recorder.ring import RingReader
from recorder.ring_files import attach
from recorder.schema import LaneSchema
from recorder.session.ledger import LaneLedger
from recorder.session.session import Session
from recorder.spool.journal import Journal
from recorder.spool.recording import Recording
from recorder.spool.session_time import tell_time
from recorder.spool.spool import Spool
from recorder.time_model import TimeModel
from recorder.upload.describe import sequence_metadata
from tests.recorder.building import shelf

PROGRAM = [sys.executable, "-c", "from recorder.cli import main; main()"]
FIELDS = (Field("acceleration.x", ">i2", "m/s^2"),)
IMU = LaneSchema("imu", "mpu6050", "IMU", 100.0, 0.03, FIELDS)
PERIOD_NS = 10_000_000
ROWS = 250
LOST = 50


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(recorder, [str(one) for one in arguments])


def facts(*arguments: str | Path) -> Any:
    result = call(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def words(result: Result) -> str:
    return " ".join(result.output.split())


def record_session(folder: Path, session_id: str) -> Session:
    """Record an IMU with the real code: 2.5 s, then 50 samples that the ring had no room for."""
    ledger = LaneLedger("imu", rate_hz=IMU.rate_hz)
    session = Session(session_id, boot_id().hex(), "Test", "", "car", lanes=[ledger])
    recording = Recording.announce(Spool.make(folder / "spool"), session, {}, 1 << 20)
    rings = folder / f"rings-{session_id}"
    rings.mkdir()
    ring = attach(rings, IMU, 1 << 16)
    first_ns = boot_ns()
    burst = struct.pack(f">{ROWS}h", *range(ROWS))
    state = replace(ring.state, expected=ROWS, boot_ns=first_ns, period_ns=PERIOD_NS)
    assert ring.put(record.DATA, ROWS, state, [burst], first_ns)
    state = replace(ring.state, expected=ROWS + LOST)
    assert not ring.put(record.DATA, LOST, state, [bytes(1 << 16)], first_ns)
    ring.put(record.EVENT, 0, ring.state, [b"{}"], first_ns)
    reader = RingReader(ring.path)
    recording.take(reader, None)
    recording.commit()
    reader.free(reader.position)
    reader.close()
    ring.close()
    anchor = anchor_now(first_ns, 1_395_837_505_100_000_000, 0, "gps")
    model = TimeModel([anchor])
    tell_time(recording.session, model, "{vehicle}_{start}_{id8}")
    recording.beat(model)
    recording.end("shutdown", is_destination=True)
    return recording.session


@dataclass
class Made:
    folder: Path
    session: Session

    @property
    def segment(self) -> Path:
        (found,) = self.folder.glob("spool/sessions/*/imu/*.seg")
        return found


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path, record_session(tmp_path, str(uuid.uuid4())))


def test_sessions_of_a_spool_are_listed_for_people(made: Made) -> None:
    result = call("sessions", "--spool", made.folder / "spool")
    assert result.exit_code == 0
    expected = (
        f"{made.session.id[:8]} closed 2014-03-26 12:38:25 2.5 s 0.8333 held in the spool 250"
    )
    assert expected in words(result)


def test_the_folder_around_a_spool_will_do(made: Made) -> None:
    (one,) = facts("sessions", "--spool", made.folder)
    assert one == {**made.session.to_dict(), "destination": "spool", "given_up": {}, "marks": []}


def test_the_configuration_says_where_the_spool_is(made: Made) -> None:
    file = made.folder / "recorder.toml"
    lane = '[[lanes]]\nname = "imu"\ndriver = "mpu6050"\n'
    file.write_text(f'[spool]\ndirectory = "."\n[upload]\nmode = "off"\n{lane}')
    assert len(facts("sessions", "--config", file)) == 1


def test_sessions_are_listed_oldest_first(tmp_path: Path) -> None:
    ids = [record_session(tmp_path, str(uuid.uuid4())).id for _ in range(3)]
    assert [one["id"] for one in facts("sessions", "--spool", tmp_path)] == ids


def test_an_empty_spool_lists_nothing(tmp_path: Path) -> None:
    Spool.make(tmp_path)
    assert facts("sessions", "--spool", tmp_path) == []
    assert call("sessions", "--spool", tmp_path).stdout == ""


def test_what_the_uploader_settled_stands_above_the_spool(made: Made) -> None:
    final = replace(made.session, identifier="settled")
    log = Journal(made.folder / "upload" / final.id)
    log.record({"entry": "final", "session": final.to_dict()})
    log.close()
    (one,) = facts("sessions", "--spool", made.folder)
    assert (one["identifier"], one["destination"]) == ("settled", "server")
    told = words(call("show", final.id, "--spool", made.folder))
    assert "0.8333 delivered, worst" in told
    assert "held in the spool" not in told


def test_a_session_without_a_whole_record_is_named_and_hides_no_other(made: Made) -> None:
    torn = record_session(made.folder, str(uuid.uuid4()))
    journal = Spool(made.folder / "spool").journal_path(torn.id)
    journal.write_bytes(journal.read_bytes()[:40])
    result = call("sessions", "--spool", made.folder, "--json")
    assert [one["id"] for one in json.loads(result.stdout)] == [made.session.id]
    assert torn.id in result.stderr


def test_show_tells_the_whole_record_by_the_beginning_of_its_id(made: Made) -> None:
    result = call("show", made.session.id[:4], "--spool", made.folder)
    assert result.exit_code == 0
    told = words(result)
    for part in (
        made.session.id,
        f"car_20140326T123825Z_{made.session.id[:8]}",
        "closed, recording stopped (shutdown)",
        "2014-03-26T12:38:25.100Z (clock: gps, true to 1.49 ms)",
        "duration 2.5 s",
        "0.8333 held in the spool, worst lane 0.8333 (imu), at least 0.8333",
        "imu 100 Hz 300 300 250 250 0 50",
        "imu: 50 ring full",
    ):
        assert part in told
    told_as_json = facts("show", made.session.id, "--spool", made.folder)
    assert told_as_json == {
        **made.session.to_dict(),
        "destination": "spool",
        "given_up": {},
        "marks": [],
    }


def test_where_nothing_was_recorded_nobody_says_that_nothing_was_lost(tmp_path: Path) -> None:
    with shelf(tmp_path) as one:
        session_id = one.recording.session.id
        assert "Nothing yet." in call("show", session_id, "--spool", tmp_path).stdout
        one.recording.end("shutdown", is_destination=True)
        told = call("show", session_id, "--spool", tmp_path).stdout
        assert "Nothing was recorded." in told
        assert "lost." not in told
    with shelf(tmp_path / "second") as one:
        one.producer.put(10)
        one.commit()
        told = call("show", one.recording.session.id, "--spool", tmp_path / "second").stdout
        assert "Nothing was lost." in told


def test_show_of_no_or_of_several_sessions_is_a_finding(made: Made) -> None:
    record_session(made.folder, str(uuid.uuid4()))
    for start, said in (("nothing", "no recording begins"), ("", "2 recordings begin")):
        result = call("show", start, "--spool", made.folder)
        assert result.exit_code == 1
        assert said in result.stderr


def test_a_spool_of_a_newer_format_is_refused_and_left_alone(made: Made) -> None:
    mark = made.folder / "spool" / "FORMAT"
    mark.write_text("edge-recorder spool 99\n")
    commands: list[list[str | Path]] = [
        ["sessions", "--spool", made.folder],
        ["verify", made.folder],
    ]
    for command in commands:
        result = call(*command)
        assert result.exit_code == 1
        assert "spool 99" in result.stderr
    assert mark.read_text() == "edge-recorder spool 99\n"


def test_a_sound_spool_is_verified(made: Made) -> None:
    result = call("verify", made.folder / "spool")
    assert result.exit_code == 0
    assert f"{made.session.id[:8]} imu 250 50 0 - 0 sound" in words(result)
    assert "1 session, " in result.stdout
    assert result.stdout.splitlines()[-1].endswith("read: sound")
    found = facts("verify", made.folder)
    assert found["is_sound"]
    assert found["sessions"][0]["lanes"][0]["rows"] == ROWS


def test_a_flipped_byte_is_a_finding_with_file_and_offset(made: Made) -> None:
    raw = bytearray(made.segment.read_bytes())
    at = raw.index(b"RREC") + record.HEADER_BYTES
    raw[at] ^= 1
    made.segment.write_bytes(raw)
    result = call("verify", made.folder)
    assert result.exit_code == 1
    assert made.segment.name in words(result).replace(" ", "")
    assert result.stdout.splitlines()[-1].endswith("read: NOT sound")
    found = call("verify", made.folder, "--json")
    assert found.exit_code == 1
    assert not json.loads(found.stdout)["is_sound"]


@pytest.fixture
def station(tmp_path: Path) -> Iterator[str]:
    """The URL of a ground station in a process of its own, which ends by SIGTERM with code 0."""
    command = [*PROGRAM, "ground", "--dir", str(tmp_path / "ground"), "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["url"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def mapping(session: Session) -> Mapping:
    assert session.start_boot_ns is not None
    assert session.start_utc_ns is not None
    return Mapping(((session.start_boot_ns, session.start_utc_ns),), "gps", 0)


def put_lines(client: MosaicoClient, name: str, topic: str, *records: dict[str, Any]) -> None:
    session = client.create_session(name)
    locator = f"{name}/{topic}"
    topic_uuid = client.create_topic(
        session.uuid,
        locator,
        ontology_tag="String",
        serialization_format=ontology.serialization_format("String"),
        metadata={},
    )
    columns = {
        "timestamp_ns": list(range(1, len(records) + 1)),
        "data": [json.dumps(one) for one in records],
    }
    schema = ontology.schema("String")
    client.put(locator, topic_uuid, schema, [pa.RecordBatch.from_pydict(columns, schema)])
    client.finalize_session(session.uuid)


def test_sessions_of_a_server_are_told_by_their_newest_record(made: Made, station: str) -> None:
    from_here = made.session.to_dict()
    beat = {**from_here, "state": "open", "recording": "running"}
    contract = [{"name": "imu", "rate_hz": 100.0, "required": True, "weight": 1.0}]
    announced = sequence_metadata(made.session, mapping(made.session))
    assert announced["recording"]["lanes"] == contract
    with MosaicoClient.connect_url(station) as client:
        for name in ("done", "live", "new"):
            client.create_sequence(name, announced)
        client.create_sequence("foreign", {"not": "ours"})
        put_lines(client, "done", "recorder/session", beat, beat)
        put_lines(client, "done", "recorder/summary", from_here)
        put_lines(client, "live", "recorder/session/p000000", {**beat, "revision": 1})
        put_lines(client, "live", "recorder/session/p000001", {**beat, "revision": 2}, beat)
    found = {one["sequence"]: one for one in facts("sessions", "--server", station)}
    assert list(found) == ["done", "live", "new"]
    told = {key: found["done"].pop(key) for key in ("silent_s", "period_s", "received_utc_ns")}
    assert told["silent_s"] < 60
    seen = {"sequence": "done", "is_announcement": False, "life": "ended"}
    seen |= {"counts": True, "replaced_by": "", "sent_anew_as": ""}
    assert found["done"] == {**from_here, **seen}
    assert [found[name]["life"] for name in ("live", "new")] == ["live", "live"]
    assert (found["live"]["is_announcement"], found["new"]["is_announcement"]) == (False, True)
    assert found["live"]["state"] == "open"
    assert found["live"]["revision"] == beat["revision"]
    assert found["new"]["state"] == "waiting"
    assert found["new"]["start_utc_ns"] == 1_395_837_505_100_000_000


def test_show_finds_a_recording_on_a_server(made: Made, station: str) -> None:
    with MosaicoClient.connect_url(station) as client:
        client.create_sequence("one", sequence_metadata(made.session, mapping(made.session)))
        put_lines(client, "one", "recorder/summary", made.session.to_dict())
    result = call("show", made.session.id[:6], "--server", station)
    assert result.exit_code == 0
    assert "imu: 50 ring full" in words(result)


def test_of_a_recording_of_which_a_server_holds_nothing_only_that_is_told(
    made: Made, station: str
) -> None:
    with MosaicoClient.connect_url(station) as client:
        client.create_sequence("one", sequence_metadata(made.session, mapping(made.session)))
    told = call("show", made.session.id[:6], "--server", station).stdout
    assert "The server was told that it began, and nothing else" in told
    assert "lost." not in told


def test_a_server_that_does_not_answer_is_a_finding(tmp_path: Path) -> None:
    result = call("sessions", "--server", "grpc://127.0.0.1:1")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")


def test_a_station_that_checks_keys_knows_those_that_were_made_for_it(tmp_path: Path) -> None:
    folder = tmp_path / "ground"
    command = [*PROGRAM, "ground", "--dir", str(folder), "--port", "0", "--check-keys"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        key = tmp_path / "key"
        key.write_text(facts("ground", "--dir", folder, "--new-key", "read")["key"])
        key.chmod(0o600)
        refused = call("sessions", "--server", url)
        assert refused.exit_code == 1
        assert "API key" in refused.stderr
        assert facts("sessions", "--server", url, "--key-file", key) == []
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0


def test_a_key_is_made_only_with_permissions_that_there_are(tmp_path: Path) -> None:
    result = call("ground", "--dir", tmp_path, "--new-key", "read,everything")
    assert result.exit_code == 2
    assert "read,write,delete" in result.stderr
