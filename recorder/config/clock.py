"""The configuration's table on the system's clock."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from recorder.config.tables import Table


@dataclass(frozen=True, kw_only=True)
class Clock(Table):
    """What the recorder does for the system's clock.

    Args:
        chrony_socket: path of the socket of a ``refclock SOCK`` in chrony's configuration, which
            gets the receiver's time once a second; None: it gets nothing.
    """

    chrony_socket: Path | None = None
