"""Which sessions a dead process or a loss of power left running, and whether they can go on."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from recorder import record
from recorder.clock import boot_ns
from recorder.errors import SpoolError
from recorder.spool.counts import counts_in
from recorder.spool.session_time import is_of_this_boot

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from recorder.ring import RingReader
    from recorder.session.session import Session
    from recorder.spool.counts import Counts
    from recorder.spool.spool import Spool

log = logging.getLogger(__name__)

#: A session of this boot whose last heartbeat is older than three periods and this is given up.
STALE_SLACK_S = 5.0


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


def taken_before(spool: Spool) -> dict[int, Counts]:
    """Return, by ring epoch, up to where the newest session took, if another was to follow it.

    The process that rolled it over died before it could tell the next one.
    """
    session_id = next(reversed(spool.session_ids()), None)
    if session_id is None:
        return {}
    try:
        session = spool.session(session_id)
    except (SpoolError, OSError):
        return {}
    if session.end_reason != "roll_over" or not is_of_this_boot(session):
        return {}
    return counts_in(spool.entries(session_id), {"base", "behind"})


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
