"""The account of one lane of a recording: its ledger, kept from what is written and told.

What no record tells stands in the session's journal, so that anybody can add the account up again:

    closing     at the recording's end: `absent`, slots that passed without a process of the lane;
                of each ring that was `left`: counts up to where it was taken, rows left in it
    epoch       the lane's counts when the session began to take from a ring
    told        what the last heartbeat knew of a lane and the disk does not, nor any ring: power
                was lost, or somebody removed the ring
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from recorder.booking import START_ALLOWANCE_NS
from recorder.spool.counts import Counts
from recorder.spool.left_in_ring import left_in_ring

if TYPE_CHECKING:
    from collections.abc import Iterator

    from recorder import record
    from recorder.lane_state import LaneState
    from recorder.record import Losses
    from recorder.ring import RingReader
    from recorder.session.ledger import LaneLedger
    from recorder.spool.journal import Journal
    from recorder.spool.recover import Piece

#: Of what a lane counts as lost: samples that were due and never acquired.
_DUES = ("lost_source", "lost_absent", "lost_broken")
#: What a lane counts of its own losses, in `record.Losses`' order.
_LANE_LOSSES = (*_DUES, "lost_ring")


class Account:
    """Keeps a lane's ledger.

    Args:
        ledger: the lane's, kept up to date here.
        log: the session's journal; gets where the account begins in each ring epoch.
        settled_boot_ns: what a lane lost before its first sample is not this session's loss until
            then; behind it, a device that does not come is.
    """

    def __init__(self, ledger: LaneLedger, log: Journal, settled_boot_ns: int) -> None:
        self.ledger = ledger
        self._journal = log
        self._settled_boot_ns = settled_boot_ns
        #: By ring epoch: the counts behind what was accounted for last, or where it begins.
        self._at: dict[int, Counts] = {}
        self._positions: dict[int, int] = {}
        self._absent = 0
        #: Samples that came late, of a time of which the session before counted them as absent.
        self._overdue = 0
        self._left: list[dict[str, Any]] = []

    def enter(self, headers: list[record.Header], base: Counts | None) -> None:
        """Begin the account of an epoch, where it is new, before its first records are added.

        Args:
            headers: the records that will be added next.
            base: where the last session stopped taking from this epoch, or None.
        """
        first = headers[0]
        if first.epoch not in self._at:
            self.begin(base or Counts.before(first))
        if base is None and self.ledger.first_boot_ns is None:
            self._settle(headers)

    def begin(self, base: Counts) -> None:
        """Begin the account of an epoch at some counts, and say so in the journal."""
        self._journal.append({"entry": "epoch", "lane": self.ledger.name, **base.to_dict()})
        self._at[base.epoch] = base

    def _settle(self, headers: list[record.Header]) -> None:
        """Begin the account at the last record, up to the first sample, that came early enough."""
        early: record.Header | None = None
        for header in headers:
            if header.boot_ns <= self._settled_boot_ns:
                early = header
            if header.rows:
                break
        if early is not None and Counts.before(early) != self._at[early.epoch]:
            self.begin(Counts.before(early))

    def add(self, piece: Piece) -> None:
        """Count what is written.

        Where no byte is missing before it, no stored sample can be: what is neither here nor told
        as lost then makes the ledger's equations fail, and that is how a wrong count shows.
        """
        last = self._at[piece.behind.epoch]
        self._add(piece, is_seamless=piece.before.position <= last.position)

    def _add(self, piece: Piece, *, is_seamless: bool) -> None:
        behind, account = piece.behind, self.ledger
        acquired, lost = self._advance(behind)
        account.stored += piece.rows
        account.pending += piece.rows
        if not is_seamless:
            # Numbers that are neither here nor lost in the ring were stored once, and are gone.
            damaged = max(acquired - lost.ring - piece.rows, 0)
            account.stored += damaged
            account.lost_crc += damaged
        account.first_boot_ns = account.first_boot_ns or piece.first_boot_ns
        account.last_boot_ns = piece.last_boot_ns or account.last_boot_ns
        self._positions[behind.epoch] = behind.position

    def _advance(self, now: Counts) -> tuple[int, Losses]:
        """Count what the lane says of itself; return what it numbered and lost since the last."""
        account, last = self.ledger, self._at[now.epoch]
        lost, acquired = now.losses.since(last.losses), now.seqno - last.seqno
        account.expected += now.expected - last.expected
        account.acquired += acquired
        account.lost_source += lost.source
        self._count_absent(lost.absent)
        account.lost_broken += lost.broken
        account.lost_ring += lost.ring
        self._at[now.epoch] = now
        return acquired, lost

    def _count_absent(self, slots: int) -> None:
        """Count absent slots; less than none where samples came late that had been counted so.

        What the session before counted stays its loss; in this one these were due when they came.
        """
        account = self.ledger
        absent = account.lost_absent - self._overdue + slots
        overdue = max(-absent, 0)
        account.lost_absent = absent + overdue
        account.expected += overdue - self._overdue
        self._overdue = overdue

    @contextlib.contextmanager
    def ahead(self, ring: RingReader) -> Iterator[None]:
        """Let the ledger hold, meanwhile, what a ring of this lane holds and the disk does not."""
        last, head = self._at.get(ring.epoch), ring.head()
        if last is None or head.position < last.position:
            yield  # nothing was taken from it so far, or the lane died before it noted its counts
            return
        kept, overdue = replace(self.ledger), self._overdue
        self.ledger.in_ring += self._take_head(ring, last, head)
        try:
            yield
        finally:
            self._at[ring.epoch], self._overdue = last, overdue
            for key in ("expected", "acquired", "in_ring", "lost_damaged", *_LANE_LOSSES):
                setattr(self.ledger, key, getattr(kept, key))

    @contextlib.contextmanager
    def awaited(self, now_boot_ns: int) -> Iterator[None]:
        """Let the ledger hold, meanwhile, what was due so far from a lane that never came."""
        kept = self.ledger.expected, self.ledger.lost_absent, self._absent
        if not self.is_begun:
            begin_boot_ns = self._settled_boot_ns - START_ALLOWANCE_NS
            self.count_absence(None, begin_boot_ns, now_boot_ns)
        try:
            yield
        finally:
            self.ledger.expected, self.ledger.lost_absent, self._absent = kept

    @property
    def is_begun(self) -> bool:
        """Whether the lane said anything so far."""
        return bool(self._at)

    def restore(self, counts: Counts) -> None:
        """Take up where an epoch's account began, from the journal."""
        self._at[counts.epoch] = counts

    def add_found(self, piece: Piece) -> None:
        """Count a segment that is found on disk, or in the journal as given up."""
        # A power cut between segment and journal takes the line away that says where the account
        # begins: then it begins with what is there.
        self._at.setdefault(piece.behind.epoch, piece.before)
        self._add(piece, is_seamless=False)
        if piece.is_evicted:
            self.bury(piece.rows, delivered=piece.is_delivered)

    def bury(self, rows: int, *, delivered: bool) -> None:
        """Count samples of this lane that were given up; delivered ones are nobody's loss."""
        if not delivered:
            self.ledger.lost_evicted += rows
            self.ledger.pending -= rows

    def lose_tail(self, told: LaneLedger) -> bool:
        """Count what the last heartbeat knew of, the disk does not hold, and no ring will give.

        Args:
            told: the account as that heartbeat gave it.

        Returns:
            Whether there was any: then nothing can be added to this account any more.
        """
        now = self.ledger
        if told.expected <= now.expected and told.acquired <= now.acquired:
            return False  # the spool knows as much as the heartbeat did, or more
        self._journal.append({"entry": "told", "lane": now.name, "ledger": told.to_dict()})
        if told.acquired < now.acquired:
            self._join_dues(told)
            return True
        for key in ("expected", "acquired", "lost_damaged", *_LANE_LOSSES):
            setattr(now, key, getattr(told, key))
        # Of what the rings held then, some came to the disk; the rest went with them.
        now.lost_ring += max(told.in_ring - max(now.stored - told.stored, 0), 0)
        now.lost_crc += max(told.stored - now.stored, 0)
        now.stored = max(now.stored, told.stored)
        now.first_boot_ns = now.first_boot_ns or told.first_boot_ns
        now.last_boot_ns = now.last_boot_ns or told.last_boot_ns
        return True

    def _join_dues(self, told: LaneLedger) -> None:
        """Take what a heartbeat counted as due and lost, and what the disk alone knows besides.

        It told of a recording's end that did not come, with what was due until then; the lane gave
        more behind it.
        """
        now = self.ledger
        expected = told.expected + now.acquired - told.acquired
        for key in _DUES:
            expected += max(getattr(now, key) - getattr(told, key), 0)
            setattr(now, key, max(getattr(now, key), getattr(told, key)))
        now.expected = expected

    def count_head(self, ring: RingReader) -> None:
        """Count what a lane that runs no more says of itself and no record brought to the disk.

        Args:
            ring: its own.
        """
        last, head = self._at.get(ring.epoch), ring.head()
        if last is None or head.position < last.position:
            return  # killed between a record and its counts: the record says more
        rows = self._take_head(ring, last, head)
        self._left.append({**last.to_dict(), "rows": rows})
        self.ledger.lost_write += rows

    def _take_head(self, ring: RingReader, last: Counts, head: LaneState) -> int:
        """Count what a lane says of itself; return the samples that its ring holds of it.

        Those behind a record that does not verify cannot be told apart: they count as damaged.
        """
        left = left_in_ring(ring, last.position, head.position)
        now = Counts(ring.epoch, head.position, head.seqno, head.expected, head.losses)
        acquired, lost = self._advance(now)
        if not left.is_whole:
            self.ledger.lost_damaged += acquired - lost.ring - left.rows
        return left.rows

    def count_absence(self, head: LaneState | None, begin_boot_ns: int, end_boot_ns: int) -> None:
        """Count what was due until the recording's end from a lane that died or never came.

        Args:
            head: its own last counts, or None if it never had a ring.
            begin_boot_ns: when the session was announced.
            end_boot_ns: when its recording ended.
        """
        account = self.ledger
        if head is not None and head.ended_boot_ns >= begin_boot_ns:
            return
        if not account.rate_hz or (head is None and self.is_begun):
            return  # events come when they come; of a ring that was removed nobody knows
        period_ns = (head.period_ns if head else 0) or 1e9 / account.rate_hz
        if head is not None and head.boot_ns >= begin_boot_ns:
            slots = int((end_boot_ns - head.boot_ns) // period_ns) - 1
        elif account.required and end_boot_ns > self._settled_boot_ns:
            slots = int((end_boot_ns - begin_boot_ns) // period_ns)
        else:
            return
        if slots > 0:
            self._absent += slots
            account.expected += slots
            self._count_absent(slots)

    def close(self) -> None:
        """Journal what no record tells, at the recording's end."""
        line = {"entry": "closing", "lane": self.ledger.name}
        self._journal.append({**line, "absent": self._absent, "left": self._left})

    @property
    def newest(self) -> Counts | None:
        """Up to where the newest ring was accounted for, or where its account begins."""
        return next(reversed(self._at.values()), None)

    def behind(self) -> dict[int, Counts]:
        """Return, by ring epoch, the counts behind what was taken last, for the next session."""
        return {epoch: self._at[epoch] for epoch in self._positions}

    def next_seqno(self, epoch: int) -> int | None:
        """Return the number behind the last sample of an epoch that was counted, if one was."""
        return self._at[epoch].seqno if epoch in self._at else None

    def durable_position(self, epoch: int) -> int:
        """Return up to where the ring of an epoch was taken; 0 if nothing was."""
        return self._positions.get(epoch, 0)
