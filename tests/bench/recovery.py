"""How long the spool's process takes from its start to its first session after a loss of power.

The spool is one session that nobody ended: its newest segments are real, as full as they get, and
everything before them is sealed. The sealed ones are sparse files with a true head and a true line
in the journal each: recovery reads no more of them. Each run begins with a file system of which
nothing is in memory.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recorder.clock import boot_id
from recorder.config import to_json
from recorder.spool.counts import Counts
from recorder.spool.journal import Journal
from recorder.spool.lane_log import SMALL_BYTES
from recorder.spool.recover import Piece
from recorder.spool.segment import SegmentHead
from recorder.spool.spool import Spool
from tests.bench.loop import LoopDisk, why_not
from tests.bench.measure import Figure, interleaved, say, seconds
from tests.bench.shelf import CAMERA, IMU, MEMORY, SEGMENT_BYTES
from tests.bench.spooling import GPS, Flow, Spooling, spool_config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SHORT_BYTES, LONG_BYTES = 10**9, 20 * 10**9
#: Sparse: it holds some hundred MB at most.
IMAGE_BYTES = 24 << 30
FRAME_BYTES = 300_000
FRAMES = SEGMENT_BYTES // FRAME_BYTES
#: A camera's 9 MB/s and a heartbeat every 10 s.
BYTES_PER_BEAT = 90 * 10**6
#: What fills the open segments to the brim in so many commits, and no further.
COMMITS = 5


def _filling(flow: Flow, segment_bytes: int) -> Flow:
    return dataclasses.replace(flow, records=segment_bytes // COMMITS // flow.commit_bytes)


LAST = (
    _filling(Flow(CAMERA, 1, 1, FRAME_BYTES), SEGMENT_BYTES),
    _filling(Flow(IMU, 50, 1), SMALL_BYTES),
    _filling(Flow(GPS, 1, 1), SMALL_BYTES),
)
EPOCH = 0xABCDEF
_BLOCK_BYTES = 512  # of `st_blocks`
PATIENCE_S = 30.0
ANOTHER_BOOT = "0123456789abcdef" * 2


def figures(disk: Path) -> Iterator[Figure]:
    """Measure everything of this room, or say why it cannot be."""
    if reason := why_not():
        say(f"recovery: not measured: {reason}\n")
        return
    with LoopDisk(disk, IMAGE_BYTES, is_sparse=True) as loop:
        small, large = (_Left(loop, size) for size in (SHORT_BYTES, LONG_BYTES))
        short_s, long_s, short_own_s, long_own_s = interleaved(
            "recovery: after a loss of power, 1 GB and 20 GB",
            small.ready_s,
            large.ready_s,
            small.recovery_s,
            large.recovery_s,
        )
    name = "start to READY after a loss of power"
    yield Figure(f"{name}, 1 GB", short_s, None, "s", 1.0, True)
    yield Figure(f"{name}, 20 GB", long_s, None, "s", 1.0, True)
    yield Figure(f"{name}, 20 GB / 1 GB", long_s, short_s, "s", 1.5, True)
    told = "of that without Python's start, 20 GB / 1 GB"
    yield Figure(told, long_own_s, short_own_s, "s", 1.5, True)


@dataclass(frozen=True)
class _Sealed:
    """One sealed segment that is not real.

    Args:
        number: how many are before it.
        session_id: 16 bytes.
    """

    number: int
    session_id: bytes

    @property
    def head(self) -> SegmentHead:
        """What it says of itself."""
        first, position = self.number * FRAMES, self.number * SEGMENT_BYTES
        made_ns = self.number + 1
        boot = bytes.fromhex(ANOTHER_BOOT)
        return SegmentHead(EPOCH, position, boot, self.session_id, first, made_ns, CAMERA)

    def line(self) -> dict[str, Any]:
        """Return its line in the journal."""
        behind = Counts(
            EPOCH,
            (self.number + 1) * SEGMENT_BYTES,
            (self.number + 1) * FRAMES,
            (self.number + 1) * FRAMES,
        )
        piece = Piece(Counts(), behind, FRAMES, self.number + 1, self.number + 2)
        line = {"entry": "sealed", "lane": CAMERA.lane, "file": self.head.name}
        return {**line, **piece.to_dict(), "rows": FRAMES, "bytes": SEGMENT_BYTES}


class _Left:
    """What a loss of power left: a spool of some size, made once and copied for each run.

    Args:
        loop: where it lies.
        size_bytes: of all segments together.
    """

    def __init__(self, loop: LoopDisk, size_bytes: int) -> None:
        self._loop = loop
        self._made = loop.mount_point / f"made-{size_bytes}"
        self._used = loop.mount_point / f"used-{size_bytes}"
        self._sealed = size_bytes // SEGMENT_BYTES
        self._made.mkdir()
        with Spooling(self._made, LAST) as spooling:
            for _ in range(COMMITS):
                spooling.put()
                spooling.commit()
        self._spool = Spool(spooling.config.spool_dir)
        self._add_sealed()

    def _add_sealed(self) -> None:
        session = self._spool.session(self._spool.session_ids()[-1])
        folder = self._spool.session_dir(session.id) / CAMERA.lane
        log = Journal(self._spool.journal_path(session.id))
        beat = {**session.to_dict(), "boot_id": ANOTHER_BOOT}
        for number in range(self._sealed):
            one = _Sealed(number, bytes.fromhex(session.id.replace("-", "")))
            path = folder / one.head.name
            path.write_bytes(one.head.pack())
            os.truncate(path, SEGMENT_BYTES)
            log.append(one.line())
            if (number + 1) * SEGMENT_BYTES % BYTES_PER_BEAT < SEGMENT_BYTES:
                log.append({"entry": "session", "session": beat})
        log.append({"entry": "session", "session": beat})
        log.sync()
        log.close()

    def ready_s(self) -> float:
        """Return how long the spool's process takes from its start until it says READY."""
        return self._taken_s(_ready_s)

    def recovery_s(self) -> float:
        """Return how long it takes in a running process until a new session is announced."""
        return self._taken_s(_opened_s)

    def _taken_s(self, take: Callable[[Path], float]) -> float:
        shutil.copytree(self._made, self._used, copy_function=_copy)
        self._loop.remount()
        taken_s = take(self._used)
        self._check()
        shutil.rmtree(self._used)
        return taken_s

    def _check(self) -> None:
        """Hold what was recovered against what was left."""
        spool = Spool(self._used / "spool")
        recovered, fresh = (spool.session(one) for one in spool.session_ids())
        ledger = {one.name: one for one in recovered.lanes}
        sealed = {CAMERA.lane: self._sealed * FRAMES}
        for flow in LAST:
            name, last = flow.schema.lane, COMMITS * flow.records * flow.rows
            assert ledger[name].stored == sealed.get(name, 0) + last, f"{name}: {ledger[name]}"
        assert fresh.boot_id == boot_id().hex()


def _opened_s(directory: Path) -> float:
    found: list[Spooling] = []
    taken_s = seconds(lambda: found.append(Spooling(directory, LAST)))
    found[0].close()
    return taken_s


def _ready_s(directory: Path) -> float:
    with tempfile.TemporaryDirectory(dir=MEMORY) as memory:
        settings = to_json(spool_config(directory, Path(memory), LAST))
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        with listener:
            listener.bind(f"{memory}/notify")
            listener.settimeout(PATIENCE_S)
            begin_s = time.perf_counter()
            process = subprocess.Popen(
                [sys.executable, "-m", "recorder.spooler", settings],
                env={**os.environ, "NOTIFY_SOCKET": f"{memory}/notify"},
                stderr=subprocess.DEVNULL,
            )
            try:
                while b"READY=1" not in listener.recv(4096):
                    pass
                taken_s = time.perf_counter() - begin_s
            finally:
                process.terminate()
                process.wait(PATIENCE_S)
    return taken_s


def _copy(source: str, target: str) -> None:
    """Copy a file; a sparse one is linked."""
    stat = Path(source).stat()
    if stat.st_blocks * _BLOCK_BYTES < stat.st_size:
        os.link(source, target)
    else:
        shutil.copyfile(source, target)
