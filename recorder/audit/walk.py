"""One lane's records in their order, added up: what is there, and what is missing between them.

Two things are known of each record without believing any count: the numbers of its samples, and its
place among the bytes that the lane wrote. Where numbers are missing and no byte is, the samples
never got into the ring. Where bytes are missing too, they did, and went later: with a segment that
was given up, or on the disk. The counts that each record carries must say the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recorder.audit.books import INVALID, KEYS, LANE_LOSSES, Books

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from recorder.record import Header


@dataclass(frozen=True)
class Point:
    """A lane's counts at one place of a ring epoch, between two records."""

    position: int
    seqno: int
    expected: int
    losses: tuple[int, int, int, int]

    @classmethod
    def before(cls, header: Header) -> Point:
        """The place before a record."""
        return cls(header.position, header.seqno, header.expected - header.rows, _losses(header))

    @classmethod
    def behind(cls, header: Header) -> Point:
        """The place behind it."""
        return cls(header.end_position, header.next_seqno, header.expected, _losses(header))

    @classmethod
    def of_entry(cls, entry: Mapping[str, Any]) -> Point:
        """What a journal says of a place."""
        source, absent, broken, ring = entry["losses"]
        counts = entry["position"], entry["seqno"], entry["expected"]
        return cls(*counts, (source, absent, broken, ring))


def _losses(header: Header) -> tuple[int, int, int, int]:
    lost = header.losses
    return lost.source, lost.absent, lost.broken, lost.ring


@dataclass(frozen=True)
class Buried:
    """Samples that a tombstone gave up: their first number, and how many."""

    seqno: int
    rows: int


class Walk:
    """Adds one lane of one recording up, epoch by epoch.

    Args:
        stored: samples that the record says were stored when it was written, or None: the whole
            lane is added up. `then` and `soon` are what was found there.
        in_ring: samples that it says lay between the lane and the disk.
    """

    def __init__(self, stored: int | None = None, in_ring: int = 0) -> None:
        self.books = Books(dict.fromkeys(("expected", "acquired", "stored", *LANE_LOSSES), 0))
        for key in ("lost_damaged", "lost_write", "lost_crc", INVALID):
            self.books.counts[key] = 0
        self.rows = self.buried = 0
        #: Times of the first sample and the last, and whether none that was stored lies outside.
        self.span_ns: tuple[int, int] | None = None
        self.is_first_sure = self.is_last_sure = True
        self.problems: list[str] = []
        self._last: Point | None = None
        self._buried: Sequence[Buried] = ()
        #: What was found when as many samples were passed as the record tells of.
        self.then = Mark(stored)
        self.soon = Mark(None if stored is None else stored + in_ring)

    @property
    def is_begun(self) -> bool:
        """Whether a place of this epoch is known."""
        return self._last is not None

    def begin(self, begin: Point | None, buried: Sequence[Buried]) -> None:
        """Begin a ring epoch.

        Args:
            begin: where the recording began to take from it, or None: at the first record.
            buried: what tombstones gave up of it.
        """
        self._last, self._buried = begin, buried
        self._note()

    def record(self, header: Header, invalid: int = 0) -> None:
        """Pass a record, of whose samples so many are invalid.

        One without samples may lie before the place where the account begins.
        """
        last = self._last
        if last is not None and header.end_position <= last.position and not header.rows:
            return
        self.reach(Point.before(header), late=header.rows)
        self._last = Point.behind(header)
        if header.rows:
            first_ns = self.span_ns[0] if self.span_ns else header.boot_ns
            self.span_ns, self.is_last_sure = (first_ns, header.last_boot_ns), True
        for key in ("expected", "acquired", "stored"):
            self.books.add(key, header.rows)
        self.books.add(INVALID, invalid)
        self.rows += header.rows
        self._note(at_record=True)

    def reach(
        self, point: Point, rest: str = "lost_crc", most: int | None = None, *, late: int = 0
    ) -> None:
        """Pass what lies between the last record and a place.

        Args:
            point: the place.
            rest: cause of numbers whose bytes are missing and that nobody gave up.
            most: so many of them at most; the others were damaged in the ring.
            late: samples behind the place that may have come late, and are not absent any more.
        """
        last = self._last or point
        self._last = point
        missing = point.seqno - last.seqno
        lost = [now - before for now, before in zip(point.losses, last.losses, strict=True)]
        due = point.expected - last.expected
        # What found the ring full, or is gone, may have been late too.
        may_be_late = late + max(missing, 0)
        self._check(last, point, missing, [lost[0], lost[1] + may_be_late, *lost[2:]])
        self._check_sum(point, missing, lost, due)
        self.books.add("expected", due)
        self.books.add("acquired", missing)
        for key, count in zip(LANE_LOSSES[:3], lost, strict=False):
            self.books.add(key, count)
        if point.position == last.position:
            self.books.add("lost_ring", missing)
        else:
            given_up = sum(
                one.rows for one in self._buried if last.seqno <= one.seqno < point.seqno
            )
            self.buried += given_up
            self.books.add("lost_ring", lost[3])
            self._missing(missing - lost[3], given_up, rest, most)
        self._note()

    def _check(self, last: Point, point: Point, missing: int, lost: list[int]) -> None:
        where = f"before number {point.seqno}"
        if point.position < last.position or missing < 0 or min(lost) < 0:
            self.problems.append(f"{where}: numbers, bytes or counts run backwards")
        if point.position == last.position and missing != lost[3]:
            told = f"{missing} are missing without a byte between, {lost[3]} told as lost there"
            self.problems.append(f"{where}: {told}")

    def _check_sum(self, point: Point, missing: int, lost: list[int], due: int) -> None:
        where = f"before number {point.seqno}"
        if due != missing + sum(lost[:3]):
            told = f"{missing} numbers, {sum(lost[:3])} lost before they had one"
            self.problems.append(f"{where}: {due} were due, {told}")

    def _missing(self, missing: int, given_up: int, rest: str, most: int | None) -> None:
        """Say what became of numbers whose bytes are missing too."""
        left = missing - given_up
        if left < 0:
            seqno = self._last.seqno if self._last else 0
            told = f"{missing} stored ones are missing, and {given_up} told as given up"
            self.problems.append(f"before number {seqno}: {told}")
        damaged = 0 if most is None else max(left - most, 0)
        self.books.add(rest, left - damaged)
        self.books.add("lost_damaged", damaged)
        stored = given_up + (left if rest == "lost_crc" else 0)
        self.books.add("stored", stored)
        if stored:
            self.is_first_sure = self.is_first_sure and self.span_ns is not None
            self.is_last_sure = False

    def _note(self, *, at_record: bool = False) -> None:
        for mark in (self.then, self.soon):
            mark.note(self.books.counts, self.span_ns, at_record=at_record)


class Mark:
    """The counts while exactly so many samples were stored; from the first of these places on.

    If that was inside of what was given up since, they are known only within bounds.

    Args:
        stored: how many, or None: nobody asks.
    """

    def __init__(self, stored: int | None) -> None:
        self._stored = stored
        self.least: dict[str, int] | None = None
        self.most: dict[str, int] = {}
        #: Times of the first sample and the last that were stored then; None: nobody knows.
        self.span_ns: tuple[int, int] | None = None
        self._under: dict[str, int] = dict.fromkeys((*KEYS, INVALID), 0)
        #: Whether more samples follow, so that `most` is an upper bound.
        self.is_closed = False

    def note(
        self, counts: Mapping[str, int], span_ns: tuple[int, int] | None, *, at_record: bool
    ) -> None:
        """Look at the counts of a place: behind a record, or behind what is missing.

        Args:
            counts: so far.
            span_ns: times of the first sample and the last so far.
            at_record: whether it is behind a record.
        """
        if self._stored is None or self.is_closed:
            return
        if counts["stored"] < self._stored:
            self._under = dict(counts)
        elif counts["stored"] == self._stored:
            # Behind what was given up, losses are counted that came after its last sample.
            self.span_ns = self.span_ns or (span_ns if at_record else None)
            self.least = self.least or (dict(counts) if at_record else self._under)
            self.most = {key: max(n, self.most.get(key, n)) for key, n in counts.items()}
        else:
            self.is_closed = True
            if self.least is None and not at_record:
                self.least, self.most = self._under, dict(counts)
