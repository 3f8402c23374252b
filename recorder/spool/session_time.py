"""When a session was: its boot, its beginning, and its name as far as the time is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recorder.clock import Mapping, basic_utc, boot_id, system_anchor
from recorder.record import Anchor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from recorder.session.session import Session


def is_of_this_boot(session: Session) -> bool:
    """Tell whether a session was recorded in the boot that runs now."""
    return session.boot_id == boot_id().hex()


def tell_time(session: Session, anchors: Sequence[Anchor], identifier: str) -> None:
    """Work out when a session began, and its name, from what is known of the time.

    Args:
        session: its record; start, clock source and identifier are set.
        anchors: of its boot, oldest first.
        identifier: template of the name.

    Raises:
        ValueError, LookupError or AttributeError: the template is none.
    """
    mapping = Mapping.through([*anchors, _own_anchor(session)])
    session.clock_source = mapping.source
    start = session.start_boot_ns
    session.start_utc_ns = None if start is None else mapping.utc_ns(start)
    session.identifier = identifier.format(
        vehicle=session.vehicle, start=basic_utc(session.start_utc_ns), id8=session.id[:8]
    )


def _own_anchor(session: Session) -> Anchor:
    """Return what the system's clock said last in a session's boot; nobody vouches for it."""
    if is_of_this_boot(session):
        return system_anchor()
    boot = session.heartbeat_boot_ns
    return Anchor(boot, boot, session.heartbeat_utc_ns, 0, "none")
