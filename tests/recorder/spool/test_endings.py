from __future__ import annotations

import json
from pathlib import Path

import pytest

from recorder.cli.sources import from_spool
from recorder.config import Upload
from recorder.spool import endings, removal
from recorder.spool.compaction import compact
from recorder.spool.endings import Endings
from recorder.spool.journal import Journal
from recorder.spool.stock import Stock
from recorder.spool.verify import verify
from recorder.upload.backlog import Backlog
from recorder.upload.traffic import Traffic
from tests.recorder.building import assert_sound
from tests.recorder.spool.yard import Yard, yard

ALL = 1 << 40


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endings, "_PERIOD_NS", 0)


def ended(one: Yard, *, beats: int = 0, is_done: bool = True, segments: int = 0) -> str:
    """Record a session of which nothing, or so many segments, are left; return its id."""
    one.put("imu")
    one.commit()
    for _ in range(beats):
        one.recording.note_session()
    one.fill("imu", segments=segments)
    session_id = one.next_session()
    if not segments:
        one.bury(session_id, one.sealed("imu", session_id))
    if is_done:
        tell(one, session_id, {"entry": "done", "server": "grpc://there:1"})
    return session_id


def tell(one: Yard, session_id: str, *entries: dict[str, object]) -> None:
    log = Journal(one.config.upload_dir / session_id)
    for each in entries:
        log.record(each)
    log.close()


def following(one: Yard) -> tuple[Stock, Endings]:
    stock = Stock(one.spool, one.config)
    stock.learn(ALL)
    return stock, Endings(one.spool, stock, one.config.upload_dir)


def removed_for_room(one: Yard) -> list[str]:
    """Return which sessions go if the disk needs everything."""
    before = one.spool.session_ids()
    following(one)[1].make_room(one.id, ALL)
    return [each for each in before if each not in one.spool.session_ids()]


# --- journals


def test_a_journal_is_rewritten_once_its_session_is_on_the_server(tmp_path: Path) -> None:
    with yard(tmp_path) as one:
        session_id = ended(one, beats=200, is_done=False, segments=1)
        path = one.spool.journal_path(session_id)
        whole = path.read_bytes()
        assert len(whole) > 2 * endings.LEAST_BYTES
        stock, its = following(one)
        its.go_on(one.id)
        assert path.read_bytes() == whole, "its heartbeats are still to be sent"
        tell(one, session_id, {"entry": "planned", "part": 0, "lane": "imu", "pieces": []})
        its.go_on(one.id)
        assert path.read_bytes() == whole
        tell(one, session_id, {"entry": "done", "server": ""})
        its.go_on(one.id)
        assert path.stat().st_size < endings.LEAST_BYTES
        assert stock.sessions[session_id].journal_bytes == path.stat().st_size
        assert_sound(one.spool.directory)
        kept = path.stat().st_ino
        its.go_on(one.id)
        assert path.stat().st_ino == kept, "and not again for nothing"


def test_where_the_spool_is_the_destination_it_is_rewritten_at_its_end(tmp_path: Path) -> None:
    with yard(tmp_path) as one:
        one.put("imu")
        one.commit()
        for _ in range(200):
            one.recording.note_session()
        session_id = one.id
        one.recording.end("operator", is_destination=True)
        one.recording = one._announce()
        following(one)[1].go_on(one.id)
        assert one.spool.journal_path(session_id).stat().st_size < endings.LEAST_BYTES


def test_the_session_under_recording_is_left_alone(tmp_path: Path) -> None:
    with yard(tmp_path) as one:
        for _ in range(200):
            one.recording.note_session()
        raw = one.spool.journal_path(one.id).read_bytes()
        _, its = following(one)
        its.go_on(one.id)
        its.go_on("")  # nor is it taken for ended because nobody says that it runs
        assert one.spool.journal_path(one.id).read_bytes() == raw


def test_a_damaged_journal_is_not_tried_again_and_again(tmp_path: Path) -> None:
    with yard(tmp_path) as one:
        session_id = ended(one, beats=200, segments=1)
        path = one.spool.journal_path(session_id)
        raw = path.read_bytes()
        path.write_bytes(raw[:5] + b"?" + raw[6:])
        _, its = following(one)
        its.go_on(one.id)
        one_look = its._due.copy()
        its.go_on(one.id)
        assert (one_look, its._due) == ([], [])
        assert path.read_bytes() == raw[:5] + b"?" + raw[6:]


# --- the end


def test_a_session_of_which_nothing_is_left_goes_when_room_is_needed_and_not_the_newest(
    tmp_path: Path,
) -> None:
    with yard(tmp_path) as one:
        gone = [ended(one) for _ in range(3)]
        one.recording.close()
        assert removed_for_room(one) == gone
        assert one.spool.session_ids() == [one.id]
        assert_sound(one.spool.directory)
        assert one.spool.number(one.id) == 4


@pytest.mark.parametrize("why", ["not done", "pinned", "leased", "a segment", "a strange file"])
def test_it_stays_as_long_as_somebody_needs_it(tmp_path: Path, why: str) -> None:
    with yard(tmp_path) as one:
        first = ended(one, is_done=why != "not done", segments=int(why == "a segment"))
        lane = one.spool.session_dir(first) / "imu"
        if why == "pinned":
            pin = {"entry": "pin", "from_boot_ns": None, "to_boot_ns": None}
            with_pin = Journal(one.spool.journal_path(first))
            with_pin.record(pin)
            with_pin.close()
        elif why == "leased":
            pieces = [["000000000000-0000000000000001.seg", 0, 1, 1]]
            tell(one, first, {"entry": "planned", "part": 9, "lane": "imu", "pieces": pieces})
        elif why == "a strange file":
            (lane / "notes.txt").write_text("mine")
        second = ended(one)
        assert removed_for_room(one) == [second]
        assert first in one.spool.session_ids()


def test_delivered_segments_go_before_sessions_and_sessions_before_undelivered_ones(
    tmp_path: Path,
) -> None:
    with yard(tmp_path) as one:
        empty = ended(one)
        one.fill("imu", segments=3)
        delivered = one.sealed("imu")[:1]
        one.plan(0, delivered)
        one.receive(0, delivered)
        before = one.files()
        one.room(missing_bytes=1).keep(one.recording)
        assert before - one.files() == set(delivered)
        assert empty in one.spool.session_ids()
        one.room(missing_bytes=1).keep(one.recording)
        assert empty not in one.spool.session_ids()
        assert before - one.files() == set(delivered), "that was room enough"
        one.room(missing_bytes=1).keep(one.recording)
        assert len(before - one.files()) == 2


def test_what_no_server_holds_leaves_its_record_and_only_the_number_of_sessions_ends_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with yard(tmp_path) as one:
        one.put("imu")
        one.commit()
        kept = one.id
        one.recording.end("operator", is_destination=True)
        one.bury(kept, one.sealed("imu"))
        one.recording = one._announce()
        assert removed_for_room(one) == []
        (shown, _) = from_spool(one.spool)
        assert (shown["id"], shown["lanes"][1]["lost_evicted"]) == (kept, 1000)
        monkeypatch.setattr(endings, "MOST_SESSIONS", 1)
        following(one)[1].go_on(one.id)
        assert one.spool.session_ids() == [one.id]


def test_beyond_a_number_the_oldest_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endings, "MOST_SESSIONS", 3)
    with yard(tmp_path) as one:
        held = ended(one, segments=1)
        empty = [ended(one) for _ in range(4)]
        one.known().keep(one.recording)
        assert one.spool.session_ids() == [held, empty[-1], one.id]
        assert {each["id"] for each in from_spool(one.spool)} == {held, empty[-1], one.id}
        assert_sound(one.spool.directory)


def test_what_a_death_left_of_a_removal_is_no_session_and_goes_later(tmp_path: Path) -> None:
    with yard(tmp_path) as one:
        first = ended(one)
        removal.remove(one.spool, first)
        folder = one.spool.directory / "gone" / first
        assert (folder / "journal").exists()
        assert one.spool.session_ids() == [one.id]
        assert list(verify(one.spool.directory).unknown) == []
        assert removal.removed(one.spool) == []
        removal.clear(one.spool, one.config.upload_dir)
        assert removal.removed(one.spool) == [first], "the uploader has a journal of it"
        (one.config.upload_dir / first).unlink()
        removal.clear(one.spool, one.config.upload_dir)
        assert not folder.exists()


def test_the_uploader_forgets_what_was_removed_and_only_that(tmp_path: Path) -> None:
    with yard(tmp_path) as one:
        first, second = ended(one), ended(one)
        elsewhere = one.config.upload_dir / "elsewhere"
        elsewhere.mkdir()
        for session_id in (first, second):
            (elsewhere / f"{session_id}-0").write_bytes(b"")
        traffic = Traffic(one.config.upload_dir / ".traffic", Upload(mode="off"), lambda: None)
        backlog = Backlog(one.config, traffic, lambda *_: None, None)
        backlog.look()
        assert set(backlog.before) == {first, second}
        following(one)[1].make_room(one.id, 1)
        backlog.look()
        backlog.close()
        assert set(backlog.before) == {second}
        names = {path.name for path in one.config.upload_dir.iterdir()}
        assert first not in names
        assert second in names
        assert [path.name for path in elsewhere.iterdir()] == [f"{second}-0"]
        following(one)[1].go_on(one.id)
        assert not (one.spool.directory / "gone" / first).exists()


def test_a_session_of_thousands_of_segments_ends_as_a_small_journal(tmp_path: Path) -> None:
    with yard(tmp_path) as one:
        one.put("imu")
        one.commit()
        session_id = one.next_session()
        path = one.spool.journal_path(session_id)
        (sealed,) = [each for each in one.spool.entries(session_id) if each["entry"] == "sealed"]
        log = Journal(path)
        for number in range(1, 3000):
            file = f"{number * 1000:012d}{sealed['file'][12:]}"
            log.append({**sealed, "file": file, "seqno": number * 1000 + 1000})
            stone = {"entry": "evicted", "lane": "imu", "file": file, "rows": 1000}
            log.append({**stone, "delivered": True, "leased": False})
        log.sync()
        log.close()
        before = path.stat().st_size
        compact(path, is_settled=True)
        assert before > 500_000
        assert path.stat().st_size < 20_000, json.dumps(one.spool.entries(session_id))[:2000]
