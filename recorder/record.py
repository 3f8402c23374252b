"""Bytes of one record: the same in the ring, in a segment and on every copy of either.

All integers are little-endian. A record is a header of 120 bytes and its payload, without padding:

    offset size  field
         0    4  magic, the bytes ``RREC``
         4    1  version, 1
         5    1  kind: 1 data, 2 anchor, 3 mark, 4 event
         6    2  lane id: CRC-32 (zlib) of the lane's name, lower 16 bits
         8    8  ring epoch: random, made when the ring was made
        16    8  position: bytes that the lane wrote into this ring before this record; never wraps
        24    8  first sequence number
        32    4  rows: samples in the payload of a data record, 0 in every other kind
        36    4  payload length in bytes, at most 67108864 (64 MiB)
        40    8  boot_ns: CLOCK_BOOTTIME of row 0, signed
        48    8  period_ns: row i is at boot_ns + i * period_ns, signed
        56    8  expected: samples that the device's own time says it had to give since the epoch
                 began, this record included
        64   48  six counts of samples lost since the epoch began, 8 bytes each, in the order of
                 `Losses`: source, absent, broken, ring, and two that are zero in version 1
       112    4  CRC-32 (zlib) of bytes 0 to 112 and of the payload
       116    4  the magic again, reversed: ``CERR``
       120    n  payload

A record is valid at a place if and only if
    1. both magics, version and kind are right, and the payload ends inside the file or the ring,
    2. its epoch is that of the ring or segment, and its position is what that place must hold
       (in a segment: the header's first position plus the distance from the end of the header;
       in a ring: the place itself), and
    3. its checksum matches.
So bytes of the ring's last lap, of another ring, or a record inside somebody's payload never count.

Payload of a data record: `rows` rows of the width that the lane's schema says, back to back; if the
schema has a blob, one row and then the blob. A row is the schema's fields in their order without
padding; a field's type is ``<`` or ``>`` (byte order), ``i u f`` (signed, unsigned, float) and its
bytes, as in ``>i2``. Of an anchor: boot_ns, CLOCK_MONOTONIC_RAW, UTC and its uncertainty, each a
signed 64-bit number of ns, and a byte for the source: 0 none, 1 rtc, 2 ntp, 3 gps, 4 pps. Of a mark
or an event: UTF-8 JSON, one object.

Sequence numbers count samples from 0 at acquisition. A record that is not data carries the number
that the next sample will have, and takes none. Losses are cumulative counts, not deltas: a lost
record loses no count. That of the absent goes back where samples come late that were counted so.
Why six places for four counts: a later version can name a cause without moving a byte.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import mmap
    from collections.abc import Iterable, Sequence

MAGIC = b"RREC"
END_MAGIC = b"CERR"
VERSION = 1
DATA, ANCHOR, MARK, EVENT = 1, 2, 3, 4
KINDS = {DATA: "data", ANCHOR: "anchor", MARK: "mark", EVENT: "event"}
MOST_PAYLOAD_BYTES = 64 * 1024 * 1024

_BODY = struct.Struct("<4sBBHQQQIIqqQ6Q")
_TAIL = struct.Struct("<I4s")
_WHOLE = struct.Struct(_BODY.format + _TAIL.format[1:])
#: Of a header what tells where its record belongs and ends; the rest is passed over.
_PLACE = struct.Struct("<4sBB2xQQ8xII72xI4s")
#: The checksum covers the header up to here, and the payload.
CRC_OFFSET = _BODY.size
HEADER_BYTES = _WHOLE.size
#: Places of some values in what `unpack_fields` returns.
KIND, EPOCH, POSITION, SEQNO, ROWS, PAYLOAD_BYTES = 2, 4, 5, 6, 7, 8
BOOT_NS, PERIOD_NS, CRC = 9, 10, 18
_ANCHOR = struct.Struct("<qqqqB")
ANCHOR_SOURCES = ("none", "rtc", "ntp", "gps", "pps")


@dataclass(frozen=True)
class Losses:
    """Samples that were lost on the way to the ring since its epoch began, by cause.

    Args:
        source: the device lost them and goes on (FIFO overflow, dropped frame, skipped epoch).
        absent: the device, or the process that reads it, was not there.
        broken: they came and could not be understood.
        ring: the ring was full.
    """

    source: int = 0
    absent: int = 0
    broken: int = 0
    ring: int = 0

    @property
    def total(self) -> int:
        """Sum over all causes, in samples."""
        return self.source + self.absent + self.broken + self.ring

    def since(self, earlier: Losses) -> Losses:
        """Return what was lost after `earlier`, a count of the same epoch."""
        return Losses(
            self.source - earlier.source,
            self.absent - earlier.absent,
            self.broken - earlier.broken,
            self.ring - earlier.ring,
        )


@dataclass(frozen=True)
class Header:
    """What a record says of itself; see the module for units and meaning."""

    kind: int
    lane: int
    epoch: int
    position: int
    seqno: int
    rows: int
    payload_bytes: int
    boot_ns: int
    period_ns: int
    expected: int
    losses: Losses
    crc: int = 0

    @property
    def size_bytes(self) -> int:
        """Length of the whole record."""
        return HEADER_BYTES + self.payload_bytes

    @property
    def end_position(self) -> int:
        """Position of the record behind this one."""
        return self.position + HEADER_BYTES + self.payload_bytes

    @property
    def next_seqno(self) -> int:
        """Number of the sample behind this record's last."""
        return self.seqno + self.rows

    @property
    def last_boot_ns(self) -> int:
        """CLOCK_BOOTTIME of the last row."""
        return self.boot_ns + max(self.rows - 1, 0) * self.period_ns


@dataclass(frozen=True)
class Anchor:
    """One statement of what time it is.

    Args:
        boot_ns: CLOCK_BOOTTIME.
        monotonic_raw_ns: CLOCK_MONOTONIC_RAW at the same instant; NTP does not slew it.
        utc_ns: UTC at the same instant, ns since 1970.
        uncertainty_ns: bound of the error of `utc_ns`.
        source: one of `ANCHOR_SOURCES`.
    """

    boot_ns: int
    monotonic_raw_ns: int
    utc_ns: int
    uncertainty_ns: int
    source: str

    def pack(self) -> bytes:
        """Return the payload of an anchor record: four signed 64-bit integers and a byte."""
        return _ANCHOR.pack(
            self.boot_ns,
            self.monotonic_raw_ns,
            self.utc_ns,
            self.uncertainty_ns,
            ANCHOR_SOURCES.index(self.source),
        )

    @classmethod
    def unpack(cls, payload: bytes | memoryview) -> Anchor:
        """Read the payload of an anchor record."""
        boot, raw, utc, uncertainty, source = _ANCHOR.unpack(payload)
        return cls(boot, raw, utc, uncertainty, ANCHOR_SOURCES[source])


def lane_id(name: str) -> int:
    """Return the 16-bit number under which a lane's records go; a check, not an identity.

    >>> lane_id("imu")
    47588
    """
    return zlib.crc32(name.encode()) & 0xFFFF


def pack(header: Header, payload: Sequence[bytes | bytearray | memoryview]) -> bytes:
    """Return the 120 header bytes of a record.

    Args:
        header: its fields; `payload_bytes` must be the length of all parts and `crc` is ignored.
        payload: the payload's parts, in order.
    """
    lost = header.losses
    body = _BODY.pack(
        MAGIC,
        VERSION,
        header.kind,
        header.lane,
        header.epoch,
        header.position,
        header.seqno,
        header.rows,
        header.payload_bytes,
        header.boot_ns,
        header.period_ns,
        header.expected,
        lost.source,
        lost.absent,
        lost.broken,
        lost.ring,
        0,
        0,
    )
    return body + _TAIL.pack(checksum(body, payload), END_MAGIC)


def checksum(body: bytes | memoryview, payload: Iterable[bytes | bytearray | memoryview]) -> int:
    """Return the CRC-32 of a header's first 112 bytes and the payload's parts."""
    crc = zlib.crc32(body)
    for part in payload:
        crc = zlib.crc32(part, crc)
    return crc


def unpack_fields(raw: bytes | memoryview | mmap.mmap, offset: int = 0) -> tuple[Any, ...]:
    """Return the 20 values of a header as they lie there, whatever they are.

    For whoever walks over many records: a tuple costs a sixth of a `Header`.
    """
    return _WHOLE.unpack_from(raw, offset)


def measure(raw: bytes, epoch: int, position: int) -> tuple[int, int, int] | None:
    """Return rows, payload length and checksum of a header, if it may lie at a place of a ring.

    For whoever walks over many records and needs no more of each: half the cost.
    """
    magic, version, kind, ring, there, rows, size, crc, end_magic = _PLACE.unpack(raw)
    if there != position or ring != epoch or magic != MAGIC or end_magic != END_MAGIC:
        return None
    if version != VERSION or kind not in KINDS or size > MOST_PAYLOAD_BYTES:
        return None
    return rows, size, crc


def is_plausible(fields: tuple[Any, ...]) -> bool:
    """Tell whether magic, version, kind and length can be those of a record."""
    return (
        fields[0] == MAGIC
        and fields[-1] == END_MAGIC
        and fields[1] == VERSION
        and fields[2] in KINDS
        and fields[PAYLOAD_BYTES] <= MOST_PAYLOAD_BYTES
    )


def last_boot_ns(fields: tuple[Any, ...]) -> int:
    """Return CLOCK_BOOTTIME of the last row of the record that `unpack_fields` read."""
    last: int = fields[BOOT_NS] + max(fields[ROWS] - 1, 0) * fields[PERIOD_NS]
    return last


def header_of(fields: tuple[Any, ...]) -> Header:
    """Return the header that `unpack_fields` read."""
    kind, lane, epoch, position, seqno, rows, size, boot, period, expected = fields[2:12]
    losses = Losses(*fields[12:16])
    return Header(
        kind,
        lane,
        epoch,
        position,
        seqno,
        rows,
        size,
        boot,
        period,
        expected,
        losses,
        fields[CRC],
    )


def verifies(
    raw: bytes | memoryview,
    fields: tuple[Any, ...],
    payload: Iterable[bytes | bytearray | memoryview],
) -> bool:
    """Tell whether the checksum among a header's values, read from `raw`, matches the bytes."""
    is_whole: bool = checksum(raw[:CRC_OFFSET], payload) == fields[CRC]
    return is_whole
