"""Wounds that nobody thought of: ``python -m tests.recorder.spool.fuzz --seconds N [--seed S]``.

Valid files are cut, spliced, overwritten and, where that leads deeper, signed again, and every
reader must say only what it is documented to say. Runs rounds of each target in turn until the time
is over; the last line has the figures, the exit code the verdict. A finding is printed with the
seed of its round, shrunk.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import shutil
import struct
import sys
import tempfile
import time
import traceback
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from recorder import record
from recorder.errors import DamagedError, RingError, SpoolError
from recorder.ring import RingReader, RingWriter
from recorder.run import Run
from recorder.spool import journal
from recorder.spool.journal import Journal
from recorder.spool.reader import read_from
from recorder.spool.recording import Recording
from recorder.spool.recover import contents
from recorder.spool.segment import SegmentReader
from recorder.spool.spool import Spool
from recorder.spool.takeover import left_running
from recorder.spool.verify import verify
from recorder.spool.watermark import Watermark
from tests.recorder.building import Producer, schema
from tests.recorder.spool.independent_reader import read_segment
from tests.recorder.spool.make_golden import (
    BOOT,
    SEGMENT_BYTES,
    SESSIONS,
    Made,
    journal_lines,
    make,
)

ROUND_EXAMPLES = 200
#: Numbers at which programs break.
EDGES = (0, 1, 0x7F, 0xFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1)
#: What a reader must never raise.
FINDINGS = (
    ArithmeticError,
    AssertionError,
    BufferError,
    LookupError,
    MemoryError,
    OSError,
    RecursionError,
    SpoolError,
    TypeError,
    ValueError,
    struct.error,
)
_RING_CRC_AT, _RING_SCHEMA_AT = 56, 512


@dataclass(frozen=True)
class Cut:
    """One change to a file: at a share of its length, by a kind of its own."""

    kind: str
    at: float
    size: int
    value: int

    def apply(self, raw: bytes) -> bytes:
        at = int(self.at * len(raw))
        end = at + self.size
        if self.kind == "cut":
            return raw[:at]
        if self.kind == "drop":
            return raw[:at] + raw[end:]
        if self.kind == "repeat":
            return raw[:end] + raw[at:]
        if self.kind == "move":
            return raw[end:] + raw[at:end] + raw[:at]
        return raw[:at] + self.new(raw, at) + raw[at + len(self.new(raw, at)) :]

    def new(self, raw: bytes, at: int) -> bytes:
        """Return what is written over the bytes at a place."""
        if self.kind == "flip":
            return bytes(one ^ 1 << self.value % 8 for one in raw[at : at + 1])
        if self.kind == "edge":
            width = 1 << self.size % 4
            edge = EDGES[self.value % len(EDGES)] & (1 << 8 * width) - 1
            return edge.to_bytes(width, "little")
        if self.kind == "copy":
            begin = self.value % max(len(raw), 1)
            return raw[begin : begin + self.size]
        return bytes(self.size)


KINDS = ("flip", "flip", "edge", "edge", "copy", "zeros", "cut", "drop", "repeat", "move")
cuts = st.lists(
    st.builds(
        Cut,
        kind=st.sampled_from(KINDS),
        at=st.floats(0, 1, exclude_max=True),
        size=st.integers(1, 600),
        value=st.integers(0, 2**32),
    ),
    min_size=1,
    max_size=4,
)


def hurt(raw: bytes, changes: list[Cut]) -> bytes:
    for one in changes:
        raw = one.apply(raw)
    return raw


def resigned(raw: bytes) -> bytes:
    """Make the checksum of everything that looks like a record right again."""
    found, at = bytearray(raw), raw.find(record.MAGIC)
    while at >= 0:
        if at + record.HEADER_BYTES <= len(found):
            (size,) = struct.unpack_from("<I", found, at + 36)
            payload = found[at + record.HEADER_BYTES : at + record.HEADER_BYTES + size]
            struct.pack_into("<I", found, at + 112, zlib.crc32(found[at : at + 112] + payload))
        at = raw.find(record.MAGIC, at + 1)
    return bytes(found)


class Bench:
    """A spool and a ring in a scratch directory, and what is done to them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.made: Made = make(directory / "made")
        self.spool = directory / "spool"
        self.spool.mkdir()
        self.made.write(self.spool)
        self.segments = [name for name in self.made.placed if name in self.made.files]
        producer = Producer(directory, schema(), 4096)
        for _ in range(9):
            producer.put(20)
        self.ring = producer.ring.path
        producer.close()
        self.ring_bytes = self.ring.read_bytes()
        self.water = directory / "watermark"
        Watermark(SESSIONS[1], {"imu": ("a.seg", 7), "cam": ("b.seg", 2**40)}).publish(self.water)
        self.water_bytes = self.water.read_bytes()

    # --- what is tried ----------------------------------------------------------------------------

    def segment(self, which: int, changes: list[Cut], *, is_signed: bool) -> None:
        """A segment: both readers agree, what is found tiles the file, whole records are found."""
        name = self.segments[which % len(self.segments)]
        path, before = self.spool / name, self.made.files[name]
        raw = hurt(before, changes)
        path.write_bytes(resigned(raw) if is_signed else raw)
        try:
            self._read_segment(path)
            if not is_signed and read_segment(path) is not None:
                self._find_whole(path, name, raw)
        finally:
            path.write_bytes(before)

    def _read_segment(self, path: Path) -> None:
        second = read_segment(path)
        try:
            with SegmentReader(path) as segment:
                end = segment.begin_bytes
                for offset, one in segment.scan():
                    assert offset == end
                    end += one.size_bytes
                assert end <= path.stat().st_size
        except DamagedError:
            assert second is None
            return
        known = contents(path)
        assert second is not None
        found = [(one.begin, bytes(one.payload)) for one in read_from([(path, 1 << 40)], None)]
        assert found == [(one.offset, one.payload) for one in second.records]
        assert known.records == len(found)

    def _find_whole(self, path: Path, name: str, raw: bytes) -> None:
        found = {one.begin for one in read_from([(path, 1 << 40)], None)}
        for at, put in self.made.placed[name]:
            end = at + put.size_bytes
            if raw[at:end] == self.made.files[name][at:end]:
                assert at in found
        true = {at: put.payload for at, put in self.made.placed[name]}
        for one in read_from([(path, 1 << 40)], None):
            assert true.get(one.begin) == bytes(one.payload)

    def whole_spool(self, which: int, changes: list[Cut], *, is_signed: bool) -> None:
        """Any file of a spool: it is verified and recovered, and recording can go on."""
        names = sorted(name for name in self.made.files if name not in ("lock", "FORMAT"))
        name = names[which % len(names)]
        raw = hurt(self.made.files[name], changes)
        is_segment = name.endswith(".seg")
        self.made.write(self.spool)
        (self.spool / name).write_bytes(resigned(raw) if is_signed and is_segment else raw)
        try:
            spool = Spool(self.spool)
            verify(self.spool)
            spool.anchors(BOOT.hex)
            for session in left_running(spool):
                recording = Recording.resume(spool, session, SEGMENT_BYTES, None)
                unbalanced = [t for one in recording.session.lanes for t in one.imbalances()]
                assert is_signed or not unbalanced, unbalanced
                recording.end("power_loss", is_destination=True)
            verify(self.spool)
            assert not list(left_running(spool))
        finally:
            self.made.write(self.spool)

    def journal(self, which: int, changes: list[Cut], *, is_signed: bool) -> None:
        """A journal: exactly its valid lines are read, and it can be written on."""
        name = f"sessions/{SESSIONS[(which + is_signed) % 2]}/journal"
        raw = hurt(self.made.files[name], changes)
        path = self.directory / "journal"
        path.write_bytes(raw)
        found = journal.contents(path)
        assert found.entries == list(journal_lines(raw))
        assert found.end_bytes + found.torn_bytes == len(raw)
        journal.first(path)
        log = Journal(path)
        log.append({"entry": "behind"})
        log.close()
        assert journal.read(path) == [*found.entries, {"entry": "behind"}]

    def watermark(self, which: int, changes: list[Cut], *, is_signed: bool) -> None:
        """A watermark: it is read as it was published, or not at all."""
        del which, is_signed
        true = Watermark.read(self.water)
        path = self.directory / "hurt watermark"
        path.write_bytes(hurt(self.water_bytes, changes))
        assert Watermark.read(path) in (None, true)

    def ring_file(self, which: int, changes: list[Cut], *, is_signed: bool) -> None:
        """A ring: it is refused, or gives records of its own, and can be written on."""
        raw = hurt(self.ring_bytes, changes)
        if is_signed:
            raw = self._sign_ring(resigned(raw))
        path = self.directory / f"fuzz.{which % 2:016x}.ring"
        path.write_bytes(raw)
        with contextlib.suppress(RingError):
            _read_ring(path)
        with contextlib.suppress(RingError):
            writer = RingWriter(path)
            writer.put(record.EVENT, 0, writer.state, [b"{}"], 1)
            writer.close()

    def _sign_ring(self, raw: bytes) -> bytes:
        """Make the checksum of a ring's head right again; its schema is what it was."""
        length = int.from_bytes(self.ring_bytes[12:16], "little")
        text = self.ring_bytes[_RING_SCHEMA_AT : _RING_SCHEMA_AT + length]
        if len(raw) < _RING_SCHEMA_AT + length:
            return raw
        head = raw[:12] + self.ring_bytes[12:16] + raw[16:_RING_CRC_AT]
        crc = struct.pack("<I", zlib.crc32(text, zlib.crc32(head)))
        between = raw[_RING_CRC_AT + 4 : _RING_SCHEMA_AT]
        return head + crc + between + text + raw[_RING_SCHEMA_AT + length :]


def _read_ring(path: Path) -> None:
    reader = RingReader(path)
    begin = reader.position
    size = sum(header.size_bytes for header, _ in reader.records())
    assert size <= reader.capacity_bytes
    reader.position = begin
    assert _bytes_of(reader.run(1 << 40)) == size
    reader.head()
    reader.free(reader.position)
    reader.close()


def _bytes_of(run: Run | None) -> int:
    return run.size_bytes if run else 0


Target = Callable[..., None]


def run_round(target: Target, number: int, examples: int = ROUND_EXAMPLES) -> None:
    """Try a target many times, in a way that follows from a number.

    Raises:
        AssertionError: a reader said what it must not; whatever else is raised is a finding too.
    """

    @seed(number)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=False,
        report_multiple_bugs=False,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(which=st.integers(0, 1000), changes=cuts, is_signed=st.booleans())
    def attempt(which: int, changes: list[Cut], is_signed: bool) -> None:
        target(which, changes, is_signed=is_signed)

    attempt()


def targets(bench: Bench) -> dict[str, Target]:
    return {
        "segment": bench.segment,
        "journal": bench.journal,
        "watermark": bench.watermark,
        "ring": bench.ring_file,
        "spool": bench.whole_spool,
    }


def main(seconds: float, first: int) -> int:
    """Fuzz for so long; return how many rounds found something."""
    logging.disable(logging.CRITICAL)
    directory = Path(tempfile.mkdtemp())
    until_s = time.monotonic() + seconds
    tried = findings = 0
    told: set[str] = set()
    number = first
    try:
        bench = Bench(directory)
        while time.monotonic() < until_s:
            for name, target in targets(bench).items():
                try:
                    run_round(target, number)
                except FINDINGS:
                    findings += 1
                    text = traceback.format_exc()
                    where = text.strip().splitlines()[-1][:80]
                    if where not in told:
                        told.add(where)
                        sys.stdout.write(f"--- {name}, round {number}\n{text}\n")
                        sys.stdout.flush()
                tried += ROUND_EXAMPLES
            number += 1
    finally:
        shutil.rmtree(directory)
    sys.stdout.write(
        f"{tried} examples in {number - first} rounds of {len(targets(bench))} targets, "
        f"{seconds:.0f} s: {findings} findings, {len(told)} of them different\n"
    )
    return findings


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    sys.exit(bool(main(chosen.seconds, chosen.seed)))
