"""A file that holds nothing: its space is for tombstones when the disk has not a byte left.

Nothing can be given up before the journal says that it is sealed, and then has its tombstone, and
on a full disk each may need a block that is not there. Then a slice of the reserve is cut off and
the line tried again; what is given up next fills the reserve before anybody else gets any of it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from recorder.spool.places import is_damaged, is_file, size_of
from recorder.spool.volume import FULL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

RESERVE_BYTES, SLICE_BYTES = 1024 * 1024, 65_536


class Reserve:
    """The file ``reserve`` in a directory; made when it is filled first.

    Args:
        directory: the spool.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / "reserve"

    @property
    def size_bytes(self) -> int:
        """What it holds now."""
        return size_of(self._path) if is_file(self._path) else 0

    def fill(self) -> None:
        """Take what is missing, as far as the disk gives it."""
        size_bytes = self.size_bytes
        if size_bytes >= RESERVE_BYTES or is_damaged(self._path):
            return
        file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            while size_bytes < RESERVE_BYTES:
                os.posix_fallocate(file, size_bytes, SLICE_BYTES)
                size_bytes += SLICE_BYTES
        except OSError as error:
            os.ftruncate(file, size_bytes)
            if error.errno not in FULL:
                raise
        finally:
            os.close(file)

    def spend_on(self, write: Callable[[], None]) -> None:
        """Write something small that must find room; a full disk costs slices of the reserve.

        Args:
            write: raises OSError if it did not find room, and leaves nothing behind then.

        Raises:
            OSError: the disk says something else, or nothing of the reserve is left.
        """
        while True:
            try:
                write()
            except OSError as error:
                size_bytes = self.size_bytes
                if error.errno not in FULL or not size_bytes:
                    raise
                os.truncate(self._path, max(size_bytes - SLICE_BYTES, 0))
            else:
                return


def proofs_of(
    entries: Iterable[dict[str, Any]], tombstones: Iterable[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return the lines that say what segments hold, to be written once more before they go.

    While a session was recorded a sync may have failed: then such a line is perhaps no more than a
    page in memory, and a tombstone alone does not say what went.

    Args:
        entries: the session's journal.
        tombstones: of the segments.
    """
    gone = {(one["lane"], one["file"]) for one in tombstones}
    lines = (one for one in entries if one["entry"] == "sealed")
    return [one for one in lines if (one["lane"], one["file"]) in gone]
