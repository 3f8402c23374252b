"""A run: records that lie behind each other in a ring, verified, to be written as they lie."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from recorder import record


@dataclass
class Run:
    """Records of one ring without a gap between them.

    Args:
        memory: their bytes where they lie: one stretch, or two round the ring's end.
        opening: the headers up to the first that has samples, that one included.
        rows: samples in all of them.
        first_boot_ns: time of the first sample, or None.
        anchors: the anchors among them.
    """

    memory: list[memoryview] = field(default_factory=list)
    opening: list[record.Header] = field(default_factory=list)
    rows: int = 0
    first_boot_ns: int | None = None
    anchors: list[record.Anchor] = field(default_factory=list)
    _last: tuple[Any, ...] = ()
    _last_data: tuple[Any, ...] = ()

    def add(self, fields: tuple[Any, ...]) -> None:
        """Take one more record, given by what `recorder.record.unpack_fields` read."""
        if not self._last_data:
            self.opening.append(record.header_of(fields))
        self._last = fields
        if rows := fields[record.ROWS]:
            self.rows += rows
            if not self._last_data:
                self.first_boot_ns = fields[record.BOOT_NS]
            self._last_data = fields

    @property
    def first(self) -> record.Header:
        """Header of the first record."""
        return self.opening[0]

    @property
    def last(self) -> record.Header:
        """Header of the last record."""
        return record.header_of(self._last)

    @property
    def last_boot_ns(self) -> int | None:
        """Time of the last sample, or None."""
        return record.last_boot_ns(self._last_data) if self._last_data else None

    @property
    def size_bytes(self) -> int:
        """Length of all records."""
        return sum(map(len, self.memory))
