"""A run: records that lie behind each other in a ring, verified, to be written as they lie."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field

from recorder import record


@dataclass
class Run:
    """Records of one ring without a gap between them.

    Args:
        memory: their bytes where they lie: one stretch, or two round the ring's end.
        opening: the headers up to the first that has samples, that one included.
        rows: samples in all of them.
        anchors: the anchors among them.
    """

    memory: list[memoryview] = field(default_factory=list)
    opening: list[record.Header] = field(default_factory=list)
    rows: int = 0
    anchors: list[record.Anchor] = field(default_factory=list)
    _last: bytes = b""
    _last_data: bytes = b""

    def add(self, raw: bytes, rows: int) -> None:
        """Take one more record, given by its header and the samples in it."""
        if not self._last_data:
            self.opening.append(_header(raw))
        self._last = raw
        if rows:
            self.rows += rows
            self._last_data = raw

    @property
    def first(self) -> record.Header:
        """Header of the first record."""
        return self.opening[0]

    @functools.cached_property
    def last(self) -> record.Header:
        """Header of the last record; asked for when all are there."""
        return _header(self._last)

    @property
    def first_boot_ns(self) -> int | None:
        """Time of the first sample, or None."""
        return self.opening[-1].boot_ns if self._last_data else None

    @property
    def last_boot_ns(self) -> int | None:
        """Time of the last sample, or None."""
        if not self._last_data:
            return None
        is_last = self._last_data is self._last
        return (self.last if is_last else _header(self._last_data)).last_boot_ns

    @property
    def size_bytes(self) -> int:
        """Length of all records."""
        return sum(map(len, self.memory))


def _header(raw: bytes) -> record.Header:
    return record.header_of(record.unpack_fields(raw))
