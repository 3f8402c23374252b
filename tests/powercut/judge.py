"""Holds what lies on a disk after a cut and a recovery against what was promised."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.powercut.oracle import Book, Promise, Put
    from tests.powercut.survey import Stored, Survey, Tombstone


@dataclass
class Verdict:
    """What was found at one cut.

    Args:
        lost: committed rows that are not there, and that no tombstone accounts for.
        doubled: rows that are there twice.
        wrong: rows that nobody acquired, or with other bytes.
        unaccounted: rows that are missing, or there, against what the ledger or a tombstone says.
        problems: everything that is not as it was promised, in words; the four above too.
        loss_ns: age, at the cut, of the oldest row that is not there; 0 if all are.
        promised_ns: what that may be at most; None where the spool process had died before.
        is_torn: whether a torn tail was there to be cut.
        during: what was going on.
    """

    lost: int = 0
    doubled: int = 0
    wrong: int = 0
    unaccounted: int = 0
    problems: list[str] = field(default_factory=list)
    loss_ns: int = 0
    promised_ns: int | None = None
    is_torn: bool = False
    during: list[str] = field(default_factory=list)

    @property
    def excess_ns(self) -> int | None:
        """By how much the loss is longer than promised; None where nothing was."""
        return None if self.promised_ns is None else self.loss_ns - self.promised_ns

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


class Judge:
    """Judges one cut.

    Args:
        promise: what the disk must hold.
        books: what was acquired, by lane.
    """

    def __init__(self, promise: Promise, books: dict[str, Book]) -> None:
        self._promise, self._books = promise, books
        self.verdict = Verdict(during=sorted(promise.during))

    def judge(self, found: Survey) -> Verdict:
        """Compare; the verdict's problems are empty if every promise was kept."""
        verdict = self.verdict
        verdict.problems += found.problems
        for lane, book in self._books.items():
            self._lane(lane, book, found)
        self._sessions(found)
        self._waters(found)
        self._window()
        return verdict

    def _lane(self, lane: str, book: Book, found: Survey) -> None:
        stored, stones = found.stored.get(lane, []), found.tombstones.get(lane, [])
        puts = {one.seqno: one for one in book.puts}
        self._check_rows(lane, stored, puts)
        if (read := found.read.get(lane, [])) != stored:
            self._check_rows(lane, read, puts)
        evicted = _evicted(book, stones)
        there = {one.seqno for one in stored} | evicted
        promise = self._promise
        due = max(book.freed(promise.freed.get(book.epoch, 0)), book.until(promise.taken_ns))
        lost = sum(one.rows for one in book.puts[:due] if _is_missing(one, there))
        self._count("lost", lost, f"{lane}: {lost} committed rows are lost")
        self._check_tail(lane, book, there, due, found)
        self._check_ledger(lane, stored, stones, found)

    def _count(self, what: str, rows: int, text: str) -> None:
        if rows:
            setattr(self.verdict, what, getattr(self.verdict, what) + rows)
            self.verdict.problems.append(text)

    def _check_rows(self, lane: str, stored: list[Stored], puts: dict[int, Put]) -> None:
        seen: set[int] = set()
        for one in stored:
            if one.seqno in seen:
                text = f"{lane}: {one.rows} rows from {one.seqno} on are there twice"
                self._count("doubled", one.rows, text)
            seen.add(one.seqno)
            put = puts.get(one.seqno)
            if put is None or (put.rows, put.crc) != (one.rows, one.crc) or not put.is_kept:
                text = f"{lane}: the rows from {one.seqno} on are not what was acquired"
                self._count("wrong", one.rows, text)

    def _check_tail(self, lane: str, book: Book, there: set[int], due: int, found: Survey) -> None:
        """Note how old the oldest missing row is; numbers between others must be in the ledger."""
        before = [one for one in book.puts[due:] if one.begin_ns < self._promise.at_ns]
        missing = [one for one in before if _is_missing(one, there)]
        if missing:
            age_ns = self._promise.at_ns - missing[0].begin_ns
            self.verdict.loss_ns = max(self.verdict.loss_ns, age_ns)
        end = max(there, default=-1)
        holes = sum(one.rows for one in missing if one.seqno < end)
        told = _total(found, lane, "lost_crc")
        text = f"{lane}: {holes} rows are missing between others, the ledger knows of {told}"
        self._count("unaccounted", max(holes - told, 0), text)

    def _check_ledger(
        self, lane: str, stored: list[Stored], stones: list[Tombstone], found: Survey
    ) -> None:
        rows = sum(one.rows for one in stored)
        buried = sum(one.rows for one in stones if one.is_gone)
        known = rows + buried + _total(found, lane, "lost_crc")
        told = _total(found, lane, "stored")
        text = f"{lane}: the ledgers say {told} rows were stored, the disk accounts for {known}"
        self._count("unaccounted", abs(told - known), text)
        end = max((one.seqno + one.rows for one in stored), default=0)
        acquired, most = _total(found, lane, "acquired"), self._acquired(lane)
        if not end <= acquired <= most:
            text = f"{lane}: ledgers say {acquired} acquired, the disk {end}, the producer {most}"
            self._count("unaccounted", max(end - acquired, acquired - most), text)
        alive = sum(one.rows for one in stones if not one.is_gone)
        self._count("unaccounted", alive, f"{lane}: {alive} rows have a tombstone and are there")

    def _acquired(self, lane: str) -> int:
        puts = self._books[lane].puts
        return sum(one.rows for one in puts if one.begin_ns < self._promise.at_ns)

    def _sessions(self, found: Survey) -> None:
        for session in found.sessions.values():
            for one in session.lanes:
                self.verdict.problems += one.imbalances()
        for session_id in self._promise.announced - found.sessions.keys():
            self.verdict.problems.append(f"session {session_id} was announced and is not there")
        for session_id in self._promise.ended & found.sessions.keys():
            session = found.sessions[session_id]
            if session.recording != "stopped" or session.end_reason == "power_loss":
                self.verdict.problems.append(f"session {session_id}: its end is not there")

    def _waters(self, found: Survey) -> None:
        for session_id, ends in self._promise.waters.items():
            for lane, (name, end_bytes) in ends.items():
                stones = found.tombstones.get(lane, [])
                first = int(name.partition("-")[0])
                if found.ends.get((session_id, lane, name), 0) >= end_bytes:
                    continue
                if not any(one.first_seqno <= first <= one.last_seqno for one in stones):
                    text = f"{session_id[:8]}/{lane}/{name} ends before its watermark {end_bytes}"
                    self.verdict.problems.append(text)

    def _window(self) -> None:
        promise = self._promise
        if promise.is_steady:
            in_flight_ns = promise.at_ns - promise.begun_ns if promise.begun_ns else 0
            self.verdict.promised_ns = promise.interval_ns + in_flight_ns


def _is_missing(one: Put, there: set[int]) -> bool:
    return one.is_kept and one.seqno not in there


def _evicted(book: Book, stones: list[Tombstone]) -> set[int]:
    """Return the first numbers of all records that lay in segments that were given up."""
    found: set[int] = set()
    for stone in stones:
        left = stone.rows
        for one in book.puts:
            if left > 0 and one.is_kept and one.seqno >= stone.first_seqno:
                found.add(one.seqno)
                left -= one.rows
    return found


def _total(found: Survey, lane: str, key: str) -> int:
    return sum(
        int(getattr(one, key))
        for session in found.sessions.values()
        for one in session.lanes
        if one.name == lane
    )
