"""Where recordings are looked for: a spool with the uploader's journals beside it, or a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from recorder.errors import SpoolError, SpoolFormatError
from recorder.spool.marks import marks_in
from recorder.spool.spool import Spool
from recorder.spool.standing import standing

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
    """Return the record of every session in a spool as it stands now, oldest first.

    Each has keys beside a session record's: `destination`, ``spool`` if the recording was to stay
    there (upload off), else ``server``; `given_up` (`recorder.spool.standing`); and `marks`
    (`recorder.spool.marks`). A session whose journal has no whole record is named on stderr and
    left out.

    Raises:
        OSError: the spool cannot be read.
    """
    found: list[dict[str, Any]] = []
    for session_id in spool.session_ids():
        entries = spool.entries(session_id)
        try:
            known = standing(spool, session_id, entries)
        except SpoolError as error:
            click.echo(f"{error} (its journal holds no whole record)", err=True)
            continue
        where = "spool" if known.is_here else "server"
        beside = {"destination": where, "given_up": known.given_up, "marks": marks_in(entries)}
        found.append({**known.session.to_dict(), **beside})
    return found
