"""A session's record as it stands now: what was said last of it, and what went since.

A terminal state never changes, and neither does the record with it in the journal. What is given up
later of a recording that stays in the spool (uploads are off) has its tombstone: the record that
people see holds as much less, and its quality follows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recorder.spool.leases import Deliveries, evicted_by, evicted_rows, settle
from recorder.spool.receipts import final_session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from recorder.session.session import Session
    from recorder.spool.spool import Spool


@dataclass(frozen=True)
class Standing:
    """What is true of a session now.

    Args:
        session: its record.
        is_here: whether its state is terminal and the spool is where it was to go.
        given_up: by lane, samples that went behind the end of a recording that is to stay here.
    """

    session: Session
    is_here: bool
    given_up: dict[str, int]


def standing(spool: Spool, session_id: str, entries: Sequence[dict[str, Any]]) -> Standing:
    """Return a session as it stands now.

    What the uploader settled stands above the spool's own record; without that, what was delivered
    and given up since that record is counted here.

    Args:
        spool: the spool.
        session_id: which session.
        entries: its journal.

    Raises:
        SpoolError: its journal has no whole record.
    """
    journal = spool.directory.parent / "upload" / session_id
    final = final_session(journal)
    if final is not None:
        return Standing(final, is_here=False, given_up={})
    session, told = spool.session(session_id), Deliveries(journal)
    told.look()
    evicted = evicted_rows(evicted_by(entries), told.rows)
    given_up: dict[str, int] = {}
    for one in session.lanes:
        gone = evicted[one.name] - one.lost_evicted
        if not session.state.is_terminal:
            settle(one, told.delivered(one.name), evicted[one.name])
            # The record speaks of its heartbeat, and the server may hold what was stored since.
            one.delivered, one.pending = one.delivered + min(one.pending, 0), max(one.pending, 0)
        elif gone:
            given_up[one.name] = gone
            one.delivered -= gone
            one.lost_evicted += gone
    return Standing(session, session.state.is_terminal, given_up)
