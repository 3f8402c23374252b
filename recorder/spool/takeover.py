"""Which sessions a dead process or a loss of power left running, and whether they can go on."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING

from recorder import record
from recorder.clock import boot_ns
from recorder.errors import SpoolError
from recorder.ring import SUFFIX
from recorder.spool import journal
from recorder.spool.session_time import is_of_this_boot

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from recorder.ring import RingReader
    from recorder.session.session import Session
    from recorder.spool.recording import Recording
    from recorder.spool.spool import Spool

log = logging.getLogger(__name__)

#: A session of this boot whose last heartbeat is older than three periods and this is given up.
STALE_SLACK_S = 5.0
#: Ends of a recording that the next one of the same boot goes on from.
FOLLOWED = ("roll_over", "watchdog")
_LET_GO = "let_go"


def left_running(spool: Spool) -> Iterator[Session]:
    """Yield the newest record of every session whose recording was never ended.

    One whose journal cannot be read is named and left alone: it must not keep the vehicle from
    recording.
    """
    for session_id in spool.session_ids():
        try:
            session = spool.session(session_id)
        except (SpoolError, OSError) as error:
            log.error("left alone: %s", error)  # noqa: TRY400 - one line, the reader knows the rest
            continue
        if session.recording == "running":
            yield session


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


def why_over(session: Session, lanes: Sequence[str]) -> str | None:
    """Return why a session that was left running cannot go on, or None if it can.

    Args:
        session: its newest record.
        lanes: the lanes that are to be recorded now.
    """
    if not is_of_this_boot(session):
        return "power_loss"
    signed_ns = max(session.heartbeat_boot_ns, session.announced_boot_ns)
    if (boot_ns() - signed_ns) / 1e9 > 3 * session.heartbeat_s + STALE_SLACK_S:
        return "watchdog"
    return None if [one.name for one in session.lanes] == list(lanes) else "roll_over"


def tell_of_rings_gone(recording: Recording, directory: Path) -> None:
    """Say of which lanes the ring is gone that a session of this boot took from last.

    Rings outlive both processes: somebody removed it, or emptied the memory that it lay in.

    Args:
        recording: the session, taken up again.
        directory: where the rings are.
    """
    for name, lane in recording.lanes.items():
        epoch, counts = next(reversed(lane.account.behind().items()), (0, None))
        if counts is not None and not (directory / f"{name}.{epoch:016x}{SUFFIX}").exists():
            log.error(
                "lane %s: somebody removed its ring (epoch %016x): what it held from number %d on"
                " is lost, and nobody can count it",
                name,
                epoch,
                counts.seqno,
            )


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
