from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from recorder.cli.sources import from_spool
from recorder.clock import boot_ns
from recorder.spool import journal
from recorder.spool.compaction import compact
from recorder.spool.spool import Spool
from recorder.spool.stock import Stock
from recorder.spool.tail import Tail
from recorder.spool.verify import verify
from recorder.upload.parts import MARKS, SESSION_LOG
from recorder.upload.rows import own_lines
from tests.recorder.building import assert_sound, full_disk
from tests.recorder.spool.yard import Yard, yard

ALL = 1 << 40


def drive(one: Yard, beats: int = 20, **segments: int) -> str:
    """Record a session with so many segments of each lane, marks, pins and heartbeats; end it."""
    one.recording.note({"entry": "mark", "label": "there", "boot_ns": 1})
    for _ in range(beats):
        beat(one)
    for lane, count in segments.items():
        one.fill(lane, segments=count)
    one.recording.note({"entry": "command", "command": "set", "details": {"a": 1}})
    beat(one)
    return one.next_session()


def beat(one: Yard) -> None:
    now_ns = boot_ns()
    one.recording.session.beat(now_ns, 1_700_000_000_000_000_000 + now_ns)
    one.recording.note_session()


def kinds(one: Yard, session_id: str) -> dict[str, int]:
    names = [each["entry"] for each in one.spool.entries(session_id)]
    return {name: names.count(name) for name in names}


def without(entries: list[dict[str, Any]], *kinds: str) -> list[dict[str, Any]]:
    return [one for one in entries if one["entry"] not in kinds]


def test_of_a_session_that_may_still_be_sent_every_row_of_its_own_topics_stays(
    tmp_path: Path,
) -> None:
    with yard(tmp_path) as one:
        ended = drive(one, imu=3)
        one.bury(ended, one.sealed("imu", ended)[:2])
        before = one.spool.entries(ended)
        assert compact(one.spool.journal_path(ended), is_settled=False)
        after = one.spool.entries(ended)
        for topic in (SESSION_LOG, MARKS):
            assert list(own_lines(topic, after, None)) == list(own_lines(topic, before, None))
        assert without(after, "segment", "sealed") == without(before, "segment", "sealed")
        assert len(one.tombstones(ended)) == 2
        assert kinds(one, ended)["segment"] == 2  # the one that is sealed, and the last
        assert_sound(one.spool.directory)


def test_of_a_settled_session_the_first_and_the_last_heartbeat_stay_and_all_that_was_said(
    tmp_path: Path,
) -> None:
    with yard(tmp_path) as one:
        ended = drive(one, imu=2, camera=1)
        path = one.spool.journal_path(ended)
        before, size = one.spool.entries(ended), path.stat().st_size
        shown = from_spool(one.spool)
        assert compact(path, is_settled=True)
        after = one.spool.entries(ended)
        beats = [each for each in before if each["entry"] == "session"]
        told = next(each for each in beats if each["session"]["heartbeat_utc_ns"])
        assert [each for each in after if each["entry"] == "session"] == [told, beats[-1]]
        assert without(after, "session") == without(before, "session")
        assert after[0] == before[0]
        assert path.stat().st_size < size / 3
        assert from_spool(one.spool) == shown
        assert_sound(one.spool.directory)


def test_tombstones_in_a_row_become_one_and_every_count_stays(tmp_path: Path) -> None:
    with yard(tmp_path) as one:
        ended = drive(one, imu=7, gps=3)
        imu, gps = one.sealed("imu", ended), one.sealed("gps", ended)[:3]
        one.bury(ended, [*imu[:2], *gps])
        one.bury(ended, imu[3:6], delivered=True)
        shown, checked = from_spool(one.spool), verify(one.spool.directory).to_dict()
        compact(one.spool.journal_path(ended), is_settled=True)
        stones = one.tombstones(ended)
        assert sorted((each["lane"], each["file"], each["files"]) for each in stones) == [
            ("gps", gps[0].name, 3),
            ("imu", imu[0].name, 2),
            ("imu", imu[3].name, 3),
        ]
        last = {each["file"]: each["last_file"] for each in stones}
        assert last == {
            gps[0].name: gps[2].name,
            imu[0].name: imu[1].name,
            imu[3].name: imu[5].name,
        }
        assert from_spool(one.spool) == shown
        assert verify(one.spool.directory).to_dict() == checked
        assert_sound(one.spool.directory)


def test_compaction_may_be_done_again_and_again_as_more_is_given_up(tmp_path: Path) -> None:
    with yard(tmp_path) as one:
        ended = drive(one, imu=6)
        paths = one.sealed("imu", ended)
        journal_path = one.spool.journal_path(ended)
        sealed = [each for each in one.spool.entries(ended) if each["entry"] == "sealed"]
        rows = sum(each["rows"] for each in sealed if each["file"] in {path.name for path in paths})
        for path in paths:
            one.bury(ended, [path])
            compact(journal_path, is_settled=True)
            raw = journal_path.read_bytes()
            compact(journal_path, is_settled=True)
            assert journal_path.read_bytes() == raw
        (stone,) = one.tombstones(ended)
        assert (stone["files"], stone["rows"]) == (len(paths), rows)
        assert_sound(one.spool.directory)


def test_what_a_loss_of_power_brought_back_is_gone_before_its_name_is(tmp_path: Path) -> None:
    with yard(tmp_path) as one:
        ended = drive(one, imu=4)
        paths = one.sealed("imu", ended)
        raw = paths[1].read_bytes()
        one.bury(ended, paths[:3])
        paths[1].write_bytes(raw)
        compact(one.spool.journal_path(ended), is_settled=True)
        assert not paths[1].exists()
        assert len(one.tombstones(ended)) == 1
        assert_sound(one.spool.directory)


def test_a_damaged_journal_stays_as_it_is_and_a_torn_end_goes(tmp_path: Path) -> None:
    with yard(tmp_path) as one:
        ended = drive(one, imu=1)
        path = one.spool.journal_path(ended)
        whole = path.read_bytes()
        second = whole.index(b"\n") + 5
        damaged = whole[:second] + b"?" + whole[second + 1 :]
        path.write_bytes(damaged)
        assert not compact(path, is_settled=True)
        assert path.read_bytes() == damaged
        path.write_bytes(whole + b'01234567 {"entry":"tor')
        assert compact(path, is_settled=True)
        assert journal.contents(path).torn_bytes == 0


def test_whoever_reads_the_old_journal_reads_it_to_its_end(tmp_path: Path) -> None:
    with yard(tmp_path) as one:
        ended = drive(one, imu=3)
        path = one.spool.journal_path(ended)
        tail = Tail(path)
        before = tail.news().entries
        with path.open("rb") as file:
            head = file.read(100)
            compact(path, is_settled=True)
            whole = head + file.read()
        copy = tmp_path / "copy"
        copy.write_bytes(whole)
        assert without(journal.read(copy), "session") == before
        news = tail.news()
        assert news.is_anew
        assert news.entries == before


def test_a_stock_that_follows_knows_the_same_before_and_after(tmp_path: Path) -> None:
    with yard(tmp_path) as one:
        ended = drive(one, imu=5, camera=2)
        one.bury(ended, one.sealed("imu", ended)[:3])
        stock = Stock(one.spool, one.config)
        stock.learn(ALL)
        before = stock.sessions[ended]
        keys, evicted = set(before.segments), sum(before.evicted.values())
        size = before.journal_bytes
        compact(one.spool.journal_path(ended), is_settled=True)
        after = stock.follow(ended)
        assert set(after.segments) == keys
        assert sum(after.evicted.values()) == evicted
        assert after.journal_bytes == one.spool.journal_path(ended).stat().st_size < size


def test_a_disk_that_takes_no_new_journal_keeps_the_old_one(tmp_path: Path) -> None:
    with yard(tmp_path) as one:
        ended = drive(one, imu=1)
        path = one.spool.journal_path(ended)
        raw = path.read_bytes()
        with full_disk(1000), pytest.raises(OSError, match=os.strerror(errno.EFBIG)):
            compact(path, is_settled=True)
        assert path.read_bytes() == raw
        assert [each.name for each in path.parent.iterdir() if each.is_file()] == ["journal"]


def test_a_draft_of_a_process_that_died_is_in_nobodys_way(tmp_path: Path) -> None:
    with yard(tmp_path) as one:
        ended = drive(one, imu=1)
        path = one.spool.journal_path(ended)
        (path.parent / ".journal").write_bytes(path.read_bytes()[:500])
        assert_sound(one.spool.directory)
        assert compact(path, is_settled=True)
        assert not (path.parent / ".journal").exists()


def test_the_newest_record_is_found_while_another_journal_is_put_in_place(tmp_path: Path) -> None:
    with yard(tmp_path) as one:
        ended = drive(one, beats=60, imu=1)
        path = one.spool.journal_path(ended)
        whole = path.read_bytes()
        path.write_bytes(whole + b'{"entry":"nothing"}\n' * 20_000)  # to be read in several steps
        other = tmp_path / "other"
        other.mkdir()
        shutil.copy(path, other / "journal")
        compact(path, is_settled=True)
        with (other / "journal").open("rb") as file:
            lines = journal._backwards(file)
            first = next(lines)
            shutil.copy(path, other / "new")
            (other / "new").replace(other / "journal")
            assert b"".join(reversed([first, *lines])) == whole + b'{"entry":"nothing"}\n' * 20_000


def test_a_compacted_session_is_named_and_numbered_as_before(tmp_path: Path) -> None:
    with yard(tmp_path) as one:
        ended = drive(one, imu=1)
        number = one.spool.number(ended)
        compact(one.spool.journal_path(ended), is_settled=True)
        again = Spool(one.spool.directory)
        assert again.number(ended) == number
        assert again.session_ids() == [ended, one.id]
