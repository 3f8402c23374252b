"""Recordings seen from outside: live, stale, draining, ended, abandoned."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from typing import Any

import pyarrow as pa
import pytest
from click.testing import CliRunner, Result

from recorder.cli import recorder
from recorder.errors import RecorderError, RemoteForbiddenError
from recorder.ground import GroundStation
from recorder.ground.observe import Address, Observer
from recorder.ground.watch import LEASE_S, Watch
from recorder.mosaico import MosaicoClient, ontology
from recorder.session.ledger import LaneLedger
from recorder.session.session import Session
from recorder.session.states import State
from tests.known import known

PROGRAM = [sys.executable, "-c", "from recorder.cli import main; main()"]
PERIOD_S = 60.0
HOUR_S = 3600.0


def call(*arguments: object) -> Result:
    return CliRunner().invoke(recorder, [str(one) for one in arguments])


class Fleet:
    """Vehicles as a station hears of them, and a way to let time pass at the station."""

    def __init__(self, station: GroundStation, client: MosaicoClient, folder: Any) -> None:
        self.url = station.url
        self.client = client
        self._catalogue = folder / "catalogue.sqlite"

    def announce(self, vehicle: str = "car-7") -> Session:
        lanes = [LaneLedger("imu", rate_hz=100.0)]
        session = Session(str(uuid.uuid4()), 32 * "0", "Test", "", vehicle, lanes=lanes)
        session.start_utc_ns = 1_700_000_000_000_000_000
        lane = {"name": "imu", "rate_hz": 100.0, "required": True, "weight": 1.0}
        plain = session.to_dict()
        recording = {key: plain[key] for key in ("id", "type", "identifier", "vehicle", "boot_id")}
        recording |= {"start_ns": plain["start_utc_ns"], "lanes": [lane], "heartbeat_s": 10.0}
        self.client.create_sequence(f"drive-{session.id[:8]}", {"recording": recording})
        return session

    def beat(self, session: Session, path: str = "recorder/session/p000000") -> None:
        """A part with one heartbeat row, or with another path."""
        name = f"drive-{session.id[:8]}"
        schema = ontology.schema("String")
        opened = self.client.create_session(name)
        topic = self.client.create_topic(
            opened.uuid,
            f"{name}/{path}",
            ontology_tag="String",
            serialization_format="default",
            metadata={"recorder": {"heartbeat_s": 10.0, "part_s": PERIOD_S}},
        )
        session.revision += 1
        row = {"timestamp_ns": session.revision, "data": json.dumps(session.to_dict())}
        batch = pa.RecordBatch.from_pylist([row], schema)
        self.client.put(f"{name}/{path}", topic, schema, [batch])

    def end(self, session: Session) -> None:
        session.stop("shutdown")
        session.finish()
        self.beat(session, "recorder/summary")

    def pass_s(self, seconds: float) -> None:
        """Everything that the station has got so far came so much earlier."""
        with sqlite3.connect(self._catalogue) as db:
            for table in ("sequences", "topics"):
                db.execute(
                    f"UPDATE {table} SET created_at_ns = created_at_ns - ?", (seconds * 1e9,)
                )
            db.execute("UPDATE topics SET completed_at_ns = completed_at_ns - ?", (seconds * 1e9,))
        db.close()

    def notes(self, session: Session) -> list[str]:
        return [one.text for one in self.client.notifications(f"drive-{session.id[:8]}")]


@pytest.fixture
def fleet(station, client, tmp_path):
    return Fleet(station, client, tmp_path / "ground")


@pytest.fixture
def observer(station):
    with Observer(Address(station.url)) as looking:
        yield looking


def lives(observer):
    return {seen.id: seen.life for seen in observer.recordings()}


def test_three_missed_periods_make_a_recording_stale_and_a_new_sign_live_again(fleet, observer):
    session = fleet.announce()
    session.happen("first_sample")
    fleet.beat(session)
    assert lives(observer) == {session.id: "live"}
    fleet.pass_s(3 * PERIOD_S - 20)
    assert lives(observer) == {session.id: "live"}
    fleet.pass_s(25)
    assert lives(observer) == {session.id: "stale"}
    fleet.beat(session, "recorder/session/p000001")
    assert lives(observer) == {session.id: "live"}


def test_of_a_recording_that_was_only_announced_silence_counts_from_then(fleet, observer):
    session = fleet.announce()
    [seen] = observer.recordings()
    assert (seen.is_announcement, seen.life, seen.record["state"]) == (True, "live", "waiting")
    fleet.pass_s(3 * PERIOD_S + 5)
    assert lives(observer) == {session.id: "stale"}


def test_any_topic_that_came_in_is_a_sign_of_life(fleet, observer):
    session = fleet.announce()
    fleet.pass_s(HOUR_S)
    fleet.beat(session, "imu/p000000")
    [seen] = observer.recordings()
    assert (seen.life, seen.is_announcement) == ("live", True)


def test_a_recording_that_waits_for_its_upload_is_draining_however_long(fleet, observer):
    session = fleet.announce()
    session.happen("first_sample")
    session.stop("power_loss")
    fleet.beat(session)
    fleet.pass_s(100 * HOUR_S)
    assert lives(observer) == {session.id: "draining"}


def test_a_terminal_record_has_ended_and_old_ones_can_be_left_out(fleet, observer):
    old, new = fleet.announce(), fleet.announce("car-8")
    fleet.end(old)
    fleet.pass_s(50 * HOUR_S)
    fleet.end(new)
    assert lives(observer) == {old.id: "ended", new.id: "ended"}
    assert [seen.id for seen in observer.recordings(ended_within_s=HOUR_S)] == [new.id]
    result = call("sessions", "--server", fleet.url, "--ended-within", 1)
    assert result.exit_code == 0
    assert new.id[:8] in result.stdout
    assert old.id[:8] not in result.stdout
    assert " ended " in result.stdout


def test_the_list_marks_what_is_stale(fleet):
    session = fleet.announce()
    fleet.pass_s(HOUR_S)
    result = call("sessions", "--server", fleet.url)
    [line] = [line for line in result.stdout.splitlines() if session.id[:8] in line]
    assert line.split()[:3] == [session.id[:8], "car-7", "stale"]
    assert "1 h 00 min ago" in line


def test_silence_alone_abandons_nothing(fleet, observer):
    session = fleet.announce()
    fleet.announce("car-8")
    fleet.pass_s(1000 * HOUR_S)
    assert [seen.life for seen in Watch(observer).look()] == ["stale", "stale"]
    assert fleet.notes(session) == []


def test_silence_beyond_the_lease_and_a_newer_recording_abandon_with_one_note(fleet, observer):
    session = fleet.announce()
    session.happen("first_sample")
    fleet.beat(session)
    fleet.pass_s(LEASE_S + HOUR_S)
    newer = fleet.announce()
    found = {seen.id: seen.life for seen in Watch(observer).look()}
    assert found == {session.id: "abandoned", newer.id: "live"}
    for _ in range(2):  # also by others that watch
        Watch(observer).look()
    [note] = fleet.notes(session)
    assert note.startswith("recording abandoned: silent for 25.0 h, and car-7 has begun")
    assert newer.id in note
    assert f"[{session.id}/abandoned]" in note
    assert fleet.notes(newer) == []
    assert lives(observer)[session.id] == "abandoned"


def test_a_newer_recording_within_the_lease_or_of_another_vehicle_abandons_nothing(fleet, observer):
    session = fleet.announce()
    fleet.pass_s(LEASE_S - HOUR_S)
    fleet.announce()
    fleet.announce("car-8")
    Watch(observer).look()
    assert fleet.notes(session) == []


def test_what_its_vehicle_took_care_of_is_not_abandoned(fleet, observer):
    adopted, ended = fleet.announce(), fleet.announce()
    adopted.stop("power_loss")
    fleet.beat(adopted)
    fleet.end(ended)
    fleet.pass_s(2 * LEASE_S)
    fleet.announce()
    Watch(observer).look()
    assert [*fleet.notes(adopted), *fleet.notes(ended)] == []


def test_watching_finalizes_and_deletes_nothing(fleet, observer):
    session = fleet.announce()
    name = f"drive-{session.id[:8]}"
    opened = fleet.client.create_session(name)
    topic = fleet.client.create_topic(
        opened.uuid,
        f"{name}/imu",
        ontology_tag="String",
        serialization_format="default",
        metadata={},
    )
    schema = ontology.schema("String")
    stream = fleet.client.open_put(f"{name}/imu", topic, schema)
    stream.write(pa.RecordBatch.from_pylist([{"timestamp_ns": 1, "data": "x"}], schema))
    stream.abort()
    fleet.pass_s(2 * LEASE_S)
    fleet.announce()
    before = fleet.client.describe_sequence(name)
    assert Watch(observer).look()[0].life == "abandoned"
    assert fleet.client.describe_sequence(name) == before
    assert not known(before).topics[0].locked


def test_while_watching_silence_is_reckoned_by_a_clock_that_never_steps(
    fleet, observer, monkeypatch
):
    session = fleet.announce()
    session.happen("first_sample")
    fleet.beat(session)
    now_s = [1000.0]
    watch = Watch(observer, now_s=lambda: now_s[0])
    assert [seen.life for seen in watch.look()] == ["live"]
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 24 * HOUR_S)  # the clock is set
    assert [seen.life for seen in watch.look()] == ["live"]
    now_s[0] += 3 * PERIOD_S + 1
    assert [seen.life for seen in watch.look()] == ["stale"]
    fleet.beat(session, "recorder/session/p000001")
    assert [seen.life for seen in watch.look()] == ["live"]


def test_an_operator_abandons_by_hand_once_and_only_what_has_not_ended(fleet, observer):
    session, ended = fleet.announce(), fleet.announce()
    fleet.end(ended)
    for _ in range(2):
        result = call("watch", "--server", fleet.url, "--abandon", session.id[:8])
        assert result.exit_code == 0
        assert "abandoned" in result.stdout
    [note] = fleet.notes(session)
    assert note == f"recording abandoned: as an operator says [{session.id}/abandoned]"
    with pytest.raises(RecorderError, match="has ended"):
        Watch(observer).abandon(ended.id)
    with pytest.raises(RecorderError, match="2 recordings begin with ''"):
        Watch(observer).abandon("")


def test_once_lists_everything_and_tells_findings_by_its_exit_code(fleet):
    assert call("watch", "--server", fleet.url, "--once").exit_code == 0
    session = fleet.announce()
    live = call("watch", "--server", fleet.url, "--once", "--json")
    assert (live.exit_code, json.loads(live.stdout)[0]["life"]) == (0, "live")
    fleet.pass_s(HOUR_S)
    stale = call("watch", "--server", fleet.url, "--once")
    assert stale.exit_code == 1
    assert f"{session.id[:8]} car-7 " in " ".join(stale.stdout.split())
    newer = fleet.announce()
    found = call("watch", "--server", fleet.url, "--once", "--lease", "0.5", "--json")
    told = {one["id"]: one["life"] for one in json.loads(found.stdout)}
    assert (found.exit_code, told) == (1, {session.id: "abandoned", newer.id: "live"})


def test_a_key_that_may_not_write_is_told(tmp_path):
    with GroundStation(tmp_path / "ground", check_keys=True) as station:
        keys = {name: station.keys.create(name.split()) for name in ("read", "read write")}
        with MosaicoClient.connect_url(station.url, api_key=keys["read write"]) as client:
            fleet = Fleet(station, client, tmp_path / "ground")
            fleet.announce()
            fleet.pass_s(2 * LEASE_S)
            fleet.announce()
            key = tmp_path / "key"
            key.write_text(keys["read"])
            key.chmod(0o600)
            with Observer(Address(station.url, key)) as observer:
                assert {seen.life for seen in observer.recordings()} == {"stale", "live"}
                with pytest.raises(RemoteForbiddenError):
                    Watch(observer).look()


def test_watching_goes_on_telling_each_change_once_until_ctrl_c(fleet):
    session = fleet.announce()
    command = [*PROGRAM, "watch", "--server", fleet.url, "--interval", "0.1", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        said = known(process.stdout)
        first = json.loads(said.readline())
        assert (first["id"], first["life"]) == (session.id, "live")
        fleet.end(session)
        second = json.loads(said.readline())
        assert (second["id"], second["life"]) == (session.id, "ended")
        other = fleet.announce("car-8")
        assert json.loads(said.readline())["id"] == other.id
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=30)
    assert (rest, process.returncode) == ("", 0)


def test_the_states_of_the_session_model_are_the_only_ones_that_end():
    ended = {state.name for state in State if state.is_terminal}
    assert {state.name for state in State} - ended == {"waiting", "open"}
