"""A record that says one thing wrong beside its counts is found out, at both ends."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from drivers.base import Sample
from recorder.audit import audit_server, audit_spool
from recorder.booking import Booking
from recorder.ground import GroundStation
from recorder.mosaico import MosaicoClient
from recorder.session.session import Session
from recorder.spool.journal import Journal
from recorder.spool.spool import Spool
from recorder.upload import planner
from recorder.upload.conclusion import terminal_record
from recorder.uploader import upload_once
from tests.crash.replacing import replaced
from tests.recorder.building import PERIOD_NS
from tests.recorder.steered import Bench, bench
from tests.recorder.upload.made import GPS, IMU, Drive

Record = dict[str, Any]
#: What is a matter of the moment, and nobody else knows.
UNKNOWN = {"utc_uncertainty_ns", "clock_source"}
LANE_CLAIMS = ("name", "required", "weight", "rate_hz", "first_boot_ns", "last_boot_ns", "invalid")


def wrong(value: Any) -> Any:
    """Return another value of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    if isinstance(value, str):
        return f"{value}x"
    if isinstance(value, list):
        return [*value, "x"]
    return {**value, "x": ["y"]} if isinstance(value, dict) else 1


def recorded(one: Bench) -> None:
    """A recording that a process made, of which people said something."""
    ring = one.producer.ring
    booking = Booking(ring.state, PERIOD_NS, ring.created_boot_ns, required=True, tolerance=0.01)
    for first in (0, 10, 25):
        payload = [bytes(160)]
        at_ns = ring.created_boot_ns + first * PERIOD_NS
        booking.state = ring.state
        booked = booking.sample(Sample(at_ns, 10, payload, PERIOD_NS, counter=first))
        assert ring.put(1, 10, booked, payload, at_ns)
        one.spooler.commit()
    one.ask("set", details={"route": "loop"})
    one.ask("set", identifier="lap {id8}")
    one.ask("depend", kind="mounting", content="")


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Spool, str]]:
    with bench(tmp_path_factory.mktemp("ended")) as one:
        recorded(one)
        session_id = one.now.id
        one.ask("stop")
        yield Spool(one.config.spool_dir), session_id


def found(spool: Spool, session_id: str) -> list[str]:
    return audit_spool(spool.directory, session_id).all_differences


def with_record(spool: Spool, session_id: str, record: Record) -> list[str]:
    """Return what the audit says if a journal's newest record were another one."""
    path = spool.journal_path(session_id)
    whole = path.read_bytes()
    *lines, _ = whole.splitlines(keepends=True)
    path.write_bytes(b"".join(lines))
    journal = Journal(path)
    journal.append({"entry": "session", "session": record})
    journal.close()
    try:
        return found(spool, session_id)
    finally:
        path.write_bytes(whole)


def newest(spool: Spool, session_id: str) -> Record:
    entry = spool.entries(session_id)[-1]
    assert entry["entry"] == "session"
    record: Record = copy.deepcopy(entry["session"])
    return record


RECORD = Session("id", "00" * 16, "Test", "", "car").to_dict()


@pytest.mark.parametrize("key", sorted(RECORD.keys() - UNKNOWN - {"lanes", "state"}))
def test_one_wrong_field_of_an_ended_recording_is_found_in_its_spool(
    key: str, ended: tuple[Spool, str]
) -> None:
    assert found(*ended) == []
    record = newest(*ended)
    told = with_record(*ended, {**record, key: wrong(record[key])})
    assert told, key


@pytest.mark.parametrize("state", ["waiting", "open", "truncated", "failed", "abandoned"])
def test_a_wrong_state_is_found(state: str, ended: tuple[Spool, str]) -> None:
    record = newest(*ended)
    assert record["state"] == "closed"
    assert with_record(*ended, {**record, "state": state})
    codes = {"waiting": 1, "open": 2, "truncated": 12, "failed": 28, "abandoned": 44}
    assert with_record(*ended, {**record, "state": state, "state_code": codes[state]})


@pytest.mark.parametrize("key", LANE_CLAIMS)
def test_one_wrong_field_of_a_lane_is_found(key: str, ended: tuple[Spool, str]) -> None:
    record = newest(*ended)
    lane = record["lanes"][0]
    lane[key] = wrong(lane[key])
    assert with_record(*ended, record)


def test_times_that_fit_each_other_and_not_the_rows_are_found(ended: tuple[Spool, str]) -> None:
    for begin, end in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        record = newest(*ended)
        record["lanes"][0]["first_boot_ns"] += begin
        record["lanes"][0]["last_boot_ns"] += end
        record["start_boot_ns"] += begin
        record["duration_ns"] += end - begin
        told = with_record(*ended, record)
        assert any("by the rows" in text and "boot_ns" in text for text in told), told


def test_an_end_that_was_another_one_is_found(ended: tuple[Spool, str]) -> None:
    record = {**newest(*ended), "end_reason": "shutdown"}
    assert any("end_reason" in text for text in with_record(*ended, record))


def test_what_nobody_vouches_for_has_no_bound(ended: tuple[Spool, str]) -> None:
    record = newest(*ended)
    is_vouched = record["clock_source"] != "none"
    other = {"clock_source": "none"} if is_vouched else {"clock_source": "gps"}
    assert with_record(*ended, {**record, **other})
    bound = None if is_vouched else 5
    assert with_record(*ended, {**record, "utc_uncertainty_ns": bound})
    assert "clock_source sun, which is none" in with_record(
        *ended, {**record, "clock_source": "sun", "utc_uncertainty_ns": 5}
    )


def test_a_heartbeat_with_one_wrong_field_is_found_while_it_is_recorded(tmp_path: Path) -> None:
    with bench(tmp_path) as one:
        recorded(one)
        one.spooler.archive._next_beat_ns = 0
        one.spooler.commit()
        one.spooler.commit()
        spool, session_id = Spool(one.config.spool_dir), one.now.id
        path = spool.journal_path(session_id)
        record = [each for each in spool.entries(session_id) if each["entry"] == "session"][-1]
        assert found(spool, session_id) == []
        whole = path.read_bytes()
        # Heartbeats only have to rise, and nobody else knows how far.
        rising = {"revision", "heartbeat_seq", "heartbeat_boot_ns", "heartbeat_utc_ns"}
        skipped = UNKNOWN | rising | {"lanes", "loss_window_ns"}
        for key in record["session"].keys() - skipped:
            journal = Journal(path)
            true = record["session"]
            journal.append({"entry": "session", "session": {**true, key: wrong(true[key])}})
            journal.close()
            assert found(spool, session_id), key
            path.write_bytes(whole)


#: Fields of the terminal record, each with a value that it had not.
FINAL: dict[str, Any] = {
    "state": "truncated",
    "end_reason": "operator",
    "unaccounted_max_ns": 5,
    "start_utc_ns": 1,
    "clock_source": "pps",
    "utc_uncertainty_ns": 7,
    "identifier": "another",
    "vehicle": "another",
    "loss_window_ns": 9,
    "announced_boot_ns": 3,
    "heartbeat_s": 3.0,
    "recording": "running",
    "predecessor": "x",
    "sources": ["x"],
}


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GroundStation]:
    with GroundStation(tmp_path_factory.mktemp("station")) as one:
        yield one


def uploaded(folder: Path, station: GroundStation, seed: int) -> Drive:
    """Record and upload a drive."""
    drive = Drive(folder)
    drive.recording.close()
    drive.random.seed(1000 + seed)
    drive.begin()
    drive.tell_time()
    drive.gps(30)
    drive.imu(20)
    drive.end()
    assert upload_once(drive.config(station.url)).done == [drive.id]
    return drive


def judged(drive: Drive, station: GroundStation) -> tuple[list[str], list[str]]:
    by_spool = audit_spool(drive.spool.directory, drive.id).all_differences
    with MosaicoClient.connect_url(station.url) as client:
        return by_spool, audit_server(client, drive.id).all_differences


def forging(change: dict[str, Any]) -> Any:
    """Let every terminal record of the uploader say something else, everywhere alike."""

    class Forged:
        def __init__(self, record: Session) -> None:
            self._plain = {**record.to_dict(), **change}

        def to_dict(self) -> Record:
            return self._plain

    def forged(*arguments: Any) -> Any:
        return Forged(terminal_record(*arguments))

    return replaced((planner, "terminal_record", forged))


def test_a_recording_whose_first_lane_the_server_refused_is_equal_at_both_ends(
    tmp_path: Path, station: GroundStation
) -> None:
    imu = dataclasses.replace(IMU, ontology="NoSuchThing", on_error="ignore")
    drive = Drive(tmp_path, (GPS, imu))
    drive.recording.close()
    drive.random.seed(2000)
    drive.begin()
    drive.tell_time()
    drive._put(imu, [bytes(120)], 10, drive.start_ns)
    drive.gps(30)
    drive.end()
    assert upload_once(drive.config(station.url)).done == [drive.id]
    assert judged(drive, station) == ([], [])


@pytest.mark.parametrize("key", FINAL)
def test_one_wrong_field_of_a_terminal_record_is_found_at_both_ends(
    key: str, tmp_path: Path, station: GroundStation
) -> None:
    with forging({key: FINAL[key]}):
        drive = uploaded(tmp_path, station, seed=sorted(FINAL).index(key))
    by_spool, by_server = judged(drive, station)
    assert any(key in text for text in by_spool), by_spool
    assert any(key in text for text in by_server), by_server


@pytest.mark.parametrize("key", ["rate_hz", "required", "first_boot_ns", "last_boot_ns"])
def test_one_wrong_field_of_a_lane_is_found_at_both_ends(
    key: str, tmp_path: Path, station: GroundStation
) -> None:
    def changed(record: Session) -> dict[str, Any]:
        lanes = record.to_dict()["lanes"]
        lanes[0][key] = wrong(lanes[0][key])
        return {"lanes": lanes}

    def forged(*arguments: Any) -> Any:
        record = terminal_record(*arguments)
        plain = {**record.to_dict(), **changed(record)}
        return type("Forged", (), {"to_dict": lambda _: plain})()

    with replaced((planner, "terminal_record", forged)):
        drive = uploaded(tmp_path, station, seed=100 + len(key))
    by_spool, by_server = judged(drive, station)
    assert by_spool
    assert by_server


@pytest.mark.parametrize("is_closed", [False, True])
def test_a_commit_mark_that_says_something_else_than_its_row_is_found(
    is_closed: bool, tmp_path: Path, station: GroundStation
) -> None:
    from recorder.upload import conclusion  # noqa: PLC0415 - beside its one use

    summary = conclusion.summary_metadata

    def forged(*arguments: Any) -> Record:
        plain: Record = json.loads(json.dumps(summary(*arguments)))
        plain["session"]["duration_ns"] += int(is_closed)
        return plain

    with replaced((conclusion, "summary_metadata", forged)):
        drive = uploaded(tmp_path, station, seed=200 + is_closed)
    by_spool, by_server = judged(drive, station)
    assert by_spool == []
    assert any("duration_ns" in text for text in by_server) == is_closed


def test_a_record_of_an_older_recorder_is_held_against_what_it_says(
    ended: tuple[Spool, str],
) -> None:
    record = newest(*ended)
    for key in ("dependencies_missing", "utc_uncertainty_ns", "predecessor"):
        del record[key]
    assert with_record(*ended, record) == []
    assert with_record(*ended, {**record, "unaccounted_max_ns": 1})
