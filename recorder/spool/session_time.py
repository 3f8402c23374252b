"""When a session was: its boot, its beginning, and its name as far as the time is known."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING

from recorder.clock import basic_utc, boot_id
from recorder.record import Anchor
from recorder.time_model import TimeModel, near

if TYPE_CHECKING:
    from collections.abc import Mapping

    from recorder.session.session import Session
    from recorder.spool.spool import Spool


MOST_NAME = 255


def is_of_this_boot(session: Session) -> bool:
    """Tell whether a session was recorded in the boot that runs now."""
    return session.boot_id == boot_id().hex()


def tell_time(session: Session, model: TimeModel, identifier: str) -> None:
    """Work out when a session began, how well that is known, and its name.

    Args:
        session: its record; start, clock source and identifier are set.
        model: the time in its boot.
        identifier: template of the name.

    Raises:
        ValueError: the template is none.
    """
    session.clock_source = model.source
    session.utc_uncertainty_ns = model.bound_ns(*session.span_boot_ns)
    start = session.start_boot_ns
    session.start_utc_ns = None if start is None else model.utc_ns(start)
    known = {"vehicle": session.vehicle, "start": basic_utc(session.start_utc_ns)}
    session.identifier = filled(identifier, {**known, "id8": session.id[:8]})


def filled(template: str, known: Mapping[str, str]) -> str:
    """Return a name of at most 255 characters: a template with what is known filled in.

    Raises:
        ValueError: it asks for something else.
    """
    name = ""
    for text, field, form, conversion in string.Formatter().parse(template):
        name += text
        if field is not None:
            if field not in known or form or conversion:
                allowed = ", ".join(f"{{{one}}}" for one in known)
                raise ValueError(f"only {allowed} are filled in")
            name += known[field]
    return name[:MOST_NAME]


def time_model(spool: Spool, session: Session) -> TimeModel:
    """Return what is known of the time in a session's boot, from the spool.

    If nobody ever vouched for it, and no clock was journalled either, it is what the vehicle's
    clock said at the last heartbeat.
    """
    beat = session.heartbeat_boot_ns
    said = Anchor(beat, 0, session.heartbeat_utc_ns, 0, "none")
    anchors = near(spool.anchors(session.boot_id), *session.span_boot_ns)
    return TimeModel(anchors or [said])
