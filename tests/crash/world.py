"""One recorder inside this process: the real `Spooler`, real rings, a disk that can lose its power.

Lanes are producers without a process. Time is virtual: it passes when somebody says so.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import random
import shutil
import tempfile
import time
import uuid
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import drivers.base
from recorder import clock, config
from recorder.errors import RecorderError
from recorder.orders import answer
from recorder.spool import compaction, endings, quota, reserve
from recorder.spool.compaction import compact
from recorder.spool.spool import Spool
from recorder.spooler import Spooler
from tests.crash.disk import Disk
from tests.crash.faults import Cut, Faults
from tests.crash.lanes import RINGS, Lanes
from tests.crash.model import Gone, Model, Row
from tests.crash.reading import Graves, held, rows_of, segments, shown
from tests.crash.replacing import replaced
from tests.crash.uploading import is_done

if TYPE_CHECKING:
    from collections.abc import Callable

MEMORY = Path("/dev/shm") if Path("/dev/shm").is_dir() else None
SEGMENT_BYTES, FLOOR_BYTES, RESERVE_BYTES = 8192, 16_384, 32_768
MOST_SESSIONS = 3


class World:
    """A vehicle. Use it with `with`; `spooler` is None while its process is dead.

    Args:
        seed: of everything that nobody chooses.
        is_own: whether the disk is a file system of the recorder's own.
        is_uploading: whether recordings are to be uploaded, and the spool is not their destination.
    """

    def __init__(self, seed: int, *, is_own: bool, is_uploading: bool) -> None:
        self.dice = random.Random(seed)
        self.model = Model()
        self._base = Path(tempfile.mkdtemp(prefix="crash-", dir=MEMORY))
        for name in ("disk", "run"):
            (self._base / name).mkdir()
        self.config = config.Config(
            lanes=[
                config.Lane(name=name, driver="tests.recorder.building:Numbered") for name in RINGS
            ],
            session=config.Session(heartbeat_s=1.0, roll_over_s=20.0),
            spool=config.Spool(
                directory=self._base / "disk",
                run_dir=self._base / "run",
                commit_interval_s=0.05,
                segment_bytes=SEGMENT_BYTES,
                free_floor_bytes=FLOOR_BYTES,
            ),
            upload=config.Upload(mode="after_close" if is_uploading else "off"),
        )
        self.disk = Disk(self._base / "disk", self._base / "run", self.dice, is_own=is_own)
        self.disk.on_unlink = self._unlinked
        self.disk.on_rename = self._renamed
        #: What the recorder did that nobody ordered.
        self.counts: Counter[str] = Counter()
        self.spooler: Spooler | None = None
        self.lanes = Lanes(self.config.rings_dir, self.model, self.dice)
        self._stack = contextlib.ExitStack()
        #: What the last life sign complained of.
        self.trouble = ""
        # Records that were in the rings when a commit took everything; -1: none did.
        self._settled_puts = -1
        #: Segments that were removed, whatever for, with what they held.
        self.removed: dict[Path, set[Row]] = {}
        #: Sessions that were removed with all that was told of them.
        self._gone: dict[str, Gone] = {}
        self.boots: list[str] = []
        #: Boots in which a sync failed.
        self.faulty_boots: set[str] = set()

    @property
    def is_settled(self) -> bool:
        """Whether the last commit took everything, is durable, and nothing was put since."""
        return self._settled_puts == self.lanes.puts

    @property
    def is_recording(self) -> bool:
        """Whether the spool's process lives and has a session."""
        return self.spooler is not None and self.spooler.recording is not None

    def session_ids(self) -> list[str]:
        """Return the sessions that are there."""
        with self.disk.aside():
            return Spool(self.spool).session_ids()

    @property
    def spool(self) -> Path:
        """The spool's directory."""
        return self.config.spool_dir

    @property
    def is_uploading(self) -> bool:
        """Whether somebody gives receipts."""
        return self.config.upload.mode != "off"

    @property
    def has_spool(self) -> bool:
        """Whether it is there already."""
        with self.disk.aside():
            return (self.spool / "FORMAT").exists()

    def __enter__(self) -> World:
        logging.disable(logging.CRITICAL)
        self._stack.callback(logging.disable, logging.NOTSET)
        self._stack.callback(shutil.rmtree, self._base)
        self._stack.enter_context(_machine(self._base / "boot_id", self._pass_time, self.dice))
        self._stack.enter_context(replaced((compaction, "compact", self._compact)))
        self._stack.enter_context(self.disk)
        self._stack.callback(self.kill_spool)
        self._stack.callback(self.lanes.stop)
        self.boot()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def let_syncs_fail(self, errors: int) -> None:
        """Let the next syncs fail."""
        self.disk.faults.sync_errors = errors
        self.faulty_boots.add(self.boots[-1])

    # Time and power

    def boot(self) -> None:
        """Begin a boot: nothing in memory, another id, a clock near zero."""
        self._now_ns = self.dice.randrange(10**9, 10**10)
        boot = uuid.UUID(int=self.dice.getrandbits(128))
        (self._base / "boot_id").write_text(f"{boot}\n")
        self.boots.append(boot.hex)
        self.config.rings_dir.mkdir(parents=True)
        self.lanes.start()

    def _pass_time(self) -> int:
        self._now_ns += 1000
        return self._now_ns

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self._now_ns += round(seconds * 1e9)

    def cut_power(self) -> None:
        """Lose what is in memory, and of the disk's cache what the dice say."""
        self._note_shown()
        self.model.cut_power()
        self._let_go()
        self.lanes.stop()
        self.disk.crash()
        self.disk.faults = Faults()
        with self.disk.aside():
            shutil.rmtree(self.config.spool.run_dir)
            self.config.spool.run_dir.mkdir()
            self.boot()
            if self.has_spool:
                self.model.acknowledge(held(Spool(self.spool)))  # it survived: it must stay

    def kill_spool(self) -> None:
        """Kill the spool's process, wherever it is; the machine lives."""
        if self.spooler is not None:
            self._note_shown()
        self._let_go()
        self.disk.end_process()

    def _let_go(self) -> None:
        # What a dead process had open; it must not write any more.
        self._settled_puts = -1
        if self.spooler is not None:
            with self.disk.aside(), contextlib.suppress(BufferError):
                self.spooler.close()
        self.spooler = None

    def _note_shown(self) -> None:
        """Take as acknowledged what the watermark showed to the outside, and what was freed."""
        with self.disk.aside():
            self.lanes.note_freed()
            if self.has_spool:
                self.model.acknowledge(shown(self.spool, self.config.watermark_file))

    # The spool's process

    def start_spool(self) -> None:
        """Start the spool's process; it may refuse, and then is dead."""
        try:
            self._until_cut(self._make_spooler)
        except (RecorderError, OSError) as error:
            self.trouble = f"died of {error!r}"
            self.kill_spool()

    def _make_spooler(self) -> None:
        self.spooler = Spooler(self.config)

    def commit(self) -> None:
        """Let the spool's process commit."""
        self._act(lambda spooler: spooler.commit())
        self._judge_commit()

    def order(self, command: str) -> None:
        """Give the spool's process an order, as over its socket."""

        def give(spooler: Spooler) -> None:
            with contextlib.suppress(RecorderError):
                answer(spooler, {"command": command})

        self._act(give)

    def _act(self, action: Callable[[Spooler], None]) -> None:
        spooler = self.spooler
        self._settled_puts = -1
        if spooler is None:
            self.disk.faults.steps_left = None
            return
        try:
            self._until_cut(lambda: action(spooler))
        except (RecorderError, OSError) as error:  # its process ends
            self.trouble = f"died of {error!r}"
            self.kill_spool()

    def _until_cut(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Cut as cut:
            cut.__traceback__ = None
            self.kill_spool()
        self.disk.faults.steps_left = None

    def _judge_commit(self) -> None:
        if self.spooler is None:
            return
        with self.disk.aside():
            self.lanes.note_freed()
        sign = json.loads((self.config.spool.run_dir / "status" / "spool.json").read_text())
        self.trouble = sign["trouble"] or ("" if sign["session"] else "no session")
        if not self.trouble:
            self._settled_puts = self.lanes.puts
            # What was acquired before a commit that says that all is well is there.
            assert not self.model.in_ring, f"left in the rings: {len(self.model.in_ring)} rows"

    def _unlinked(self, path: Path) -> None:
        """Remember what a segment held that is about to be removed."""
        if path.suffix == ".seg":
            with self.disk.aside():
                rows = {row for row, _ in rows_of(path)}
                self.removed.setdefault(path, set()).update(rows)

    def _compact(self, path: Path, *, is_settled: bool) -> bool:
        self.counts["journals compacted"] += 1
        return compact(path, is_settled=is_settled)

    def _renamed(self, old: Path, new: Path) -> None:
        """Remember what was told of a session that is about to be removed."""
        if new.parent.name != "gone":
            return
        spool, graves = Spool(self.spool), Graves(Spool(self.spool), old.name)
        assert old.name != spool.session_ids()[-1], "the newest session is removed"
        assert not segments(spool, old.name), "a session is removed that has segments"
        buried = [rows for path, rows in self.removed.items() if path in graves]
        session = spool.session(old.name)
        assert session.state.is_terminal or is_done(self.config, old.name), "it is still to be sent"
        self.counts["sessions removed"] += 1
        self._gone[old.name] = Gone(session, set().union(*buried))

    def ended(self, spool: Spool) -> list[Gone]:
        """Return the sessions that are not there any more."""
        there = spool.session_ids()
        return [one for session_id, one in self._gone.items() if session_id not in there]


def _machine(
    boot_file: Path, now_ns: Callable[[], int], dice: random.Random
) -> contextlib.AbstractContextManager[None]:
    """Play another boot, another clock, a small disk's reserve, and chance that comes again."""
    ahead_ns = {time.CLOCK_REALTIME: 1_700_000_000_000_000_000}
    stand_in = SimpleNamespace(
        CLOCK_BOOTTIME=time.CLOCK_BOOTTIME,
        CLOCK_MONOTONIC_RAW=time.CLOCK_MONOTONIC_RAW,
        CLOCK_REALTIME=time.CLOCK_REALTIME,
        clock_gettime_ns=lambda clock: now_ns() + ahead_ns.get(clock, 0),
        time_ns=lambda: 1_700_000_000_000_000_000 + now_ns(),
    )
    return replaced(
        (clock, "_BOOT_ID", boot_file),
        (clock, "time", stand_in),
        (drivers.base, "time", stand_in),
        (os, "urandom", dice.randbytes),
        (reserve, "RESERVE_BYTES", RESERVE_BYTES),
        (quota, "RESERVE_BYTES", RESERVE_BYTES),
        (reserve, "SLICE_BYTES", RESERVE_BYTES // 8),
        (endings, "MOST_SESSIONS", MOST_SESSIONS),
        (endings, "LEAST_BYTES", 1),
        (endings, "_PERIOD_NS", 0),
    )
