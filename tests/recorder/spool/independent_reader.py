"""A second reader of segments, from the docstrings of recorder/record.py and segment.py alone."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

SEGMENT = struct.Struct("<8sIIQQ16s16sQqI")
RECORD = struct.Struct("<4sBBHQQQIIqqQ6QI4s")
MOST_PAYLOAD = 64 * 1024 * 1024


@dataclass(frozen=True)
class Found:
    """One record."""

    offset: int
    kind: int
    epoch: int
    position: int
    seqno: int
    rows: int
    times: tuple[int, int, int]
    losses: tuple[int, ...]
    payload: bytes


@dataclass(frozen=True)
class Segment:
    """One file: its head, its valid records, and stretches (offset, bytes) that are none."""

    epoch: int
    first_position: int
    first_seqno: int
    schema: bytes
    records: list[Found]
    bad: list[tuple[int, int]]


def read_segment(path: Path) -> Segment | None:
    """Read one segment; None if its head does not verify."""
    raw = path.read_bytes()
    if len(raw) < SEGMENT.size:
        return None
    magic, begin, length, epoch, first, _, _, seqno, _, crc = SEGMENT.unpack_from(raw)
    schema = raw[SEGMENT.size : SEGMENT.size + length]
    if magic != b"RSEG\0\0\0\1" or zlib.crc32(raw[:80] + schema) != crc:
        return None
    records: list[Found] = []
    at = begin
    while at < len(raw):
        one = _record(raw, at, epoch, first + at - begin)
        if one is not None:
            records.append(one)
        at += 1 if one is None else RECORD.size + len(one.payload)
    ends = [begin, *(one.offset + RECORD.size + len(one.payload) for one in records)]
    starts = [*(one.offset for one in records), len(raw)]
    bad = [(end, start - end) for end, start in zip(ends, starts, strict=True) if end < start]
    return Segment(epoch, first, seqno, schema, records, bad)


def _record(raw: bytes, at: int, epoch: int, position: int) -> Found | None:
    if raw[at : at + 4] != b"RREC" or at + RECORD.size > len(raw):
        return None
    (_, version, kind, _, its_epoch, its_position, seqno, rows, length, boot, period, expected,
     *losses, crc, end_magic) = RECORD.unpack_from(raw, at)  # fmt: skip
    end = at + RECORD.size + length
    if version != 1 or kind not in (1, 2, 3, 4) or end_magic != b"CERR":
        return None
    if its_epoch != epoch or its_position != position or length > MOST_PAYLOAD or end > len(raw):
        return None
    payload = raw[at + RECORD.size : end]
    if zlib.crc32(raw[at : at + 112] + payload) != crc:
        return None
    times = (boot, period, expected)
    return Found(at, kind, epoch, position, seqno, rows, times, tuple(losses), payload)
