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
one that says otherwise is not a record of this segment.

A reader that meets bytes that are no valid record looks on, byte by byte, for the next valid one.
If one follows, what lies between is damage: it is named, and the loss is exact by sequence numbers.
If none follows, it is a torn tail, left by a loss of power.

What `append` returned survives a crash of this process, and a loss of power only after `sync`.
"""

from __future__ import annotations

import mmap
import os
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from recorder import record
from recorder.errors import DamagedError
from recorder.schema import LaneSchema

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

MAGIC = b"RSEG\0\0\0\1"
SUFFIX = ".seg"
_FIXED = struct.Struct("<8sIIQQ16s16sQq")
_CRC = struct.Struct("<I")
_IOV_MOST = 1024


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
            _FIXED.size + _CRC.size + len(schema),
            len(schema),
            self.epoch,
            self.first_position,
            self.boot_id,
            self.session_id,
            self.first_seqno,
            self.created_boot_ns,
        )
        return fixed + _CRC.pack(zlib.crc32(schema, zlib.crc32(fixed))) + schema


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


class SegmentWriter:
    """The end of a segment that is being written.

    Args:
        directory: the lane's directory in the session's; must exist.
        head: what the segment is; a file of its name must not exist.
    """

    def __init__(self, directory: Path, head: SegmentHead) -> None:
        self.path = directory / head.name
        self.head = head
        self._file = os.open(
            self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o640
        )
        self.end_bytes = 0
        self.rows = 0
        try:
            self._append([memoryview(head.pack())])
        except OSError:
            os.close(self._file)
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
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        os.ftruncate(self._file, end_bytes)
        self.end_bytes, self.rows = end_bytes, rows
        return self

    def append(self, records: Sequence[memoryview], rows: int) -> None:
        """Write whole records at the end, straight from where they lie.

        Raises:
            OSError: they could not be written; the file ends where it ended before.
        """
        self._append(records)
        self.rows += rows

    def _append(self, runs: Sequence[memoryview]) -> None:
        size = sum(map(len, runs))
        try:
            for first in range(0, len(runs), _IOV_MOST):
                _write_all(self._file, runs[first : first + _IOV_MOST])
        except OSError:
            os.ftruncate(self._file, self.end_bytes)
            raise
        self.end_bytes += size

    def sync(self) -> None:
        """Make every appended record durable."""
        os.fdatasync(self._file)

    def close(self) -> None:
        """Close the file; may be called twice."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _write_all(file: int, runs: Sequence[memoryview]) -> None:
    written = os.writev(file, runs)
    left = sum(map(len, runs)) - written
    while left:
        # A signal or a nearly full disk gives a short write; the rest goes piece by piece.
        rest = memoryview(b"".join(runs))[-left:]
        left -= os.write(file, rest)


def first_seqno_of(name: str) -> int:
    """Return the number of the first sample of a segment of this name."""
    return int(name.partition("-")[0])


def epoch_of(name: str) -> int:
    """Return the ring epoch of a segment of this name."""
    return int(name.partition("-")[2].removesuffix(SUFFIX), 16)


def read_head(path: Path) -> SegmentHead:
    """Read what a segment says of itself.

    Raises:
        DamagedError: it does not verify.
    """
    with path.open("rb") as file:
        fixed = file.read(_FIXED.size + _CRC.size)
        if len(fixed) < _FIXED.size + _CRC.size or fixed[:8] != MAGIC:
            raise DamagedError(f"{path}: not a segment of this version")
        _, _, schema_bytes, epoch, position, boot, session, seqno, made = _FIXED.unpack_from(fixed)
        schema = file.read(schema_bytes) if schema_bytes < record.MOST_PAYLOAD_BYTES else b""
    (crc,) = _CRC.unpack_from(fixed, _FIXED.size)
    if zlib.crc32(schema, zlib.crc32(fixed[: _FIXED.size])) != crc:
        raise DamagedError(f"{path}: the head of the segment does not verify")
    return SegmentHead(epoch, position, boot, session, seqno, made, LaneSchema.from_json(schema))


def has_head(path: Path) -> bool:
    """Tell whether a segment is there and its head verifies."""
    try:
        read_head(path)
    except (DamagedError, FileNotFoundError):
        return False
    return True


class SegmentReader:
    """A segment, read from its file's memory; close it when its records are not used any more.

    Args:
        path: the file.
        end_bytes: read only so far (the watermark), or None: as far as the file goes.

    Raises:
        DamagedError: its head does not verify.
    """

    def __init__(self, path: Path, end_bytes: int | None = None) -> None:
        self.path = path
        self.head = read_head(path)
        with path.open("rb") as file:
            self._memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._view = memoryview(self._memory)
        self._end = min(len(self._memory), len(self._memory) if end_bytes is None else end_bytes)
        self.begin_bytes = int.from_bytes(self._memory[8:12], "little")

    def records(self, offset: int | None = None) -> Iterator[tuple[int, record.Header, memoryview]]:
        """Yield offset, header and payload of every valid record; damage is passed over.

        Args:
            offset: where to begin, in the file; None: at the first record.
        """
        for begin, found in self.scan(offset):
            if isinstance(found, record.Header):
                payload = begin + record.HEADER_BYTES
                yield begin, found, self._view[payload : payload + found.payload_bytes]

    def scan(self, offset: int | None = None) -> Iterator[tuple[int, record.Header | Hole]]:
        """Yield offset and header of every valid record, and every hole between them.

        Args:
            offset: where to begin, in the file; None: at the first record.
        """
        offset = self.begin_bytes if offset is None else offset
        while offset < self._end:
            header = self.record_at(offset)
            if header is None:
                next_offset = self._next_valid(offset + 1)
                size = (next_offset or self._end) - offset
                yield offset, Hole(offset, size, next_offset is None)
                offset += size
            else:
                yield offset, header
                offset += header.size_bytes

    def record_at(self, offset: int) -> record.Header | None:
        """Return the header of the valid record at an offset, or None."""
        if offset + record.HEADER_BYTES > self._end:
            return None
        raw = self._view[offset : offset + record.HEADER_BYTES]
        header = record.unpack(raw)
        position = self.head.first_position + offset - self.begin_bytes
        if header is None or header.epoch != self.head.epoch or header.position != position:
            return None
        end = offset + header.size_bytes
        payload = self._view[offset + record.HEADER_BYTES : end]
        valid = end <= self._end and record.verifies(raw, header, [payload])
        return header if valid else None

    def _next_valid(self, offset: int) -> int | None:
        while (offset := self._memory.find(record.MAGIC, offset, self._end)) >= 0:
            if self.record_at(offset) is not None:
                return offset
            offset += 1
        return None

    def close(self) -> None:
        """Let go of the file; may be called twice, and not while its payloads are in use."""
        self._view.release()
        self._memory.close()

    def __enter__(self) -> SegmentReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
