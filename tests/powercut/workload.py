"""A drive on a logged disk: three lanes that number their rows, and the spool process beside them.

A camera (60 kB frames, 20 per second; two in three with records inside that look real), an IMU
(bursts of 20 rows, 50 per second, with pauses), and a GPS (5 per second, with an anchor now and
then). Every row carries its own number, and the books say what was acquired when.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import random
import signal
import subprocess
import sys
import time
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from recorder import config, record
from recorder.clock import boot_ns, system_anchor
from tests.leash import LEASH
from tests.powercut import spool_process
from tests.powercut.disk import ROOT
from tests.powercut.oracle import Book, Oracle, Put
from tests.recorder.building import Producer, rows, schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from recorder.ring import RingWriter

INTERVAL_S = 0.1
SEGMENT_BYTES = 384 * 1024
ROLL_OVER_S = 2.5
HEARTBEAT_S = 0.5
#: So much of the disk the spool may fill before it gives segments up.
KEPT_BYTES = 5 << 20
#: How likely the spool process is to be killed within one commit.
DEATHS = 0.08
FRAME_BYTES = (45_000, 70_000)
_BETWEEN_BYTES, _COPIES = 300, 12
_NOISE = random.Random(1).randbytes(1 << 18)
_START_S, _END_S = 60.0, 20.0


@dataclass(frozen=True)
class Load:
    """One lane's share of the load.

    Args:
        period_s: between two records.
        ring_bytes: capacity of its ring.
    """

    period_s: float
    ring_bytes: int


LOADS = {
    "camera": Load(0.05, 6 << 20),
    "imu": Load(0.02, 1 << 19),
    "gps": Load(0.2, 1 << 16),
}


def settings(directory: Path, run_dir: Path, floor_bytes: int) -> config.Config:
    """Return the configuration of the recorder on a disk.

    Args:
        directory: the recorder's folder on the disk.
        run_dir: rings, life signs and socket.
        floor_bytes: space that is to be kept free.
    """
    lanes = [
        config.Lane(name=name, driver="tests.recorder.building:Numbered", ring_bytes=one.ring_bytes)
        for name, one in LOADS.items()
    ]
    return config.Config(
        lanes=lanes,
        session=config.Session(heartbeat_s=HEARTBEAT_S, roll_over_s=ROLL_OVER_S),
        spool=config.Spool(
            directory=directory,
            run_dir=run_dir,
            commit_interval_s=INTERVAL_S,
            segment_bytes=SEGMENT_BYTES,
            free_floor_bytes=floor_bytes,
        ),
        upload=config.Upload(mode="off"),
    )


class DriveError(Exception):
    """The spool process ended by itself; the message says what it said."""


class Lane:
    """A producer and its book."""

    def __init__(self, rings: Path, name: str, chance: random.Random) -> None:
        blob = "jpeg" if name == "camera" else None
        self._producer = Producer(rings, schema(name, blob=blob), LOADS[name].ring_bytes)
        self._ring = self._producer.ring
        self._chance = chance
        self._last = b""
        self.book = Book(self._ring.epoch)

    def frame(self) -> None:
        """Put one picture; some hold copies of an older record of this very lane."""
        number = self._ring.state.seqno
        size, at = self._chance.randint(*FRAME_BYTES), self._chance.randrange(1 << 12)
        blob = _NOISE[at : at + size]
        if number % 3:
            # Near its beginning: there a torn record ends, in the last block written before.
            blob = (self._last + blob[:_BETWEEN_BYTES]) * _COPIES + blob
        row = rows(number)
        self._put(1, [row, blob])
        if number % 10 == 0:
            small = [row, b"thumb"]
            self._last = _record_of(self._ring, number, small)

    def burst(self) -> None:
        """Put what a FIFO gave, or nothing now and then."""
        if self._chance.random() < 0.97:
            self._put(20, [rows(self._ring.state.seqno, 20)])

    def fix(self) -> None:
        """Put a fix, and sometimes an anchor before it."""
        if self._chance.random() < 0.1:
            state = self._ring.state
            self._ring.put(record.ANCHOR, 0, state, [system_anchor().pack()], boot_ns())
        self._put(1, [rows(self._ring.state.seqno)])

    def _put(self, count: int, payload: list[bytes]) -> None:
        begin_ns, seqno = boot_ns(), self._ring.state.seqno
        is_kept = self._producer.put(count, payload)
        crc = zlib.crc32(b"".join(payload))
        position = self._ring.state.position
        self.book.puts.append(Put(seqno, count, begin_ns, boot_ns(), position, crc, is_kept))

    def close(self) -> None:
        self._producer.close()


def _record_of(ring: RingWriter, number: int, payload: list[bytes]) -> bytes:
    """Return the bytes of a record as this ring could have held it."""
    header = record.Header(
        record.DATA,
        record.lane_id("camera"),
        ring.epoch,
        ring.state.position,
        number,
        1,
        sum(map(len, payload)),
        boot_ns(),
        0,
        number,
        record.Losses(),
    )
    return b"".join([record.pack(header, payload), *payload])


class Drive:
    """Lanes and a spool process that is started again whenever it dies.

    Args:
        folder: of the block log; notes and rings go there too.
        plain: the recorder's configuration.
        seed: of every chance.
        wrong: name of a wrong build, or ``none``.
    """

    def __init__(self, folder: Path, plain: config.Config, seed: str, wrong: str) -> None:
        self._folder, self._plain, self._wrong, self._seed = folder, plain, wrong, seed
        self._chance = random.Random(seed)
        self._spool: subprocess.Popen[bytes] | None = None
        self.kills = 0
        plain.rings_dir.mkdir(parents=True)
        self.lanes = {name: Lane(plain.rings_dir, name, self._chance) for name in LOADS}

    def run(self, seconds: float) -> Oracle:
        """Record for so long and end in order; return what was promised."""
        with contextlib.ExitStack() as stack:
            for lane in self.lanes.values():
                stack.callback(lane.close)
            stack.callback(self._kill)
            self._await_start()
            for at_s, put in _schedule(self.lanes, seconds):
                self._keep_running()
                time.sleep(max(at_s - time.monotonic(), 0))
                put()
            self._end()
        return Oracle(self._folder / "notes", {name: one.book for name, one in self.lanes.items()})

    def _await_start(self) -> None:
        """Start the spool process, and wait for its first note: a busy machine may be slow."""
        until_s = time.monotonic() + _START_S
        while not (self._folder / "notes").exists():
            self._keep_running()
            if time.monotonic() > until_s:
                raise DriveError("the spool process does not come up")
            time.sleep(0.02)

    def _keep_running(self) -> None:
        if self._spool is not None and self._spool.poll() is None:
            return
        if self._spool is not None:
            self.kills += 1
            if self._spool.returncode != -signal.SIGKILL:
                raise self._failure(self._spool.returncode)
        seed = f"{self._seed}.{self.kills}"
        arguments = [str(self._folder), str(DEATHS), seed, self._wrong]
        command = [sys.executable, "-m", spool_process.__name__, *arguments]
        env = {**os.environ, **LEASH.environment}
        with (self._folder / "spool.err").open("ab") as errors:
            self._spool = subprocess.Popen(
                [*command, config.to_json(self._plain)],
                cwd=ROOT,
                env=env,
                pass_fds=LEASH.fds,
                stderr=errors,
            )

    def _end(self) -> None:
        self._keep_running()
        if self._spool is not None:
            self._spool.send_signal(signal.SIGTERM)
            # One that was started just now has no handler of its own yet.
            if self._spool.wait(_END_S) not in (0, -signal.SIGKILL, -signal.SIGTERM):
                raise self._failure(self._spool.returncode)

    def _failure(self, code: int) -> DriveError:
        told = (self._folder / "spool.err").read_text(errors="replace")
        return DriveError(f"the spool process ended with {code}: {told[-2000:]}")

    def _kill(self) -> None:
        if self._spool is not None and self._spool.poll() is None:
            self._spool.kill()
            self._spool.wait()


def _schedule(lanes: dict[str, Lane], seconds: float) -> Iterator[tuple[float, Callable[[], None]]]:
    begin_s = time.monotonic()
    puts = {"camera": lanes["camera"].frame, "imu": lanes["imu"].burst, "gps": lanes["gps"].fix}
    due = [(begin_s + one.period_s, name) for name, one in LOADS.items()]
    heapq.heapify(due)
    while due[0][0] < begin_s + seconds:
        at_s, name = heapq.heappop(due)
        heapq.heappush(due, (at_s + LOADS[name].period_s, name))
        yield at_s, puts[name]
