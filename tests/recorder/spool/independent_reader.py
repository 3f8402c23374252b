"""A second reader of segments, from the docstrings of recorder/record.py and segment.py alone."""

from __future__ import annotations

import json
import struct
import zlib
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

HEAD = struct.Struct("<8sIIQQ16s16sQqI")
RECORD = struct.Struct("<4sBBHQQQIIqqQ6QI4s")
MOST_PAYLOAD = 64 * 1024 * 1024

#: One record: its offset in the file, what its header says, its payload.
Found = namedtuple("Found", "offset kind lane epoch position seqno rows times losses payload")
#: One file: what its head says, its records, and stretches (offset, bytes) that are none.
Segment = namedtuple("Segment", "epoch first_position first_seqno schema records bad")


def read_segment(path: Path) -> Segment | None:
    """Read one segment; None if neither its head nor the journal's copy of it verifies."""
    raw = path.read_bytes()
    heads = [head for head in (raw, *_second_heads(path)) if _verifies(head)]
    if not heads:
        return None
    _, begin, length, epoch, first, _, _, seqno, _, _ = HEAD.unpack_from(heads[0])
    if begin > len(raw) or path.name != f"{seqno:012d}-{epoch:016x}.seg":
        return None
    records: list[Found] = []
    bad: list[tuple[int, int]] = []
    at = end = begin
    while at >= 0:
        if one := _record(raw, at, epoch, first + at - begin):
            bad += [(end, at - end)] if end < at else []
            records.append(one)
            at = end = at + RECORD.size + len(one.payload)
        else:
            at = raw.find(b"RREC", at + 1)
    # Behind the last record, zeros to the end of the file are space that was never used.
    torn = len(raw[end:].rstrip(b"\0"))
    bad += [(end, torn)] if torn else []
    return Segment(epoch, first, seqno, heads[0][HEAD.size : HEAD.size + length], records, bad)


def _verifies(head: bytes) -> bool:
    length, crc = int.from_bytes(head[12:16], "little"), int.from_bytes(head[80:84], "little")
    schema = head[HEAD.size : HEAD.size + length]
    return head[:8] == b"RSEG\0\0\0\1" and zlib.crc32(head[:80] + schema) == crc


def _second_heads(path: Path) -> Iterator[bytes]:
    journal = path.parent.parent / "journal"
    for line in journal.read_bytes().split(b"\n") if journal.is_file() else []:
        if line[:9] == b"%08x " % zlib.crc32(line[9:]):
            entry = json.loads(line[9:])
            if entry["entry"] == "segment" and entry["file"] == path.name:
                yield bytes.fromhex(entry["head"])


def _record(raw: bytes, at: int, epoch: int, position: int) -> Found | None:
    if at + RECORD.size > len(raw):
        return None
    (magic, version, kind, lane, its_epoch, its_position, seqno, rows, length, boot, period,
     expected, *losses, crc, end_magic) = RECORD.unpack_from(raw, at)  # fmt: skip
    if magic != b"RREC" or version != 1 or kind not in (1, 2, 3, 4) or end_magic != b"CERR":
        return None
    payload = raw[at + RECORD.size : at + RECORD.size + length]
    if its_epoch != epoch or its_position != position or length > MOST_PAYLOAD:
        return None
    if len(payload) < length or zlib.crc32(raw[at : at + 112] + payload) != crc:
        return None
    times = (boot, period, expected)
    return Found(at, kind, lane, epoch, position, seqno, rows, times, tuple(losses), payload)
