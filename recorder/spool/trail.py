"""What memory still holds of a lane's segments behind the one that is being written.

The kernel keeps every page that was written until memory is short, and then looks for room while
the recorder waits: pictures fill the memory that the unit is granted in half a minute. So pages are
given back as soon as nobody is likely to read them from memory, and the next ones are written into
these. `docs/spool.md` has what that is worth.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

#: An upload under way reads a part (`upload.part_bytes`) when it is full: it is then still there.
KEPT_BYTES = 160 * 1024 * 1024


class Trail:
    """A lane's sealed segments of which memory may hold pages, the oldest first."""

    def __init__(self) -> None:
        self._files: deque[tuple[Path, int]] = deque()
        self._size_bytes = 0

    def add(self, path: Path, size_bytes: int) -> None:
        """Add a segment that is durable, and give back the pages of those that are far behind.

        Args:
            path: the segment.
            size_bytes: its length.
        """
        self._files.append((path, size_bytes))
        self._size_bytes += size_bytes
        while self._size_bytes > KEPT_BYTES:
            oldest, oldest_bytes = self._files.popleft()
            self._size_bytes -= oldest_bytes
            _give_back(oldest)


def _give_back(path: Path) -> None:
    # It is only a help: the segment may have been given up, and a file system may not know it.
    with contextlib.suppress(OSError):
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(file)
