"""The ring between a lane and the spooler: one file in memory, one writer, one reader, no lock.

The file lies on a tmpfs, so it survives the death of either side and not the machine's. It is named
``<lane>.<epoch, 16 hex digits>.ring``. All integers are little-endian:

    offset size  field
         0    8  magic, the bytes ``RRING`` 0 0 and the version, 1
         8    4  where the data begins: a multiple of 4096
        12    4  length of the schema in bytes
        16    8  capacity of the data in bytes
        24    8  epoch: random, never 0
        32   16  boot id of the machine that made it
        48    8  created, CLOCK_BOOTTIME in ns
        56    4  CRC-32 of bytes 0 to 56 and of the schema
       128  128  head, even generations   written by the lane: where it goes on, and its counts
       256  128  head, odd generations
       384   64  tail, even generations   written by the spooler: what it holds durably
       448   64  tail, odd generations
       512    n  schema (`recorder.schema`), JSON
    data begin   records (`recorder.record`) one behind the other; the byte at position p lies at
                 data begin + p modulo capacity, so a record may go round the end

Neither a lock nor a memory barrier can be had from Python, and ARM reorders stores: what makes a
record visible is its checksum, in which epoch and position are included. A record that does not
verify at the expected position is not there yet. Head and tail are written into two places in turn,
each with a generation and a checksum, because no store is promised to be atomic: the valid one of
the higher generation counts.

The reader frees a place only after what it read is durable on disk. When the ring is full the
writer never waits: it drops the new record and counts its samples.
"""

from __future__ import annotations

import mmap
import os
import struct
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING

from recorder import record
from recorder.clock import boot_id, boot_ns
from recorder.errors import RingError
from recorder.lane_state import NO_COUNTER, STATE_BYTES, LaneState
from recorder.run import Run
from recorder.schema import LaneSchema
from recorder.word import GENERATION_BYTES, Word

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    Buffer = bytes | bytearray | memoryview

MAGIC = b"RRING\0\0\1"
SUFFIX = ".ring"
_FIXED = struct.Struct("<8sIIQQ16sq")
_CRC = struct.Struct("<I")
_TAIL_BYTES = GENERATION_BYTES + 8
_HEADS, _TAILS, _SCHEMA = (128, 256), (384, 448), 512


class _Mapping:
    """A ring's file in memory; what writer and reader have in common."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("r+b") as file:
                self._memory = mmap.mmap(file.fileno(), 0)
        except (OSError, ValueError) as error:
            raise RingError(f"{path}: cannot be mapped: {error}") from error
        fixed = self._memory[: _FIXED.size + 4]
        if len(fixed) < _FIXED.size + 4 or fixed[:8] != MAGIC:
            raise RingError(f"{path}: not a ring of this version")
        _, begin, schema_bytes, capacity, epoch, boot, created = _FIXED.unpack_from(fixed)
        self._begin: int = begin
        self._end: int = begin + capacity
        self.capacity_bytes: int = capacity
        self.epoch: int = epoch
        schema = self._memory[_SCHEMA : _SCHEMA + schema_bytes]
        (crc,) = _CRC.unpack_from(fixed, _FIXED.size)
        if zlib.crc32(schema, zlib.crc32(fixed[: _FIXED.size])) != crc:
            raise RingError(f"{path}: the head of the ring does not verify")
        if begin < _SCHEMA + schema_bytes or not 0 < capacity == len(self._memory) - begin:
            raise RingError(f"{path}: {len(self._memory)} bytes are not as long as its head says")
        self.boot_id: bytes = boot
        self.created_boot_ns: int = created
        self.schema = LaneSchema.from_json(schema)
        self.schema_bytes: int = schema_bytes
        self._view = memoryview(self._memory)
        self._head = Word(self._memory, _HEADS, GENERATION_BYTES + STATE_BYTES)
        self._tail = Word(self._memory, _TAILS, _TAIL_BYTES)
        self._freed = 0

    def _slices(self, position: int, size_bytes: int) -> list[memoryview]:
        """Return the one or two runs of memory that hold `size_bytes` from `position` on."""
        begin = self._begin + position % self.capacity_bytes
        end = begin + size_bytes
        if end <= self._end:
            return [self._view[begin:end]]
        turned = self._begin + end - self._end
        return [self._view[begin : self._end], self._view[self._begin : turned]]

    def record_at(self, position: int) -> tuple[record.Header, list[memoryview]] | None:
        """Return the record at a position and its memory, header included, or None."""
        if (found := self._found_at(position)) is None:
            return None
        header = record.header_of(record.unpack_fields(found[0]))
        return header, self._slices(position, header.size_bytes)

    def _found_at(self, position: int) -> tuple[bytes, int, int] | None:
        """Return header, rows and length of the record at a position, if it verifies there."""
        begin = self._begin + position % self.capacity_bytes
        # A copy: what is checked must be what is read, though the lane may be writing here.
        raw = self._memory[begin : begin + record.HEADER_BYTES]
        if len(raw) < record.HEADER_BYTES:
            raw = b"".join(self._slices(position, record.HEADER_BYTES))
        if (found := record.measure(raw, self.epoch, position)) is None:
            return None
        rows, payload_bytes, crc = found
        size = record.HEADER_BYTES + payload_bytes
        if size > self.capacity_bytes:
            return None
        if begin + size <= self._end:
            payload = [self._view[begin + record.HEADER_BYTES : begin + size]]
        else:
            payload = self._slices(position + record.HEADER_BYTES, payload_bytes)
        is_whole = record.checksum(raw[: record.CRC_OFFSET], payload) == crc
        return (raw, rows, size) if is_whole else None

    def tail_position(self) -> int:
        """Return up to where the reader freed the ring."""
        raw = self._tail.read()
        if raw is not None:
            self._freed = int.from_bytes(raw, "little")
        return self._freed

    def close(self) -> None:
        """Let go of the memory; may be called twice. The file stays."""
        self._view.release()
        self._memory.close()


def write_empty(path: Path, schema: LaneSchema, epoch: int, capacity_bytes: int) -> None:
    """Write the file of an empty ring, every block of it allocated."""
    text = schema.to_json().encode()
    begin = -(-(_SCHEMA + len(text)) // 4096) * 4096
    fixed = _FIXED.pack(MAGIC, begin, len(text), capacity_bytes, epoch, boot_id(), boot_ns())
    with path.open("wb") as file:
        # Without its blocks a full tmpfs would end the lane with SIGBUS in mid-write.
        os.posix_fallocate(file.fileno(), 0, begin + capacity_bytes)
        file.write(fixed + _CRC.pack(zlib.crc32(text, zlib.crc32(fixed))))
        file.seek(_SCHEMA)
        file.write(text)


class RingWriter(_Mapping):
    """The lane's side. One process holds it at a time (a lock on ``<lane>.lock``)."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        raw = self._head.read()
        self.state = LaneState.unpack(raw) if raw else LaneState()
        self._roll_forward()

    def _roll_forward(self) -> None:
        """Take up records that were whole when the last writer died before it wrote its head."""
        while (found := self.record_at(self.state.position)) is not None:
            header = found[0]
            self.state = replace(
                self.state,
                position=header.end_position,
                seqno=header.next_seqno,
                expected=header.expected,
                losses=header.losses,
                boot_ns=header.last_boot_ns if header.rows else self.state.boot_ns,
                # Its device counter is not in the record: the next gap is counted by time.
                counter=NO_COUNTER if header.rows else self.state.counter,
            )

    def put(
        self, kind: int, rows: int, state: LaneState, payload: Sequence[Buffer], boot_ns: int
    ) -> bool:
        """Write one record, or drop it and count its rows if there is no room.

        Args:
            kind: a kind of `recorder.record`.
            rows: samples in it.
            state: the lane's counts with this record included, as they were booked by the lane;
                its position and seqno are ignored: they are the ring's to give.
            payload: the payload's parts.
            boot_ns: CLOCK_BOOTTIME of row 0.

        Returns:
            Whether it was written. It is visible to the reader at once and not durable.
        """
        size = sum(map(len, payload))
        seqno = self.state.seqno
        header = record.Header(
            kind,
            record.lane_id(self.schema.lane),
            self.epoch,
            self.state.position,
            seqno,
            rows,
            size,
            boot_ns,
            state.period_ns if rows > 1 else 0,
            state.expected,
            state.losses,
        )
        fits = self._has_room(header.size_bytes)
        if fits:
            self._write(header, payload)
            state = state.at(header.end_position, seqno + rows)
        else:
            losses = replace(state.losses, ring=state.losses.ring + rows)
            state = replace(state, position=self.state.position, seqno=seqno + rows, losses=losses)
        self.note(state)
        return fits

    def note(self, state: LaneState) -> None:
        """Keep counts without a record; they travel in the next one."""
        self.state = state
        self._head.write(state.pack())

    def _has_room(self, size_bytes: int) -> bool:
        end = self.state.position + size_bytes
        return end - self._freed <= self.capacity_bytes or (
            end - self.tail_position() <= self.capacity_bytes
        )

    def _write(self, header: record.Header, payload: Sequence[Buffer]) -> None:
        position = header.position
        for part in (record.pack(header, payload), *payload):
            at = memoryview(part)
            for run in self._slices(position, len(at)):
                run[:] = at[: len(run)]
                at = at[len(run) :]
            position += len(part)


class RingReader(_Mapping):
    """The spooler's side."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        if self.boot_id != boot_id():
            self.close()
            raise RingError(f"{path}: a ring of another boot")
        self.position = self.tail_position()

    def head(self) -> LaneState:
        """Return the lane's own newest counts; they may be ahead of the records read."""
        raw = self._head.read()
        return LaneState.unpack(raw) if raw else LaneState()

    def records(self) -> Iterator[tuple[record.Header, list[memoryview]]]:
        """Yield every record that is there, from `position` on, and step behind each.

        The memory of each is valid until `free` passes it.
        """
        while (found := self.record_at(self.position)) is not None:
            self.position = found[0].end_position
            yield found

    def run(self, most_bytes: int) -> Run | None:
        """Return the records that are there, from `position` on, and step behind them.

        Their memory is valid until `free` passes it.

        Args:
            most_bytes: take only so many; the first record is taken whatever its length.

        Returns:
            At least one record, or None if there is none.
        """
        begin = position = self.position
        run = Run()
        while (found := self._found_at(position)) is not None:
            raw, rows, size = found
            if position > begin and position + size > begin + most_bytes:
                break
            run.add(raw, rows)
            if not rows and record.unpack_fields(raw)[record.KIND] == record.ANCHOR:
                payload = b"".join(self._slices(position, size))[record.HEADER_BYTES :]
                run.anchors.append(record.Anchor.unpack(payload))
            position += size
        if position == begin:
            return None
        self.position = position
        run.memory = self._slices(begin, position - begin)
        return run

    def free(self, position: int) -> None:
        """Give the memory before `position` back to the lane: what was there is durable."""
        self._freed = position
        self._tail.write(position.to_bytes(8, "little"))
