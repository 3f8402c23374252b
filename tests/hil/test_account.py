"""How the bench judges a cut of the power: every kind of fault is found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hil.cuts.account import Found, Rows, judge, known
from hil.cuts.drive import Drive, Look, moments
from hil.cuts.tally import Tally
from tests.powercut.blocklog import FLUSH, WRITE, Entry

SECOND_NS = 10**9
EPOCH = 0xAB
FILE, NEXT = (f"{seqno:012d}-{EPOCH:016x}.seg" for seqno in (0, 50))
SESSION = "a session"


def rows(seqno: int, file: str = FILE) -> Rows:
    """Return ten rows, a second long, that end at ten bytes each."""
    return Rows(SESSION, file, seqno + 10, 10, seqno, (100 + seqno // 10) * SECOND_NS)


EVERYTHING = {
    ("imu", EPOCH, seqno): rows(seqno, FILE if seqno < 50 else NEXT) for seqno in range(0, 100, 10)
}


def found(*seqnos: int) -> Found:
    """Return a spool with some of the rows."""
    return Found({key: EVERYTHING[key] for key in EVERYTHING if key[2] in seqnos}, told={"imu": 0})


def drive() -> Drive:
    """Return a drive of ten requests, one a second; at the 7th it promised 70 rows."""
    return Drive(
        Path(),
        [
            Look(2, SESSION, {"imu": (FILE, 20)}, SECOND_NS),
            Look(7, SESSION, {"imu": (NEXT, 70)}, 2 * SECOND_NS),
        ],
        _counts=list(range(11)),
        _seen_ns=[(100 + second) * SECOND_NS for second in range(11)],
        _least_ns=[0],
        _most_ns=[0],
    )


def test_what_was_not_promised_may_be_missing() -> None:
    verdict = judge(found(*range(0, 70, 10)), EVERYTHING, drive(), 7)
    assert verdict.problems == []
    # The power was there until the eighth request came, at 108 s; the rows of 107 s are the oldest.
    assert (verdict.loss_ns, verdict.promised_ns) == (SECOND_NS, 2 * SECOND_NS)


@pytest.mark.parametrize(("at", "lost"), [(1, 0), (2, 10), (6, 10), (7, 60)])
def test_what_a_watermark_promised_is_missed_from_then_on(at: int, lost: int) -> None:
    assert judge(found(0), EVERYTHING, drive(), at).lost == lost


def test_what_was_given_up_with_a_tombstone_is_not_lost() -> None:
    there = found(50, 60)
    assert judge(there, EVERYTHING, drive(), 7).lost == 50
    there.stones.append(("imu", FILE, FILE))
    assert judge(there, EVERYTHING, drive(), 7).problems == []


def test_rows_that_are_missing_between_others_are_unaccounted_unless_a_ledger_knows() -> None:
    there = found(0, 10, 30)
    assert judge(there, EVERYTHING, drive(), 2).unaccounted == 10
    there.told["imu"] = 10
    assert judge(there, EVERYTHING, drive(), 2).unaccounted == 0


def test_rows_with_other_bytes_are_wrong() -> None:
    there = found(0, 10)
    there.rows["imu", EPOCH, 10] = replace(rows(10), crc=99)
    assert judge(there, EVERYTHING, drive(), 2).wrong == 10


def test_what_one_cut_lost_another_one_had() -> None:
    assert known([found(0, 10), found(10, 20)]) == found(0, 10, 20).rows


def test_a_moment_is_where_a_line_stands_for_the_first_time() -> None:
    line = b'0123abcd {"entry":"announced","number":1}\n'
    more = line + b'89abcdef {"entry":"evicted","lane":"imu"}\n'
    told = [b"", line, b"", more, more]
    entries = [Entry(WRITE if one else FLUSH, 0, memoryview(one), 0) for one in told]
    assert moments(entries) == {"session start": [2], "eviction": [4]}


def test_a_loss_that_is_longer_than_promised_is_told() -> None:
    tally = Tally()
    tally.add(judge(found(*range(0, 70, 10)), EVERYTHING, drive(), 7), 0)
    assert (tally.too_long, tally.excess_ns) == (0, -SECOND_NS)
    verdict = judge(found(*range(0, 70, 10)), EVERYTHING, drive(), 10)
    assert verdict.excess_ns == SECOND_NS  # three seconds, and two were promised
    tally.add(verdict, SECOND_NS)
    assert tally.too_long == 0
    tally.add(verdict, SECOND_NS - 1)
    assert tally.too_long == 1


@pytest.mark.parametrize(("at", "promised_ns"), [(1, None), (2, 2), (6, 2), (7, 2), (9, 2)])
def test_of_a_commit_in_flight_the_promise_is_said_behind_it(
    at: int, promised_ns: int | None
) -> None:
    said = drive().promised_ns(at)
    assert said == (None if promised_ns is None else promised_ns * SECOND_NS)
