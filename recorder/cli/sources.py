"""Where recordings are looked for: a spool with the uploader's journals beside it, or a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from recorder.errors import SpoolError, SpoolFormatError
from recorder.session.session import Session
from recorder.spool.leases import Deliveries, evicted_by, evicted_rows, settle
from recorder.spool.marks import marks_in
from recorder.spool.receipts import final_session
from recorder.spool.spool import Spool

if TYPE_CHECKING:
    from pathlib import Path


def open_spool(place: Path) -> Spool:
    """Open a spool.

    Args:
        place: the spool itself, or the recorder's directory around it.

    Raises:
        click.BadParameter: there is none.
        SpoolFormatError: it is of a format that this version does not know.
    """
    for directory in (place, place / "spool"):
        try:
            return Spool.current(directory)
        except SpoolFormatError:
            raise
        except SpoolError:
            continue
    raise click.BadParameter(f"{place} is no spool, and none is in it (a spool has a file FORMAT)")


def from_spool(spool: Spool) -> list[dict[str, Any]]:
    """Return the newest record of every session in a spool, oldest first.

    What the uploader settled stands above the spool's own; without that, what was delivered and
    given up since the last heartbeat is counted here. Each has two keys more than a session
    record: `destination`, ``spool`` if the recording was to stay there (upload off), else
    ``server``; and `marks` (`recorder.spool.marks`). A session whose journal has no whole record is
    named on stderr and left out.

    Raises:
        OSError: the spool cannot be read.
    """
    upload_dir = spool.directory.parent / "upload"
    found: list[dict[str, Any]] = []
    for session_id in spool.session_ids():
        try:
            final = final_session(upload_dir / session_id)
            session = final or spool.session(session_id)
        except SpoolError as error:
            click.echo(f"{error} (its journal holds no whole record)", err=True)
        else:
            entries = spool.entries(session_id)
            if final is None:
                _settle(session, entries, Deliveries(upload_dir / session_id))
            is_here = final is None and session.state.is_terminal
            beside = {"destination": "spool" if is_here else "server", "marks": marks_in(entries)}
            found.append({**session.to_dict(), **beside})
    return found


def _settle(session: Session, entries: list[dict[str, Any]], told: Deliveries) -> None:
    told.look()
    evicted = evicted_rows(evicted_by(entries), told.rows)
    for one in session.lanes:
        if session.state.is_terminal:  # the spool was where it was to go
            one.delivered -= evicted[one.name] - one.lost_evicted
            one.lost_evicted = evicted[one.name]
        else:
            settle(one, told.delivered(one.name), evicted[one.name])
