from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from recorder.spool import journal
from recorder.spool.journal import Journal
from recorder.spool.tail import Tail

ENTRIES: list[dict[str, Any]] = [
    {"entry": "announced", "number": 1},
    {"entry": "session", "session": {"state": "open"}},
    {"entry": "sealed", "file": "a", "rows": 3},
    {"entry": "pin", "from_boot_ns": None, "to_boot_ns": 5},
]
TOLD = [one for one in ENTRIES if one["entry"] != "session"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    log = Journal(tmp_path / "journal")
    for one in ENTRIES:
        log.append(one)
    log.close()
    return log.path


def test_wherever_a_journal_was_cut_each_line_is_told_once(path: Path) -> None:
    whole = path.read_bytes()
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        tail = Tail(path)
        told = tail.news().entries
        assert tail.end_bytes == journal.contents(path).end_bytes
        path.write_bytes(whole)
        told += tail.news().entries
        assert told == TOLD
        assert tail.news().read_bytes == 0


def test_whichever_byte_is_hurt_costs_its_own_line_and_no_other(path: Path) -> None:
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x20]) + whole[at + 1 :])
        sound = [one for one in journal.read(path) if one["entry"] != "session"]
        assert Tail(path).news().entries == sound


def test_what_a_writer_cut_off_and_wrote_over_is_read_as_it_is_now(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"torn half of a line\nand more")
    tail = Tail(path)
    assert tail.news().entries == TOLD
    log = Journal(path)
    log.append({"entry": "evicted", "file": "a"})
    log.append({"entry": "unpin"})
    log.close()
    assert tail.news().entries == [{"entry": "evicted", "file": "a"}, {"entry": "unpin"}]


def test_a_journal_that_came_and_went_is_empty(tmp_path: Path) -> None:
    tail = Tail(tmp_path / "journal")
    assert tail.news().entries == []
    log = Journal(tail.path)
    log.append(ENTRIES[0])
    log.close()
    news = tail.news()
    assert (news.is_anew, news.entries) == (True, ENTRIES[:1])
    tail.path.unlink()
    news = tail.news()
    assert (news.is_anew, news.entries) == (True, [])


def test_a_journal_in_place_of_another_is_read_from_its_beginning(path: Path) -> None:
    tail = Tail(path)
    tail.news()
    log = Journal(path.with_name("other"))
    others = [{"entry": "sealed", "file": str(number)} for number in range(20)]
    for one in others:
        log.append(one)
    log.close()
    log.path.replace(path)
    news = tail.news()
    assert (news.is_anew, news.entries) == (True, others)


def test_heartbeats_are_told_to_whoever_wants_them(path: Path) -> None:
    tail = Tail(path, with_beats=True)
    news = tail.news()
    assert news.entries == ENTRIES
    assert news.beats == 1
    log = Journal(path)
    log.append(ENTRIES[1])
    log.close()
    assert tail.news().entries == [ENTRIES[1]]
