from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.spool import journal
from recorder.spool.journal import Journal
from tests.recorder.building import full_disk

values = st.none() | st.booleans() | st.integers() | st.text(max_size=20)
entries = st.dictionaries(st.text(max_size=8), values | st.lists(values, max_size=3), max_size=4)


def written(path: Path, lines: list[dict[str, object]]) -> bytes:
    log = Journal(path)
    for line in lines:
        log.append(line)
    log.sync()
    log.close()
    return path.read_bytes()


LINES: list[dict[str, object]] = [{"entry": "one", "n": 1}, {"x": "ü\r\n\u2028"}, {"entry": "last"}]


@given(lines=st.lists(entries, max_size=6))
def test_what_was_appended_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, lines: list[dict[str, object]]
) -> None:
    path = tmp_path_factory.mktemp("log") / "journal"
    written(path, lines)
    assert journal.read(path) == lines
    assert journal.first(path) == (lines[0] if lines else None)
    assert Journal(path).entries == lines


def test_a_journal_torn_at_every_byte_keeps_the_whole_lines_and_can_be_written_on(
    tmp_path: Path,
) -> None:
    path = tmp_path / "journal"
    raw = written(path, LINES)
    for length in range(len(raw)):
        path.write_bytes(raw[:length])
        whole = raw[:length].count(b"\n")
        found = journal.contents(path)
        assert found.entries == LINES[:whole]
        assert found.damaged_lines == 0
        log = Journal(path)
        log.record({"new": length})
        log.close()
        assert journal.read(path) == [*LINES[:whole], {"new": length}]


def test_lines_that_are_not_asked_for_are_checked_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    beat: dict[str, object] = {"entry": "session", "session": {"id": "x"}}
    raw = written(path, [LINES[0], beat, LINES[2], beat])
    whole, lean = journal.contents(path), journal.contents(path, journal.BULK)
    assert lean.entries == [LINES[0], LINES[2]]
    assert lean.end_bytes == whole.end_bytes == len(raw)
    at = raw.index(b"session")
    path.write_bytes(raw[:at] + b"S" + raw[at + 1 : -5])
    found = journal.contents(path, journal.BULK)
    assert found.entries == [LINES[0], LINES[2]]
    assert found.damaged_lines == 1
    assert found.torn_bytes == len(journal.line_of(beat)) - 5


def test_a_journal_flipped_at_every_bit_loses_no_line_behind_the_damage(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    raw = written(path, LINES)
    ends = [at for at, byte in enumerate(raw) if byte == ord("\n")]
    for at in range(len(raw)):
        for bit in range(8):
            flipped = bytearray(raw)
            flipped[at] ^= 1 << bit
            path.write_bytes(flipped)
            hurt = sum(end < at for end in ends)
            # Without its newline a line swallows the next one.
            hurt_too = {hurt, hurt + 1} if at in ends else {hurt}
            left = [line for index, line in enumerate(LINES) if index not in hurt_too]
            found = journal.contents(path)
            assert found.entries == left
            if hurt < len(LINES) - 1 and left[-1:] == LINES[-1:]:
                assert found.damaged_lines
            log = Journal(path)
            log.record({"new": 1})
            log.close()
            assert journal.read(path) == [*left, {"new": 1}]


@given(junk=st.binary(max_size=200))
def test_any_bytes_make_no_entry_and_no_error(
    tmp_path_factory: pytest.TempPathFactory, junk: bytes
) -> None:
    path = tmp_path_factory.mktemp("log") / "journal"
    path.write_bytes(junk)
    assert journal.read(path) == []
    assert journal.first(path) is None


@pytest.mark.parametrize("room_bytes", [0, 1, 12])
def test_a_line_that_the_disk_did_not_take_costs_no_other_line(
    tmp_path: Path, room_bytes: int
) -> None:
    path = tmp_path / "journal"
    log = Journal(path)
    log.record({"entry": "before"})
    size = path.stat().st_size
    with full_disk(size + room_bytes), pytest.raises(OSError, match="too large"):
        log.append({"entry": "lost"})
    assert path.stat().st_size == size
    log.record({"entry": "behind"})
    log.close()
    assert [one["entry"] for one in journal.read(path)] == ["before", "behind"]


def test_a_long_journal_takes_blocks_ahead_and_gives_back_what_it_did_not_use(
    tmp_path: Path,
) -> None:
    path = tmp_path / "journal"
    log = Journal(path, is_long=True)
    taken = set()
    for number in range(2000):
        log.append({"entry": "line", "number": number})
        taken.add(path.stat().st_blocks)
    assert len(taken) == 2, "a line took blocks of its own"
    assert max(taken) * 512 > path.stat().st_size
    log.close()
    # A page at most more than its lines need.
    assert path.stat().st_blocks * 512 < path.stat().st_size + 8192
    assert [one["number"] for one in journal.read(path)] == list(range(2000))


def test_an_absent_journal_is_empty(tmp_path: Path) -> None:
    assert journal.read(tmp_path / "none") == []
    assert journal.first(tmp_path / "none") is None
