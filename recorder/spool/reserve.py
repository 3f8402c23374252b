"""A file that holds nothing: its space is given up when the disk has not a byte left.

Then what must be written before anything can be given up, a tombstone, still finds room.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

RESERVE_BYTES = 1024 * 1024


class Reserve:
    """The file ``reserve`` in a directory.

    Args:
        directory: the spool.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / "reserve"

    def keep(self, room_bytes: int) -> None:
        """Take the space again if it is not held and there is room enough for it.

        Where the disk does not give it, go without until the next call.
        """
        if room_bytes < RESERVE_BYTES or self._path.exists():
            return
        draft = self._path.with_name(".reserve")
        try:
            file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640)
            try:
                os.posix_fallocate(file, 0, RESERVE_BYTES)
            finally:
                os.close(file)
            draft.rename(self._path)
        except OSError:
            draft.unlink(missing_ok=True)

    def give_up(self, room_bytes: int) -> None:
        """Give its space to whoever writes next, if the disk has less than that left."""
        if room_bytes < RESERVE_BYTES:
            self._path.unlink(missing_ok=True)
