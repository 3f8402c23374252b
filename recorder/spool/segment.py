"""One segment: a file of records of one lane, one ring epoch and one session.

The name is ``<number of the first sample, 12 digits>-<epoch, 16 hex digits>.seg``. All integers are
little-endian:

    offset size  field
         0    8  magic, the bytes ``RSEG`` 0 0 0 and the version, 1
         8    4  where the records begin
        12    4  length of the schema in bytes
        16    8  ring epoch
        24    8  position of the first record
        32   16  boot id
        48   16  session id
        64    8  number of the first sample
        72    8  made, CLOCK_BOOTTIME in ns
        80    4  CRC-32 (zlib) of bytes 0 to 80 and of the schema
        84    n  schema (`recorder.schema`), JSON
     begin    n  records (`recorder.record`), one behind the other

The position of a record is the first position plus its distance from the beginning of the records;
one that says otherwise is not a record of this segment. So neither what a file held before, nor a
record in somebody's payload is ever taken for one.

Behind the last record the file may go on: its blocks are taken when it is made, and what was never
written reads as zeros. When it is sealed it is cut to its length; after a loss of power it may not
be. A reader that meets bytes that are no valid record looks on, byte by byte, for the next valid
one. If one follows, what lies between is damage: it is named, and the loss is exact by sequence
numbers. If none follows, it is a torn tail, left by a loss of power; zeros to the end of the file
are no tail, but unused.

The session's journal, the file ``journal`` one folder up, is lines of text: CRC-32 (zlib) of what
follows the space in 8 hex digits, a space, a JSON object. Of a segment it holds a second copy of
the head (entry ``segment``: ``file``, and ``head`` in hex) and, once that is sealed, its length
(entry ``sealed``: ``file``, ``bytes``): what does not verify before that length is no torn tail but
damage. Segments of two epochs are in the order in which their first ones were made.

A segment with the magic of a later version is left alone and named, and so is a spool with another
line in its file ``FORMAT``. A reader of version 1 reads every file of version 1 for ever; the files
in ``tests/data`` say so.

What `append` returned survives a crash of this process, and a loss of power only after
`recorder.spool.volume.Volume.make_durable`.
"""

from __future__ import annotations

import contextlib
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recorder import record
from recorder.errors import DamagedError
from recorder.schema import LaneSchema
from recorder.spool import journal
from recorder.spool.names import SUFFIX
from recorder.spool.window import Window

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAGIC = b"RSEG\0\0\0\1"
_FIXED = struct.Struct("<8sIIQQ16s16sQq")
_CRC = struct.Struct("<I")
#: Length of a head without its schema.
HEAD_BYTES = _FIXED.size + _CRC.size
_CHUNK_BYTES = 65_536


@dataclass(frozen=True)
class SegmentHead:
    """What a segment says of itself."""

    epoch: int
    first_position: int
    boot_id: bytes
    session_id: bytes
    first_seqno: int
    created_boot_ns: int
    schema: LaneSchema

    @property
    def name(self) -> str:
        """Name of its file."""
        return f"{self.first_seqno:012d}-{self.epoch:016x}{SUFFIX}"

    def pack(self) -> bytes:
        """Return the bytes before the first record."""
        schema = self.schema.to_json().encode()
        fixed = _FIXED.pack(
            MAGIC,
            HEAD_BYTES + len(schema),
            len(schema),
            self.epoch,
            self.first_position,
            self.boot_id,
            self.session_id,
            self.first_seqno,
            self.created_boot_ns,
        )
        return fixed + _CRC.pack(zlib.crc32(schema, zlib.crc32(fixed))) + schema

    @classmethod
    def unpack(cls, raw: bytes) -> SegmentHead | None:
        """Read what `pack` made, or None if it does not verify."""
        if len(raw) < HEAD_BYTES or raw[:8] != MAGIC:
            return None
        _, _, schema_bytes, epoch, position, boot, session, seqno, made = _FIXED.unpack_from(raw)
        schema = raw[HEAD_BYTES : HEAD_BYTES + schema_bytes]
        (crc,) = _CRC.unpack_from(raw, _FIXED.size)
        if zlib.crc32(schema, zlib.crc32(raw[: _FIXED.size])) != crc:
            return None
        return cls(epoch, position, boot, session, seqno, made, LaneSchema.from_json(schema))


@dataclass(frozen=True)
class Hole:
    """Bytes of a segment that are no valid record.

    Args:
        offset: where they begin in the file.
        size_bytes: how many.
        is_tail: whether nothing valid follows.
    """

    offset: int
    size_bytes: int
    is_tail: bool


def read_head(path: Path) -> SegmentHead:
    """Read what a segment says of itself; if that is damaged, what its session's journal says.

    Raises:
        DamagedError: neither verifies, or it is another segment's.
        FileNotFoundError: there is no such file.
    """
    return _checked(path, _read_head(path)[0])


def _read_head(path: Path) -> tuple[bytes, bool]:
    """Return the bytes of the head, and whether they are the file's own."""
    raw = _first_head(path)
    is_own = SegmentHead.unpack(raw) is not None
    return raw if is_own else _second_head(path), is_own


def _first_head(path: Path) -> bytes:
    try:
        # A place of it that cannot be read is zeros: the journal has a second copy.
        with contextlib.closing(Window(path, is_leaping=True)) as window:
            raw = bytes(window.get(0, min(HEAD_BYTES, window.end_bytes)))
            end = HEAD_BYTES + _schema_bytes(raw)
            raw = bytes(window.get(0, min(end, window.end_bytes)))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DamagedError(f"{path}: cannot be read: {error}") from error
    if raw[:7] == MAGIC[:7] and raw[7:8] > MAGIC[7:8]:
        raise DamagedError(f"{path}: a segment of version {raw[7]}, this one knows {MAGIC[7]}")
    return raw


def _checked(path: Path, raw: bytes) -> SegmentHead:
    head = SegmentHead.unpack(raw)
    if head is None:
        raise DamagedError(f"{path}: the head of the segment does not verify")
    if path.stat().st_size < begin_of(raw):
        raise DamagedError(f"{path}: cut off in its head")
    if head.name != path.name:
        raise DamagedError(f"{path}: its head says that it is {head.name}")
    return head


def begin_of(raw: bytes) -> int:
    """Return where the records begin, as the bytes of a head say."""
    return int.from_bytes(raw[8:12], "little")


def _schema_bytes(raw: bytes) -> int:
    size = _FIXED.unpack_from(raw)[2] if len(raw) == HEAD_BYTES else 0
    return size if size < record.MOST_PAYLOAD_BYTES else 0


def _second_head(path: Path) -> bytes:
    # The last: a full disk may have kept the file of an earlier one from being made.
    for one in reversed(journal.read(path.parent.parent / "journal")):
        if one["entry"] == "segment" and one["file"] == path.name:
            return bytes.fromhex(one["head"])
    return b""


def has_head(path: Path) -> bool:
    """Tell whether a segment is there and its head verifies."""
    try:
        read_head(path)
    except (DamagedError, FileNotFoundError):
        return False
    return True


class SegmentReader:
    """A segment; close it at the end. Damage is passed over; what cannot be read is damage too.

    Args:
        path: the file.
        end_bytes: read only so far (the watermark), or None: as far as the file goes.
        leaves_blobs: leave blobs unread; a record with one ends with its row and is not verified.

    Raises:
        DamagedError: its head does not verify.
    """

    def __init__(
        self, path: Path, end_bytes: int | None = None, *, leaves_blobs: bool = False
    ) -> None:
        self.path = path
        raw, is_own = _read_head(path)
        #: Whether the head was taken from the journal, because the file's own does not verify.
        self.is_head_damaged = not is_own
        self.head, self.begin_bytes = _checked(path, raw), begin_of(raw)
        self._leaves_blobs = leaves_blobs and self.head.schema.blob is not None
        self._window = Window(path, end_bytes, is_leaping=self._leaves_blobs)
        self._end = self._window.end_bytes
        self._ahead = self.head.first_position - self.begin_bytes

    def records(self, offset: int | None = None) -> Iterator[tuple[int, record.Header, memoryview]]:
        """Yield offset, header and payload of each valid record from an offset on (None: all)."""
        for begin, fields, payload in self.walk(offset):
            yield begin, record.header_of(fields), payload

    def walk(self, offset: int | None = None) -> Iterator[tuple[int, tuple[Any, ...], memoryview]]:
        """Yield the same with a header's plain values (`record.unpack_fields`): half the cost."""
        at = self.begin_bytes if offset is None else offset
        while at < self._end:
            found = self._valid_at(at)
            if found is None:
                at = self._next_valid(at + 1) or self._end
                continue
            yield at, *found
            at += record.HEADER_BYTES + found[0][record.PAYLOAD_BYTES]

    def scan(self, offset: int | None = None) -> Iterator[tuple[int, record.Header | Hole]]:
        """Yield offset and header of every valid record, and every hole between them, likewise."""
        end = self.begin_bytes if offset is None else offset
        for begin, fields, _ in self.walk(end):
            if begin > end:
                yield end, Hole(end, begin - end, is_tail=False)
            yield begin, record.header_of(fields)
            end = begin + record.HEADER_BYTES + fields[record.PAYLOAD_BYTES]
        torn_bytes = self._used_end(end) - end
        if torn_bytes:
            yield end, Hole(end, torn_bytes, is_tail=True)

    def _valid_at(self, offset: int) -> tuple[tuple[Any, ...], memoryview] | None:
        """Return the header's values and the payload of the valid record at an offset, or None."""
        begin = offset + record.HEADER_BYTES
        if begin > self._end:
            return None
        head = self._window.get(offset, begin)
        fields = record.unpack_fields(head)
        end = begin + fields[record.PAYLOAD_BYTES]
        is_here = fields[record.POSITION] == offset + self._ahead and end <= self._end
        is_mine = is_here and fields[record.EPOCH] == self.head.epoch
        if not is_mine or not record.is_plausible(fields):
            return None
        if self._leaves_blobs and fields[record.ROWS]:
            return fields, self._window.get(begin, min(begin + self.head.schema.row_bytes, end))
        payload = self._window.get(begin, end)
        return (fields, payload) if record.verifies(head, fields, (payload,)) else None

    def _next_valid(self, offset: int) -> int | None:
        while (offset := self._window.find(record.MAGIC, offset, self._end)) >= 0:
            if self._valid_at(offset) is not None:
                return offset
            offset += 1
        return None

    def _used_end(self, begin: int) -> int:
        """Return where the last byte after `begin` ends that is not zero, or `begin`."""
        end = self._end
        while end > begin:
            start = max(begin, end - _CHUNK_BYTES)
            used = len(bytes(self._window.get(start, end)).rstrip(b"\0"))
            if used:
                return start + used
            end = start
        return begin

    def close(self) -> None:
        """Let go of the file; may be called twice."""
        self._window.close()

    def __enter__(self) -> SegmentReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
