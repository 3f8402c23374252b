"""The account of one lane of a recording: its ledger, kept from what is written and told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recorder.spool.counts import Counts

if TYPE_CHECKING:
    from recorder import record
    from recorder.lane_state import LaneState
    from recorder.session.ledger import LaneLedger
    from recorder.spool.journal import Journal
    from recorder.spool.recover import Piece


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
        """Count what was written, or what is found written."""
        behind = piece.behind
        account, last = self.ledger, self._at[behind.epoch]
        lost = behind.losses.since(last.losses)
        acquired = behind.seqno - last.seqno
        # Numbers that are neither here nor lost in the ring were stored once and verify no more.
        damaged = max(acquired - lost.ring - piece.rows, 0)
        account.expected += behind.expected - last.expected
        account.acquired += acquired
        account.lost_source += lost.source
        account.lost_absent += lost.absent
        account.lost_broken += lost.broken
        account.lost_ring += lost.ring
        account.lost_crc += damaged
        account.stored += piece.rows + damaged
        account.pending += piece.rows
        account.first_boot_ns = account.first_boot_ns or piece.first_boot_ns
        account.last_boot_ns = piece.last_boot_ns or account.last_boot_ns
        self._at[behind.epoch] = behind
        self._positions[behind.epoch] = behind.position

    def restore(self, counts: Counts) -> None:
        """Take up where an epoch's account began, from the journal."""
        self._at[counts.epoch] = counts

    def add_found(self, piece: Piece) -> None:
        """Count a segment that is found on disk, or in the journal as given up."""
        # A power cut between segment and journal takes the line away that says where the account
        # begins: then it begins with what is there.
        self._at.setdefault(piece.behind.epoch, piece.before)
        self.add(piece)
        if piece.is_evicted:
            self.bury(piece.rows, delivered=piece.is_delivered)

    def bury(self, rows: int, *, delivered: bool) -> None:
        """Count samples of this lane that were given up; delivered ones are nobody's loss."""
        if not delivered:
            self.ledger.lost_evicted += rows
            self.ledger.pending -= rows

    def lose_tail(self, told: LaneLedger) -> None:
        """Count what the last heartbeat before a loss of power knew of and the disk does not hold.

        Args:
            told: the account as that heartbeat gave it.
        """
        now = self.ledger
        if told.acquired <= now.acquired:
            return  # the spool knows more than the heartbeat did
        for key in ("expected", "acquired", "lost_source", "lost_absent", "lost_broken"):
            setattr(now, key, getattr(told, key))
        now.lost_ring = told.lost_ring + told.in_ring
        now.lost_crc += told.stored - now.stored
        now.stored = told.stored

    def count_head(self, epoch: int, head: LaneState) -> None:
        """Count what a lane that runs no more says of itself and no record brought to the disk.

        Args:
            epoch: its ring's.
            head: its own last counts.
        """
        last = self._at.get(epoch)
        if last is None or head.position < last.position:
            return  # killed between a record and its counts: the record says more
        account, lost = self.ledger, head.losses.since(last.losses)
        acquired = head.seqno - last.seqno
        account.expected += head.expected - last.expected
        account.acquired += acquired
        account.lost_source += lost.source
        account.lost_absent += lost.absent
        account.lost_broken += lost.broken
        account.lost_ring += lost.ring
        account.lost_write += acquired - lost.ring
        self._at[epoch] = Counts(epoch, head.position, head.seqno, head.expected, head.losses)

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
        period_ns = (head.period_ns if head else 0) or 1e9 / account.rate_hz
        if head is not None and head.boot_ns >= begin_boot_ns:
            slots = int((end_boot_ns - head.boot_ns) // period_ns) - 1
        elif account.required and end_boot_ns > self._settled_boot_ns:
            slots = int((end_boot_ns - begin_boot_ns) // period_ns)
        else:
            return
        account.expected += max(slots, 0)
        account.lost_absent += max(slots, 0)

    def behind(self) -> dict[int, Counts]:
        """Return, by ring epoch, the counts behind what was taken last, for the next session."""
        return {epoch: self._at[epoch] for epoch in self._positions}

    def next_seqno(self, epoch: int) -> int | None:
        """Return the number behind the last sample of an epoch that was counted, if one was."""
        return self._at[epoch].seqno if epoch in self._at else None

    def durable_position(self, epoch: int) -> int:
        """Return up to where the ring of an epoch was taken; 0 if nothing was."""
        return self._positions.get(epoch, 0)
