"""Writing a segment (`recorder.spool.segment`): whole records at its end, and nothing else."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from recorder.spool.segment import read_head
from recorder.spool.volume import allocate

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from recorder.spool.segment import SegmentHead


class SegmentWriter:
    """The end of a segment that is being written.

    Args:
        directory: the lane's directory in the session's; must exist.
        head: what the segment is; a file of its name must not exist.
        size_bytes: how long it will be; its blocks are taken at once where the disk can.
    """

    def __init__(self, directory: Path, head: SegmentHead, size_bytes: int = 0) -> None:
        self.path = directory / head.name
        self.head = head
        self.file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        self.end_bytes = 0
        self.rows = 0
        try:
            if size_bytes:
                # Commits of rows are small: there the metadata would be most of what is written.
                allocate(self.file, size_bytes, is_written=head.schema.blob is None)
            self._append([memoryview(head.pack())])
        except OSError:
            self.close()
            self.path.unlink()
            raise

    @classmethod
    def reopen(cls, path: Path, end_bytes: int, rows: int) -> SegmentWriter:
        """Go on behind the last record that is known to be durable; what follows is cut off.

        Args:
            path: the file.
            end_bytes: where that record ends.
            rows: samples in all records before.
        """
        self = cls.__new__(cls)
        self.path, self.head = path, read_head(path)
        self.file = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        self.end_bytes, self.rows = end_bytes, rows
        try:
            self.cut()
        except OSError:
            self.close()
            raise
        return self

    def append(self, records: Sequence[memoryview], rows: int) -> None:
        """Write whole records at the end, straight from where they lie.

        Raises:
            OSError: they could not be written; the file ends where it ended before.
        """
        self._append(records)
        self.rows += rows

    def _append(self, records: Sequence[memoryview]) -> None:
        try:
            self.end_bytes = _write_all(self.file, records, self.end_bytes)
        except OSError:
            # What came through must not be found behind the end: it will be written elsewhere.
            self.cut()
            raise

    def cut(self) -> None:
        """Let the file end where its records end."""
        os.ftruncate(self.file, self.end_bytes)

    def close(self) -> None:
        """Close the file; may be called twice."""
        if self.file >= 0:
            os.close(self.file)
            self.file = -1


def _write_all(file: int, stretches: Sequence[memoryview], offset: int) -> int:
    """Write stretches of memory behind each other and return where they end in the file."""
    left = list(stretches)
    while left:
        # A signal or a nearly full disk gives a short write.
        written = os.pwritev(file, left, offset)
        offset += written
        while left and written >= len(left[0]):
            written -= len(left.pop(0))
        if written:
            left[0] = left[0][written:]
    return offset
