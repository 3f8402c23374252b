"""Rings, spools and processes for the tests, made with the real code."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest

from drivers.base import Device, Driver, Field, Sample
from recorder import config, record
from recorder.clock import boot_id, boot_ns
from recorder.lane import RING_BYTES
from recorder.lane_state import LaneState
from recorder.ring import RingReader, RingWriter
from recorder.ring_files import attach
from recorder.schema import LaneSchema
from recorder.session.ledger import LaneLedger
from recorder.session.session import Session
from recorder.spool.recording import Recording
from recorder.spool.recover import contents
from recorder.spool.segment import SegmentReader
from recorder.spool.spool import Spool
from recorder.spool.verify import verify
from tests.leash import LEASH
from tests.recorder.spool.independent_reader import read_segment

T = TypeVar("T")
ROOT = Path(__file__).parent.parent.parent
ROW = struct.Struct("<QQ")
#: A second field that follows from the first: a row that is mixed from two shows.
TWIST = 0x9E3779B97F4A7C15
FIELDS = (Field("number", "<u8", "1"), Field("twisted", "<u8", "1"))
ID = "11111111-2222-3333-4444-555555555555"
PERIOD_NS = 2_000_000


def rows(first: int, count: int = 1) -> bytes:
    """Return rows that carry the numbers from `first` on."""
    return b"".join(
        ROW.pack(number, number * TWIST % 2**64) for number in range(first, first + count)
    )


def numbers_in(payload: bytes | memoryview) -> list[int]:
    """Return the numbers that rows carry; a row that is not whole fails."""
    found: list[int] = []
    for number, twisted in ROW.iter_unpack(payload):
        assert twisted == number * TWIST % 2**64
        found.append(number)
    return found


def schema(lane: str = "imu", **changes: Any) -> LaneSchema:
    return dataclasses.replace(
        LaneSchema(lane, "numbered", "Numbered", 500.0, 0.01, FIELDS), **changes
    )


def wait_until(found: Callable[[], T | None], timeout_s: float = 30.0) -> T:
    """Look until something is so, and return it; fail if it never is."""
    until_s = time.monotonic() + timeout_s
    while not (answer := found()):
        assert time.monotonic() < until_s, "it never came true"
        time.sleep(0.005)
    return answer


def free_port() -> int:
    """Return a port of the loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


class Producer:
    """A lane without a process: puts numbered rows into a ring and keeps the books."""

    def __init__(self, rings: Path, lane: LaneSchema, capacity_bytes: int = 65_536) -> None:
        self.ring: RingWriter = attach(rings, lane, capacity_bytes)
        self.lost_absent = 0

    def put(self, count: int = 1, payload: Sequence[bytes] | None = None, absent: int = 0) -> bool:
        """Put one record; its rows carry their own sequence numbers."""
        state = self.ring.state
        losses = dataclasses.replace(state.losses, absent=state.losses.absent + absent)
        expected = state.expected + count + absent
        booked: LaneState = dataclasses.replace(
            state, expected=expected, losses=losses, period_ns=PERIOD_NS
        )
        data = [rows(state.seqno, count)] if payload is None else payload
        return self.ring.put(record.DATA, count, booked, data, boot_ns())

    def event(self, text: str) -> bool:
        facts = json.dumps({"event": text}).encode()
        return self.ring.put(record.EVENT, 0, self.ring.state, [facts], boot_ns())

    def close(self) -> None:
        self.ring.close()


class Shelf:
    """One lane, its ring and a recording, without processes."""

    def __init__(
        self,
        directory: Path,
        *,
        lane: LaneSchema | None = None,
        capacity_bytes: int = 65_536,
        segment_bytes: int = 1 << 20,
        boot: str = "",
        spool: Path | None = None,
    ) -> None:
        self.rings = directory / "rings"
        self.rings.mkdir(parents=True)
        self.lane = lane or schema()
        self.producer = Producer(self.rings, self.lane, capacity_bytes)
        self.reader = RingReader(self.producer.ring.path)
        self.spool = Spool.make(spool or directory / "spool")
        self.segment_bytes = segment_bytes
        self.recording = Recording.announce(
            self.spool, new_session([self.lane.lane], boot=boot), {}, segment_bytes
        )

    @property
    def ledger(self) -> LaneLedger:
        return self.recording.session.lanes[0]

    def take(self) -> None:
        self.recording.take(self.reader, None)

    def commit(self) -> Any:
        """Take, make durable, free: what the spooler does."""
        self.take()
        water = self.recording.commit()
        self.reader.free(self.reader.position)
        self.recording.settle()
        return water

    def end(self) -> None:
        """End the recording: its segments are cut to their length."""
        self.recording.end("operator", is_destination=False)

    def leave(self, *, is_orphan: bool) -> None:
        """Commit five times, and end the recording, as a shutdown does, if it is no orphan."""
        for _ in range(5):
            self.producer.put(30)
            self.commit()
        if not is_orphan:
            self.recording.end("shutdown", is_destination=False)

    def segments(self) -> list[Path]:
        return self.spool.segments(self.recording.session.id, self.lane.lane)

    def numbers(self) -> list[int]:
        return lane_numbers(self.spool.directory, self.lane.lane)

    def close(self) -> None:
        self.recording.close()
        self.spool.volume.close()
        self.reader.close()
        self.producer.close()


def used(path: Path) -> bytes:
    """Return a segment's bytes up to the end of its last record."""
    return path.read_bytes()[: contents(path).end_bytes]


@contextlib.contextmanager
def shelf(directory: Path, **options: Any) -> Iterator[Shelf]:
    one = Shelf(directory, **options)
    try:
        yield one
    finally:
        one.close()


@contextlib.contextmanager
def full_disk(limit_bytes: int) -> Iterator[None]:
    """Let no file grow beyond a size: short writes, then an error, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def memory(place: Path, size: str) -> Iterator[Path]:
    """Mount a file system in memory; skip the test where none can be had."""
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(place)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def fill(folder: Path) -> None:
    """Leave no free block on a file system: what another program does."""
    file = os.open(folder / "filler", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    with contextlib.suppress(OSError):
        while True:
            os.write(file, bytes(4096))
    os.close(file)


def new_session(lanes: Sequence[str], boot: str = "") -> Session:
    return Session(
        id=str(uuid.uuid4()),
        boot_id=boot or boot_id().hex(),
        type="Test",
        identifier="",
        vehicle="car",
        announced_boot_ns=boot_ns(),
        lanes=[LaneLedger(name, rate_hz=500.0) for name in lanes],
    )


def lane_numbers(spool: Path, lane: str, session_id: str = "*") -> list[int]:
    """Return every number that a lane's segments hold, in order; both readers must agree."""
    opened = Spool(spool)
    found: list[int] = []
    for one in opened.session_ids():
        if session_id in ("*", one):
            for path in opened.segments(one, lane):
                found += segment_numbers(path)
    return found


def segment_numbers(path: Path) -> list[int]:
    """Return the numbers of a segment, by both readers."""
    second = read_segment(path)
    assert second is not None
    with SegmentReader(path) as segment:
        first = [
            (offset, header.kind, header.seqno, header.rows, bytes(payload))
            for offset, header, payload in segment.records()
        ]
    assert first == [
        (one.offset, one.kind, one.seqno, one.rows, one.payload) for one in second.records
    ]
    data = [payload for _, kind, _, _, payload in first if kind == record.DATA]
    return [number for payload in data for number in numbers_in(payload)]


def assert_sound(spool: Path) -> None:
    found = verify(spool)
    assert found.is_sound, found.to_dict()


class Numbered(Driver):
    """A device that counts by the clock, whoever listens: what it counted while closed is gone.

    Its numbers are the truth that the recorder's books are held against. While it is open it keeps
    what nobody reads, as a serial port does, and gives it at the end.
    """

    kind = "numbered"
    ontology = "Numbered"
    fields = FIELDS
    rate_tolerance = 0.01

    def __init__(self, *, rate_hz: float = 500.0, origin_boot_ns: int = 0, wide: int = 1) -> None:
        self.rate_hz = rate_hz
        self._origin_ns = origin_boot_ns
        self._period_ns = round(1e9 / rate_hz)
        self._next = 0

    def open(self) -> Device:
        self._next = (boot_ns() - self._origin_ns) // self._period_ns + 1
        return Device(model="counter")

    def read(self, timeout_s: float) -> Sample | None:
        at_ns = self._origin_ns + self._next * self._period_ns
        wait_s = (at_ns - boot_ns()) / 1e9
        if wait_s > timeout_s:
            time.sleep(timeout_s)
            return None
        time.sleep(max(wait_s, 0))
        return self._sample()

    def _sample(self) -> Sample:
        number = self._next
        self._next += 1
        at_ns = self._origin_ns + number * self._period_ns
        return Sample(at_ns, 1, [rows(number)], counter=number)

    def finish(self) -> Sequence[Sample]:
        # As many as there are now: a machine that is slow enough never catches up with the clock.
        due = (boot_ns() - self._origin_ns) // self._period_ns + 1 - self._next
        return [self._sample() for _ in range(due)]

    def measured(self) -> Mapping[str, object]:
        return {"number": self._next - 1}

    def close(self) -> None:
        return


class Machine:
    """The real processes of one recorder: a spooler and one lane with a `Numbered` device."""

    def __init__(
        self, directory: Path, *, rate_hz: float = 500.0, data: Path | None = None, **spool: Any
    ) -> None:
        lane = config.Lane(
            name="imu",
            driver=f"{__name__}:Numbered",
            options={"rate_hz": rate_hz, "origin_boot_ns": boot_ns()},
            ring_bytes=spool.pop("ring_bytes", RING_BYTES),
        )
        session = config.Session(
            heartbeat_s=spool.pop("heartbeat_s", 1.0), roll_over_s=spool.pop("roll_over_s", 3600.0)
        )
        kept = {"commit_interval_s": 0.05, "segment_bytes": 65_536, "free_floor_bytes": 0, **spool}
        self.config = config.Config(
            lanes=[lane],
            session=session,
            spool=config.Spool(
                directory=data or directory / "data", run_dir=directory / "run", **kept
            ),
            upload=config.Upload(mode="off"),
        )
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> subprocess.Popen[bytes]:
        module = {"spool": ["recorder.spooler"], "lane": ["recorder.lane", "imu"]}[name]
        arguments = [sys.executable, "-m", *module, config.to_json(self.config)]
        env = {**os.environ, **LEASH.environment}
        self.processes[name] = subprocess.Popen(arguments, cwd=ROOT, env=env, pass_fds=LEASH.fds)
        return self.processes[name]

    def kill(self, name: str) -> None:
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def end(self, name: str) -> int:
        process = self.processes.pop(name)
        process.send_signal(signal.SIGTERM)
        return process.wait(20)

    @property
    def spool(self) -> Path:
        return self.config.spool_dir

    def sign(self, process: str) -> dict[str, Any]:
        path = self.config.spool.run_dir / "status" / f"{process}.json"
        found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        return found

    def is_at_work(self) -> bool:
        """Tell whether what runs now, and not what was killed, gave its sign and has its device."""
        spool, lane = self.sign("spool"), self.sign("lane-imu")
        pids = {spool.get("pid"), lane.get("pid")}
        return {one.pid for one in self.processes.values()} <= pids and lane["state"] == "running"

    def stored(self) -> int:
        """Return how many samples the spooler says it stored in the session that runs."""
        session = self.sign("spool").get("session")
        return int(session["lanes"][0]["stored"]) if session else 0


@contextlib.contextmanager
def machine(directory: Path, **options: Any) -> Iterator[Machine]:
    one = Machine(directory, **options)
    try:
        yield one
    finally:
        for name in list(one.processes):
            one.kill(name)
