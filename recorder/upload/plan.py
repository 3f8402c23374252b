"""Where the next part of a lane ends, found by walking over its records once.

A part ends before the record that would make it larger or longer than its bounds, or whose rows
are of another ring epoch. A picture that needs the ones before it begins no part: the part goes on
up to the next key frame, or to twice its size. What was walked over is never read again for
planning, however often the spool is looked at.

The digest of a part is SHA-256 over the bytes of its rows in order, and then over its runs of
sequence numbers, (first, number behind the last) as two little-endian 64-bit integers each. For
pictures the rows hold the checksum that was taken at capture, and the pictures themselves are left
out. So it depends neither on batches nor on records nor on any library.
"""

from __future__ import annotations

import hashlib
import json
import struct
from typing import TYPE_CHECKING, Any

from recorder import record
from recorder.spool.reader import Point, read_from
from recorder.upload.parts import Piece

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from recorder.spool.reader import Stored

_RUN = struct.Struct("<QQ")
#: Pictures of which some need the ones before them; the field of their rows that tells.
_LINKED, _KEY = "h264", "key"


class Draft:
    """A part that grows until it is complete.

    Args:
        device: who the lane's device was last said to be.
    """

    def __init__(self, device: dict[str, Any]) -> None:
        self.device = device
        self.on_error = "raise"
        self.epoch = 0
        self.rows = self.size_bytes = 0
        self.first_boot_ns = self.last_boot_ns = 0
        self.to_seqno = 0
        self.runs: list[tuple[int, int]] = []
        #: Whether a picture of it needs another: then a part ends before a key frame only.
        self.is_linked = False
        self.pieces: list[Piece] = []
        self._digest = hashlib.sha256()

    @property
    def digest(self) -> str:
        """The digest as hex digits."""
        whole = self._digest.copy()
        for run in self.runs:
            whole.update(_RUN.pack(*run))
        return f"sha256:{whole.hexdigest()}"

    def takes(
        self, header: record.Header, most_bytes: int, most_ns: int, *, needs_former: bool = False
    ) -> bool:
        """Tell whether a record still belongs to this part.

        Args:
            header: of the record.
            most_bytes: bytes of the part.
            most_ns: time of the data that it may span.
            needs_former: whether the record's picture needs the ones before it.
        """
        if not self.rows:
            return True
        if needs_former and header.epoch == self.epoch and self.size_bytes < 2 * most_bytes:
            return True
        is_small = self.size_bytes + header.size_bytes <= most_bytes
        is_short = header.boot_ns - self.first_boot_ns < most_ns
        return header.epoch == self.epoch and (not header.rows or (is_small and is_short))

    def add(self, found: Stored) -> None:
        """Take a record of any kind; of those that are not data only what devices say is kept."""
        header = found.header
        self.to_seqno = header.next_seqno
        self.is_linked = self.is_linked or needs_former(found)
        if header.kind == record.EVENT:
            self._note_event(found.payload)
        if header.rows:
            self._add_rows(found)
        self._extend_piece(found)

    def _note_event(self, payload: memoryview) -> None:
        event = json.loads(bytes(payload))
        if event.get("event") == "opened":
            self.device = dict(event.get("device") or {})

    def _add_rows(self, found: Stored) -> None:
        header = found.header
        if not self.rows:
            self.on_error, self.epoch = found.schema.on_error, header.epoch
            self.first_boot_ns = header.boot_ns
        self.rows += header.rows
        self.last_boot_ns = max(self.last_boot_ns, header.last_boot_ns)
        if self.runs and self.runs[-1][1] == header.seqno:
            self.runs[-1] = (self.runs[-1][0], header.next_seqno)
        else:
            self.runs.append((header.seqno, header.next_seqno))
        row_bytes = header.rows * found.schema.row_bytes
        self._digest.update(found.payload[:row_bytes])

    def _extend_piece(self, found: Stored) -> None:
        header = found.header
        self.size_bytes += header.size_bytes
        begin, end, rows = found.begin, found.end.offset, header.rows
        if self.pieces and self.pieces[-1].file == found.file:
            last = self.pieces.pop()
            begin, rows = last.begin, last.rows + rows
        self.pieces.append(Piece(found.file, begin, end, rows))


def needs_former(found: Stored) -> bool:
    """Tell whether a record's picture needs the ones before it."""
    if found.schema.blob != _LINKED or not found.header.rows:
        return False
    offset = 0
    for one in found.schema.fields:
        if one.name == _KEY:
            return not found.payload[offset]
        offset += int(one.type[2:])
    return False


class LaneWalk:
    """A walk over a lane's records that stops wherever a part is complete.

    Args:
        most_bytes: bytes of the spool that a part may hold; one larger record makes its own part.
        most_ns: time of the data that a part may span.
        planned: the pieces of the lane's earlier parts, in order.
        device: who the lane's device was last said to be.
    """

    def __init__(
        self, most_bytes: int, most_ns: int, planned: Iterable[Piece], device: dict[str, Any]
    ) -> None:
        self._most_bytes, self._most_ns = most_bytes, most_ns
        self._passed: set[str] = set()
        self._at: Point | None = None
        for piece in planned:
            self._stand(Point(piece.file, piece.end))
        self.draft = Draft(device)

    def _stand(self, at: Point) -> None:
        self._at = at
        self._passed.add(at.file)

    def walk(self, segments: Sequence[tuple[Path, int]]) -> bool:
        """Go on over what is durable.

        Returns:
            True if the part is complete and more lies behind it; else all was walked over.
        """
        if self._is_at_end(segments):
            return False
        for found in read_from(segments, self._at, self._passed):
            limits = self._most_bytes, self._most_ns
            if not self.draft.takes(found.header, *limits, needs_former=needs_former(found)):
                return True
            self.draft.add(found)
            self._stand(found.end)
        return False

    def _is_at_end(self, segments: Sequence[tuple[Path, int]]) -> bool:
        if not segments or self._at is None:
            return not segments
        path, end_bytes = segments[-1]
        return self._at == Point(path.name, end_bytes)

    def next_draft(self) -> Draft:
        """Take the part as it is and begin the next behind it."""
        done = self.draft
        self.draft = Draft(done.device)
        return done
