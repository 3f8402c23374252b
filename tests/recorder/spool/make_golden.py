"""Small spools that hold one of everything, and the golden one that every later version must read.

``python -m tests.recorder.spool.make_golden DIRECTORY`` wrote ``tests/data/spool-1`` once, under a
stopped clock and with fixed ids, and never writes over anything: a later format gets a golden spool
of its own.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import struct
import sys
import tempfile
import uuid
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drivers.base import boot_ns
from recorder import record
from recorder.clock import system_anchor
from recorder.record import Anchor
from recorder.ring import RingReader
from recorder.schema import LaneSchema
from recorder.session.ledger import LaneLedger
from recorder.session.session import Session
from recorder.spool.journal import Journal
from recorder.spool.recording import Recording
from recorder.spool.spool import Spool
from recorder.time_model import TimeModel
from tests.recorder.building import Producer, rows, schema
from tests.recorder.spool.independent_reader import read_segment

BOOT = uuid.UUID(int=0x0B007)
SESSIONS = ("00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002")
SEGMENT_BYTES = 1600
#: Of a line of the expected content; times are boot_ns, period_ns and expected.
COLUMNS = ("offset", "kind", "seqno", "rows", "times", "losses", "payload_bytes", "payload_crc")
_HEAD = struct.Struct("<8sIIQQ")


@dataclass(frozen=True)
class Put:
    """One record as it was given to the ring."""

    lane: str
    epoch: int
    position: int
    kind: int
    seqno: int
    rows: int
    payload: bytes
    ring_lost: int

    @property
    def size_bytes(self) -> int:
        return record.HEADER_BYTES + len(self.payload)


@dataclass(repr=False)
class Made:
    """A spool in memory, file by file, and what is in it: the truth that readers are held against.

    Args:
        files: bytes by path below the spool.
        placed: by path of a segment, its records in order, each with its offset; segments that
            were given up are in it too.
        evicted: paths of the segments that were given up.
    """

    files: dict[str, bytes]
    placed: dict[str, list[tuple[int, Put]]] = field(default_factory=dict)
    evicted: set[str] = field(default_factory=set)

    def write(self, directory: Path) -> None:
        """Bring a directory back to what it was, whatever a test did to it."""
        for path in sorted(directory.rglob("*"), reverse=True):
            if path.is_dir() and not path.is_symlink():
                if not any(path.iterdir()):
                    path.rmdir()
            elif str(path.relative_to(directory)) not in self.files:
                path.unlink()
        for name, raw in self.files.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.is_file() or path.read_bytes() != raw:
                path.write_bytes(raw)

    def segments(self, session_id: str, lane: str) -> list[str]:
        """Return the paths of a lane's segments that are there, oldest first."""
        start = f"sessions/{session_id}/{lane}/"
        return [name for name in self.placed if name.startswith(start) and name in self.files]

    def entries(self, session_id: str) -> list[dict[str, Any]]:
        return list(journal_lines(self.files[f"sessions/{session_id}/journal"]))


def journal_lines(raw: bytes) -> Iterator[dict[str, Any]]:
    """Yield the entries of a journal, read from its docstring alone."""
    for line in raw.split(b"\n")[:-1]:
        if line[:9] == b"%08x " % zlib.crc32(line[9:]):
            yield json.loads(line[9:])


def used_bytes(raw: bytes) -> int:
    """Return how long a segment is without the zeros that it was given in advance.

    The records of these spools end in a byte that is not 0.
    """
    return len(raw.rstrip(b"\0"))


class Maker:
    """Records two lanes into a spool with the real rings and recordings."""

    def __init__(self, directory: Path, boot: str, ids: tuple[str, ...] = SESSIONS) -> None:
        (directory / "rings").mkdir(parents=True)
        self._boot, self._ids = boot, list(ids)
        self._producers = {
            "imu": Producer(directory / "rings", schema("imu"), 4096),
            "cam": Producer(directory / "rings", schema("cam", blob="jpeg"), 8192),
        }
        self._readers = {name: RingReader(one.ring.path) for name, one in self._producers.items()}
        self._noise = random.Random(4)
        self.spool = Spool.make(directory / "spool")
        self._before: dict[int, Any] = {}
        self.puts: list[Put] = []
        self.made = Made({})
        self.recording = self.announce()

    def announce(self) -> Recording:
        lanes = [LaneLedger(name, rate_hz=500.0) for name in self._producers]
        session = Session(
            id=self._ids.pop(0),
            boot_id=self._boot,
            type="Test",
            identifier="",
            vehicle="car",
            announced_boot_ns=boot_ns(),
            lanes=lanes,
        )
        return Recording.announce(self.spool, session, {"fixed": True}, SEGMENT_BYTES)

    def put(self, lane: str, kind: int, count: int, payload: list[bytes], absent: int = 0) -> None:
        one = self._producers[lane]
        state = one.ring.state
        before = (one.ring.epoch, state.position, kind, state.seqno, count)
        if kind == record.DATA:
            taken = one.put(count, payload, absent=absent)
        else:
            taken = one.ring.put(kind, count, state, payload, boot_ns())
        if taken:
            self.puts.append(Put(lane, *before, b"".join(payload), state.losses.ring))

    def numbers(self, lane: str, count: int, absent: int = 0) -> None:
        """Put one data record: rows, or one row and a picture that is larger the larger `count`."""
        seqno = self._producers[lane].ring.state.seqno
        if lane == "cam":
            blob = self._noise.randbytes(40 * count) + b"\xff\xd9"
            self.put(lane, record.DATA, 1, [rows(seqno), blob], absent)
        else:
            self.put(lane, record.DATA, count, [rows(seqno, count)], absent)

    def say(self, lane: str, text: str, kind: int = record.EVENT) -> None:
        self.put(lane, kind, 0, [json.dumps({"event": text}).encode()])

    def anchor(self, lane: str, source: str) -> None:
        now = boot_ns()
        self.put(lane, record.ANCHOR, 0, [Anchor(now, now + 5, 10**18 + now, 1000, source).pack()])

    def commit(self) -> None:
        for reader in self._readers.values():
            self.recording.take(reader, self._before.get(reader.epoch))
        self.recording.commit()
        self.recording.settle()
        for reader in self._readers.values():
            reader.free(reader.position)

    def beat(self) -> None:
        self.recording.beat(TimeModel([system_anchor()]))
        self.recording.commit()

    def roll_over(self) -> None:
        self.commit()
        self._before.update(self.recording.behind())
        self.recording.end("roll_over", is_destination=True)
        self.recording = self.announce()

    def evict(self, lane: str) -> None:
        """Give the lane's oldest segment of the running session up."""
        session_id = self.recording.session.id
        path = self.spool.segments(session_id, lane)[0]
        name = str(path.relative_to(self.spool.directory))
        self._place(name, path.read_bytes())
        self.made.evicted.add(name)
        held = sum(one.rows for _, one in self.made.placed[name])
        facts = {"entry": "evicted", "lane": lane, "file": path.name, "rows": held}
        self.recording.bury({**facts, "delivered": False})
        path.unlink()

    def note_times(self) -> None:
        log = Journal(self.spool.anchors_path(self._boot))
        for source in ("rtc", "gps"):
            now = boot_ns()
            facts = {"boot_ns": now, "monotonic_raw_ns": now + 5, "utc_ns": 10**18 + now}
            log.record({**facts, "uncertainty_ns": 1000, "source": source})
        log.close()

    def _place(self, name: str, raw: bytes) -> None:
        _, begin, _, epoch, first = _HEAD.unpack_from(raw)
        at, found = begin, []
        for one in self.puts:
            if one.epoch == epoch and one.position == first + at - begin:
                if at + one.size_bytes > used_bytes(raw):
                    break
                found.append((at, one))
                at += one.size_bytes
        self.made.placed[name] = found

    def finish(self) -> Made:
        """Stop as a power cut does, and return what is on the disk."""
        made, directory = self.made, self.spool.directory
        ends = [lane.end for lane in self.recording.lanes.values()]
        self.recording.close()
        for path in sorted(directory.rglob("*")):
            if path.is_file():
                made.files[str(path.relative_to(directory))] = path.read_bytes()
        for name, raw in made.files.items():
            if name.endswith(".seg"):
                self._place(name, raw)
            if any(one and name.endswith(one[0]) for one in ends):
                # Also where the disk could not give the blocks in advance.
                made.files[name] = raw.ljust(SEGMENT_BYTES, b"\0")
        made.placed = dict(sorted(made.placed.items()))
        self.close()
        return made

    def close(self) -> None:
        self.recording.close()
        for reader in self._readers.values():
            reader.close()
        for producer in self._producers.values():
            producer.close()


def make(directory: Path, boot: str = "") -> Made:
    """Record a small spool with one of everything: two sessions, the second one left running.

    Args:
        directory: an empty folder for rings and spool.
        boot: the boot in 32 hex digits, or empty: a boot that is over.
    """
    maker = Maker(directory, boot or BOOT.hex)
    maker.note_times()
    _first_session(maker)
    maker.roll_over()
    _second_session(maker)
    return maker.finish()


def _first_session(maker: Maker) -> None:
    maker.say("imu", "opened")
    maker.anchor("imu", "gps")
    for count in (3, 1, 7):
        maker.numbers("imu", count)
        maker.numbers("cam", count)
    maker.commit()
    for count in (40, 40, 5, 60, 60, 60):  # more than the ring holds: the last one is dropped
        maker.numbers("imu", count)
    maker.say("cam", "dropped", record.MARK)
    maker.commit()
    maker.numbers("imu", 2, absent=4)


def _second_session(maker: Maker) -> None:
    for count in (30, 30, 20):
        maker.numbers("imu", count)
        maker.numbers("cam", count // 4)
    maker.commit()
    maker.evict("imu")
    maker.beat()
    for count in (20, 2, 6, 1):
        maker.numbers("imu", count)
        maker.anchor("imu", "pps")
        maker.numbers("cam", 2 + count // 3)
    maker.commit()
    maker.beat()
    maker.say("imu", "goes on")
    maker.numbers("imu", 3)
    maker.numbers("cam", 3)
    maker.commit()


# --- the golden spool -----------------------------------------------------------------------------


def stop_clocks() -> None:
    """Let clocks tick once a call and random numbers be the same ones, in this process for good."""
    ticks, numbers = itertools.count(10**12, 1_000_000), itertools.count(1)

    def now() -> int:
        return next(ticks)

    def this_boot() -> bytes:
        return BOOT.bytes

    def told() -> Anchor:
        at = next(ticks)
        return Anchor(at, at, 10**18 + at, 0, "none")

    stopped: dict[str, Callable[[], Any]] = {
        "boot_ns": now,
        "boot_id": this_boot,
        "system_anchor": told,
    }
    ours = [
        one for name, one in sys.modules.items() if name.startswith(("recorder", "tests", "__"))
    ]
    for module, name in itertools.product(ours, stopped):
        if hasattr(module, name):
            setattr(module, name, stopped[name])
    vars(os)["urandom"] = lambda size: next(numbers).to_bytes(size, "big")


def learn_a_later_key() -> None:
    """Let the camera's schema have a key that this version does not know."""
    known = LaneSchema.to_json

    def to_json(self: LaneSchema) -> str:
        plain = json.loads(known(self))
        later = {"of a later version": [1, None]} if self.lane == "cam" else {}
        return json.dumps({**later, **plain}, separators=(",", ":"))

    vars(sys.modules[LaneSchema.__module__])["LaneSchema"].to_json = to_json


def hurt(made: Made) -> dict[str, Any]:
    """Damage a golden spool in three places, and say what each is."""
    sealed = made.segments(SESSIONS[0], "imu")[2]
    at, lost = made.placed[sealed].pop(0)
    raw = made.files[sealed]
    made.files[sealed] = raw[: at + 130] + bytes([raw[at + 130] ^ 4]) + raw[at + 131 :]
    torn = made.segments(SESSIONS[1], "imu")[-1]
    used = made.files[torn][: used_bytes(made.files[torn])]
    half = made.files[sealed][at : at + 90].rstrip(b"\0")
    made.files[torn] = (used + half).ljust(SEGMENT_BYTES, b"\0")
    journal = f"sessions/{SESSIONS[1]}/journal"
    made.files[journal] += b'0badc0de {"entry":"session","se'
    return {
        "damage": {"file": sealed, "offset": at, "bytes": lost.size_bytes, "rows": lost.rows},
        "torn": {"file": torn, "offset": len(used), "bytes": len(half)},
        "torn_line": {"file": journal, "bytes": 31},
        "evicted": {name: sum(p.rows for _, p in made.placed[name]) for name in made.evicted},
    }


def expected(made: Made, directory: Path) -> dict[str, Any]:
    """Return what a reader must find: from what was put, and times and losses from the files."""
    found: dict[str, Any] = {}
    for name, placed in made.placed.items():
        segment = read_segment(directory / name) if name in made.files else None
        if segment is None:
            continue
        lines = []
        for (at, put), one in zip(placed, segment.records, strict=True):
            said = (at, put.kind, put.seqno, put.rows, put.payload)
            if said != (one.offset, one.kind, one.seqno, one.rows, one.payload):
                raise AssertionError(f"{name}: {said} was put")
            times, losses = list(one.times), list(one.losses)
            lines.append([*said[:4], times, losses, len(put.payload), zlib.crc32(put.payload)])
        found[name] = lines
    return found


def main(place: Path) -> None:
    """Make the golden spool in a directory that does not exist."""
    stop_clocks()
    learn_a_later_key()
    with tempfile.TemporaryDirectory() as scratch:
        made = make(Path(scratch))
    damage = hurt(made)
    made.files.pop("lock", None)
    place.mkdir(parents=True)
    made.write(place / "spool")
    found = expected(made, place / "spool")
    sessions = {
        one: [entry["session"] for entry in made.entries(one) if entry["entry"] == "session"][-1]
        for one in SESSIONS
    }
    lines = [f"{json.dumps(key)}: {json.dumps(one)}" for key, one in found.items()]
    (place / "expected.json").write_text(
        f'{{"columns": {json.dumps(COLUMNS)},\n "hurt": {json.dumps(damage)},\n'
        f' "sessions": {json.dumps(sessions)},\n "records": {{\n' + ",\n".join(lines) + "}}\n"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
