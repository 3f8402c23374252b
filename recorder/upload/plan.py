"""Where the next part of a lane ends, found by walking over its records once.

A part ends before the record that would make it larger or longer than its bounds, or whose rows
are of another ring epoch. A picture that needs the ones before it begins no part: the part goes on
up to the next key frame, or to twice its size. What was walked over is never read again for
planning, however often the spool is looked at.

The digest of a part is SHA-256 over the bytes of its rows in order, and then over its runs of
sequence numbers, (first, number behind the last) as two little-endian 64-bit integers each. For
pictures the rows hold the checksum that was taken at capture, and the pictures themselves are left
out. So it depends neither on batches nor on records nor on any library.

Under recording pictures are passed over unread: they were written a moment ago, and whoever sends
the part reads and verifies every record of it anyway (`Planner` says when, and what a damaged one
costs).

Whatever goes bad, or is given up, between the plan and the sending is left out (`what_is_left`):
the part is planned once more without it, and only that is lost.
"""

from __future__ import annotations

import dataclasses
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
    from recorder.upload.parts import Part

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
        self._runs: list[list[int]] = []
        #: Whether a picture of it needs another: then a part ends before a key frame only.
        self.is_linked = False
        self._pieces: list[list[Any]] = []
        self._digest = hashlib.sha256()

    @property
    def from_seqno(self) -> int:
        """The number of the first sample."""
        return self._runs[0][0]

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """Where its records lie."""
        return tuple(Piece(*one) for one in self._pieces)

    @property
    def digest(self) -> str:
        """The digest as hex digits."""
        whole = self._digest.copy()
        for run in self._runs:
            whole.update(_RUN.pack(*run))
        return f"sha256:{whole.hexdigest()}"

    def takes(
        self, found: Stored, most_bytes: int, most_ns: int, *, needs_former: bool = False
    ) -> bool:
        """Tell whether a record still belongs to this part.

        Args:
            found: the record.
            most_bytes: bytes of the part.
            most_ns: time of the data that it may span.
            needs_former: whether the record's picture needs the ones before it.
        """
        fields = found.fields
        if not self.rows:
            return True
        if fields[record.EPOCH] != self.epoch:
            return False
        if not fields[record.ROWS] or (needs_former and self.size_bytes < 2 * most_bytes):
            return True
        size_bytes = self.size_bytes + record.HEADER_BYTES + fields[record.PAYLOAD_BYTES]
        is_short: bool = fields[record.BOOT_NS] - self.first_boot_ns < most_ns
        return is_short and size_bytes <= most_bytes

    def add(self, found: Stored, *, needs_former: bool = False) -> None:
        """Take a record of any kind; of those that are not data only what devices say is kept."""
        fields = found.fields
        rows = fields[record.ROWS]
        self.to_seqno = fields[record.SEQNO] + rows
        if rows:
            self.is_linked = self.is_linked or needs_former
            self._add_rows(found, rows)
        elif fields[record.KIND] == record.EVENT:
            self._note_event(found.payload)
        size_bytes = record.HEADER_BYTES + fields[record.PAYLOAD_BYTES]
        self.size_bytes += size_bytes
        last = self._pieces[-1] if self._pieces else None
        if last is not None and last[0] == found.file:
            last[2], last[3] = found.begin + size_bytes, last[3] + rows
        else:
            self._pieces.append([found.file, found.begin, found.begin + size_bytes, rows])

    def _note_event(self, payload: memoryview) -> None:
        event = json.loads(bytes(payload))
        if event.get("event") == "opened":
            self.device = dict(event.get("device") or {})

    def _add_rows(self, found: Stored, rows: int) -> None:
        schema, fields = found.schema, found.fields
        if not self.rows:
            self.on_error, self.epoch = schema.on_error, fields[record.EPOCH]
            self.first_boot_ns = fields[record.BOOT_NS]
        self.rows += rows
        self.last_boot_ns = max(self.last_boot_ns, record.last_boot_ns(fields))
        seqno = fields[record.SEQNO]
        if self._runs and self._runs[-1][1] == seqno:
            self._runs[-1][1] = seqno + rows
        else:
            self._runs.append([seqno, seqno + rows])
        self._digest.update(found.payload[: rows * schema.row_bytes])


def needs_former(found: Stored) -> bool:
    """Tell whether a record's picture needs the ones before it."""
    if found.schema.blob != _LINKED or not found.fields[record.ROWS]:
        return False
    offset = 0
    for one in found.schema.fields:
        if one.name == _KEY:
            return not found.payload[offset]
        offset += int(one.type[2:])
    return False


def what_is_left(part: Part, folder: Path, *, is_last: bool) -> Part | None:
    """Return a part of a lane without what is gone since, or does not verify any more.

    It keeps its number, its topic and its time, and so its place between its neighbours: what was
    sent of them before and what comes behind them stays as it is.

    Args:
        part: as it was planned.
        folder: where the lane's segments lie.
        is_last: whether no part of the lane follows. Then it ends with the last record that is
            left: the next one begins there. Else it goes on to where the next one begins.

    Returns:
        The part as it is to be sent, or None if nothing of it is left.
    """
    draft = Draft(part.device)
    for piece in part.pieces:
        begin = Point(piece.file, piece.begin)
        for found in read_from([(folder / piece.file, piece.end)], begin):
            draft.add(found)
    if not draft.rows:
        return None
    return dataclasses.replace(
        part,
        # What was planned unread (see above) may have told a wrong number.
        from_seqno=min(part.from_seqno, draft.from_seqno),
        to_seqno=draft.to_seqno if is_last else part.to_seqno,
        rows=draft.rows,
        pieces=draft.pieces,
        digest=draft.digest,
    )


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
            self._passed.add(piece.file)
            self._at = Point(piece.file, piece.end)
        self.draft = Draft(device)

    @property
    def since(self) -> str:
        """Name of the segment that it goes on in; empty before the first."""
        return self._at.file if self._at is not None else ""

    def walk(self, segments: Sequence[tuple[Path, int]], *, leaves_pictures: bool = False) -> bool:
        """Go on over what is durable.

        Args:
            segments: the lane's, in order, with the durable length of each.
            leaves_pictures: do not read pictures, nor verify records with one: whoever sends the
                part does, and has it planned again where one is damaged.

        Returns:
            True if the part is complete and more lies behind it; else all was walked over.
        """
        if self._is_at_end(segments):
            return False
        draft, limits = self.draft, (self._most_bytes, self._most_ns)
        last: Stored | None = None
        try:
            for found in read_from(segments, self._at, self._passed, leaves_blobs=leaves_pictures):
                is_linked = needs_former(found)
                if not draft.takes(found, *limits, needs_former=is_linked):
                    return True
                draft.add(found, needs_former=is_linked)
                last = found
        finally:  # the disk may fail on the way: what was added is not added again
            if last is not None:
                self._at = last.end
                self._passed.update(one.file for one in draft.pieces)
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
