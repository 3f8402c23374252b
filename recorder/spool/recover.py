"""What a segment holds after its writer died, and cutting off what a power cut tore."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from recorder import record
from recorder.spool.segment import Hole, SegmentReader

if TYPE_CHECKING:
    from pathlib import Path


@dataclass
class Contents:
    """What one segment holds.

    Args:
        records: valid records of any kind.
        rows: samples in them.
        missing: samples that are missing between two valid records of the segment, by number.
        first: header of the first data record.
        last: header of the last record of any kind.
        first_boot_ns: time of the first sample.
        last_boot_ns: time of the last sample.
        end_bytes: where the last valid record ends.
        torn_bytes: bytes behind it.
        damage: holes before it.
        has_blobs: whether its rows have blobs behind them.
    """

    records: int = 0
    rows: int = 0
    missing: int = 0
    first: record.Header | None = None
    last: record.Header | None = None
    first_boot_ns: int | None = None
    last_boot_ns: int | None = None
    end_bytes: int = 0
    torn_bytes: int = 0
    damage: list[Hole] = field(default_factory=list)
    has_blobs: bool = False

    def add(self, offset: int, header: record.Header) -> None:
        """Count one valid record."""
        if self.last is not None:
            self.missing += header.seqno - self.last.next_seqno
        self.records += 1
        self.rows += header.rows
        self.last = header
        self.end_bytes = offset + header.size_bytes
        if header.rows:
            self.first = self.first or header
            self.first_boot_ns = self.first.boot_ns
            self.last_boot_ns = header.last_boot_ns


def contents(path: Path, end_bytes: int | None = None) -> Contents:
    """Read a whole segment.

    Args:
        path: the file.
        end_bytes: read only so far, or None: as far as the file goes.

    Raises:
        DamagedError: its head does not verify.
    """
    found = Contents()
    with SegmentReader(path, end_bytes) as segment:
        found.end_bytes = segment.begin_bytes
        found.has_blobs = segment.head.schema.blob is not None
        for offset, one in segment.scan():
            if isinstance(one, record.Header):
                found.add(offset, one)
            elif one.is_tail:
                found.torn_bytes = one.size_bytes
            else:
                found.damage.append(one)
    return found
