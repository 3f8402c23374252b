"""Records of one ring that go to one segment in one write."""

from __future__ import annotations

from dataclasses import dataclass, field

from recorder import record
from recorder.spool.counts import Counts
from recorder.spool.recover import Piece


@dataclass
class Batch:
    """What is about to be written.

    Args:
        position: of its first record.
        headers: its records.
        runs: their bytes, where they lie in the ring.
        anchors: the anchors among them.
        rows: samples in them.
        size_bytes: their length.
    """

    position: int
    headers: list[record.Header] = field(default_factory=list)
    runs: list[memoryview] = field(default_factory=list)
    anchors: list[record.Anchor] = field(default_factory=list)
    rows: int = 0
    size_bytes: int = 0

    def add(self, header: record.Header, runs: list[memoryview]) -> None:
        """Take one more record."""
        self.headers.append(header)
        self.runs += runs
        self.rows += header.rows
        self.size_bytes += header.size_bytes
        if header.kind == record.ANCHOR:
            self.anchors.append(record.Anchor.unpack(b"".join(runs)[record.HEADER_BYTES :]))

    def piece(self) -> Piece:
        """Return what it holds, in the words that recovery uses."""
        data = [header for header in self.headers if header.rows]
        return Piece(
            behind=Counts.behind(self.headers[-1]),
            before=Counts.before(self.headers[0]),
            rows=self.rows,
            first_boot_ns=data[0].boot_ns if data else None,
            last_boot_ns=data[-1].last_boot_ns if data else None,
        )
