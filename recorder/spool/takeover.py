"""Which sessions a dead process or a loss of power left running, and whether they can go on."""

from __future__ import annotations

import contextlib
import gc
import logging
from typing import TYPE_CHECKING

from recorder import record
from recorder.clock import boot_ns
from recorder.errors import SpoolError
from recorder.ring import SUFFIX
from recorder.spool import journal
from recorder.spool.places import may_write
from recorder.spool.session_time import is_of_this_boot

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from recorder.ring import RingReader
    from recorder.session.ledger import LaneLedger
    from recorder.session.session import Session
    from recorder.spool.recording import Recording
    from recorder.spool.spool import Spool

log = logging.getLogger(__name__)

#: A session of this boot whose last heartbeat is older than three periods and this is given up.
STALE_SLACK_S = 5.0
#: Ends of a recording that the next one of the same boot goes on from.
FOLLOWED = ("roll_over", "watchdog")
_LET_GO = "let_go"


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Look for no garbage meanwhile.

    What is read of a long journal is none, and each search goes through all of it: 5 of 75 ms of
    CPU at the recovery of 1,200 segments.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def left_running(spool: Spool) -> Iterator[Session]:
    """Yield the newest record of every session whose recording was never ended.

    One whose journal cannot be read is named and left alone: it must not keep the vehicle from
    recording.
    """
    for path in spool.damaged():
        log.error("%s: cannot be looked at; left alone", path)
    for session_id in spool.session_ids():
        try:
            session = spool.session(session_id)
        except (SpoolError, OSError) as error:
            log.error("left alone: %s", error)  # noqa: TRY400 - one line, the reader knows the rest
            continue
        if session.recording != "running":
            continue
        if may_write(spool.journal_path(session_id)):
            yield session
        else:
            log.error("session %s: its journal may not be written to; left alone", session_id)


def newest_ended(spool: Spool) -> Session | None:
    """Return the newest session, if its recording ended in this boot; else None."""
    session_id = next(reversed(spool.session_ids()), None)
    if session_id is None:
        return None
    try:
        session = spool.session(session_id)
    except (SpoolError, OSError):
        return None
    is_over = session.recording == "stopped" and is_of_this_boot(session)
    return session if is_over else None


def is_held(spool: Spool, newest: Session) -> bool:
    """Tell whether somebody stopped the newest recording by hand, and nothing recorded since.

    Then nothing is recorded until somebody asks for it: a process that dies changes nothing. One
    that was told to end does (`let_go`).

    Args:
        spool: the spool.
        newest: what `newest_ended` gave.
    """
    said = journal.newest(spool.journal_path(newest.id), "command") or {}
    return newest.end_reason == "operator" and said.get("command") != _LET_GO


def let_go(spool: Spool) -> None:
    """Journal that it is to record again, or that it was told to end; durable on return.

    Raises:
        OSError: the disk does not take it.
    """
    newest = newest_ended(spool)
    if newest is not None:
        with contextlib.closing(journal.Journal(spool.journal_path(newest.id))) as log_of_it:
            log_of_it.record({"entry": "command", "command": _LET_GO})


def why_over(session: Session, lanes: Sequence[str], *, is_short: bool) -> str | None:
    """Return why a session that was left running cannot go on, or None if it can.

    Args:
        session: its newest record.
        lanes: the lanes that are to be recorded now.
        is_short: whether an account of it is closed: its ring is gone, and samples with it.
    """
    if not is_of_this_boot(session):
        return "power_loss"
    signed_ns = max(session.heartbeat_boot_ns, session.announced_boot_ns)
    if (boot_ns() - signed_ns) / 1e9 > 3 * session.heartbeat_s + STALE_SLACK_S:
        return "watchdog"
    is_same = [one.name for one in session.lanes] == list(lanes)
    return None if is_same and not is_short else "roll_over"


def count_rings_gone(recording: Recording, told: Sequence[LaneLedger], directory: Path) -> bool:
    """Say of which lanes the ring is gone that a session of this boot took from last.

    Rings outlive both processes: somebody removed it, or emptied the memory that it lay in. What
    the last heartbeat knew of and is not on the disk is counted; behind that nobody can.

    Args:
        recording: the session, taken up again.
        told: the lanes' accounts in its last heartbeat.
        directory: where the rings are.

    Returns:
        Whether anything was counted; then the recording cannot go on.
    """
    if not is_of_this_boot(recording.session):
        return False  # the power took them all, and that was counted
    is_short = False
    for one in told:
        account = recording.lanes[one.name].account
        counts = account.newest
        if counts is None or (directory / f"{one.name}.{counts.epoch:016x}{SUFFIX}").exists():
            continue
        log.error(
            "lane %s: somebody removed its ring (epoch %016x): what it held from number %d on is"
            " lost, and of that only what the last heartbeat knew is counted",
            one.name,
            counts.epoch,
            counts.seqno,
        )
        is_short |= account.lose_tail(one)
    return is_short


def pass_over_ended(ring: RingReader) -> None:
    """Pass over what a recording that ended on request left in a ring: it was counted there."""
    begin = behind = ring.position
    rows = left = 0
    for header, runs in ring.records():
        rows += header.rows
        if header.kind == record.EVENT and b'"stopped"' in b"".join(runs):
            behind, left = header.end_position, rows
    ring.position = behind
    if behind > begin:
        log.warning("%s: %d samples of an earlier recording left alone", ring.schema.lane, left)
