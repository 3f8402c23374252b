"""What may go wrong with a disk, and the end of a process."""

from __future__ import annotations

from dataclasses import dataclass


class Cut(BaseException):
    """The process ends here, in the middle of what it does; nothing in the code may react to it."""


@dataclass
class Faults:
    """What the disk refuses at present.

    Args:
        capacity_bytes: its size, or None: ample.
        is_read_only: nothing may change.
        sync_errors: so many of the next syncs fail with EIO.
        steps_left: so many changes are still made, then the process ends; None: it lives.
    """

    capacity_bytes: int | None = None
    is_read_only: bool = False
    sync_errors: int = 0
    steps_left: int | None = None
