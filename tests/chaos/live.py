"""A vehicle that uploads while it records, and whose power is cut.

At a cut the spool goes back to what was durable. Of what was written since the last commit any part
may have reached the disk: each file keeps a random beginning of it. The uploader dies with the
power; its journals were made durable entry by entry, so they stay. Then another boot recovers the
spool, ends the orphan and records on.
"""

from __future__ import annotations

import contextlib
import shutil
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from recorder import clock
from recorder.spool.recording import Recording
from recorder.spool.spool import Spool
from tests.chaos import stored
from tests.chaos.drive import LANES, ChaosDrive, Known, Recorded, held_seqnos
from tests.chaos.oracle import Allowed, judge_end
from tests.chaos.proxy import Toxic
from tests.chaos.stored import StoredError
from tests.chaos.verdict import Verdict
from tests.recorder.upload.made import UTC_NS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

    from tests.chaos.scene import Scene

#: Recording began so long ago: what is durable is due at once, and is never of the future.
AGE_S = 60.0
#: Each boot's time by the clock of the world.
BOOT_NS = 10**15
SEGMENT_BYTES = 65_536
TURN_S = (0.02, 0.35)
DRAIN_S = 60.0
MOST_LOOKS = 5
TOXICS = ("cut", "reset", "half_close", "lose_answer", "lose_answer")


class Vehicle(ChaosDrive):
    """A drive with a power switch.

    Args:
        folder: `data` and `run` in it are the vehicle's.
        boot_file: file with the boot's id.
        dice: of every choice.
    """

    def __init__(self, folder: Path, boot_file: Path, dice: Random) -> None:
        self._boot_file, self._dice = boot_file, dice
        self._durable: dict[Path, bytes] = {}
        self._boots = self._utc_of_boot_ns = 0
        self.known = Known(folder / "data")
        super().__init__(folder)
        self.random = dice
        self._tell_time()

    def begin(self, age_s: float = AGE_S) -> None:
        super().begin(age_s)
        self._keep()

    def _tell_time(self) -> None:
        """Learn the time, for all of this boot."""
        utc_ns = UTC_NS + self._boots * BOOT_NS
        self._utc_of_boot_ns = utc_ns - self.start_ns
        self.tell_time(utc_ns)
        self._keep()

    def _keep(self) -> None:
        """Take all that is there for durable."""
        files = (path for path in self.spool.directory.rglob("*") if path.is_file())
        self._durable = {path: path.read_bytes() for path in files}

    def acquire(self) -> None:
        """Acquire something; appended, and not durable."""
        dice = self._dice
        self.imu(dice.randint(1, 9))
        self.gps(dice.randint(0, 4))
        self.pictures(dice.randint(0, 7))

    def make_durable(self) -> None:
        """Commit, now and then with a heartbeat or a mark."""
        if self._dice.random() < 0.3:
            self.mark("bump")
        if self._dice.random() < 0.4:
            self.beat()
        else:
            self.commit()
        self._keep()

    def end(self, reason: str = "shutdown") -> None:
        super().end(reason)
        self._keep()
        self._note()

    def _note(self) -> None:
        self.known.sessions.append(self.recorded(self._utc_of_boot_ns))

    def lose_power(self) -> None:
        """Lose what is not durable, or a part of it; boot, recover, and record on."""
        self.recording.close()
        self.spool.volume.close()
        self._roll_back()
        shutil.rmtree(self.folder / "run")
        (self.folder / "run" / "rings").mkdir(parents=True)
        self._boot_file.write_text(str(uuid.UUID(int=self._dice.getrandbits(128), version=4)))
        self._boots += 1
        self.spool = Spool.make(self.spool.directory)
        session = self.spool.session(self.id)
        orphan = Recording.resume(self.spool, session, SEGMENT_BYTES, None)
        orphan.end("power_loss", is_destination=False)
        self._note()
        self.begin()
        self._tell_time()

    def _roll_back(self) -> None:
        there = {path for path in self.spool.directory.rglob("*") if path.is_file()}
        for path in there | self._durable.keys():
            old = self._durable.get(path)
            new = path.read_bytes() if path in there else b""
            kept = self._dice.randint(0, len(new))
            if old is None and self._dice.random() < 0.5:
                path.unlink()
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(new[:kept] + (old or b"")[kept:])

    def running(self) -> Recorded:
        """Return what is being recorded."""
        return self.recorded(self._utc_of_boot_ns)


def live(scene: Scene) -> tuple[Verdict, int]:
    """Record, upload, cut the power now and then; return what was found, and how many cuts."""
    dice = scene.dice
    with _boots_of(scene.boot_file):
        scene.station()
        key = dice.choice(("delete", "write"))
        scene.give_key(key)
        vehicle = Vehicle(scene.folder, scene.boot_file, dice)
        cuts = 0
        try:
            for _ in range(dice.randint(5, 12)):
                cuts += _turn(scene, vehicle)
                verdict = _look(scene, vehicle)
                if verdict.problems:
                    return verdict, cuts
            vehicle.end()
        finally:
            vehicle.recording.close()
    scene.drain(DRAIN_S)
    allowed = Allowed(scene.has_spent_names)
    return judge_end(vehicle.known, scene.ground, allowed), cuts


@contextlib.contextmanager
def _boots_of(file: Path) -> Iterator[None]:
    """Let this process, too, be of the boot that a file names."""
    real = clock._BOOT_ID
    clock._BOOT_ID = file
    try:
        yield
    finally:
        clock._BOOT_ID = real


def _turn(scene: Scene, vehicle: Vehicle) -> bool:
    """Let a moment of recording pass; return whether it ended in a loss of power."""
    dice = scene.dice
    if not scene.is_uploading:
        settings = scene.settings(mode="live", part_s=1.0)
        death = scene.death() if dice.random() < 0.5 else None
        step_s = scene.clock_step() if dice.random() < 0.2 else 0.0
        orders = scene.orders(settings=settings, death=death, clock_step_s=step_s)
        scene.start_uploader(orders)
    toxic = Toxic(dice.choice(TOXICS), dice.randint(1, 30), dice.choice((0, 4000)), 0.2)
    scene.link.arm([toxic] if dice.random() < 0.5 else [])
    vehicle.acquire()
    if dice.random() < 0.7:
        vehicle.make_durable()
        vehicle.acquire()
    scene.wait(dice.uniform(*TURN_S))
    choice = dice.random()
    if choice < 0.3:
        scene.kill_uploader()
        vehicle.lose_power()
        return True
    if choice < 0.4:
        vehicle.end("roll_over")
        vehicle.begin()
    elif choice < 0.55:
        scene.kill_uploader()
    elif choice < 0.65:
        scene.kill_station()
    scene.station()
    return False


def _look(scene: Scene, vehicle: Vehicle) -> Verdict:
    """Judge what must hold at every instant, again if a topic was deleted under our eyes."""
    for _ in range(MOST_LOOKS - 1):
        with contextlib.suppress(StoredError, FileNotFoundError):
            return _look_once(scene, vehicle)
    return _look_once(scene, vehicle)


def _look_once(scene: Scene, vehicle: Vehicle) -> Verdict:
    """Judge whether the server has a row that the spool lacks."""
    found = stored.read(scene.ground)
    recorded = [*vehicle.known.sessions, vehicle.running()]
    verdict = scene.look([one.id for one in recorded])
    for session in recorded:
        folder = vehicle.known.data / session.folder
        held = {lane: held_seqnos(folder / lane) for lane in LANES}
        topics = [
            topic
            for sequence in found
            if sequence.recording == session.id
            for topic in sequence.topics
            if topic.lane in LANES
        ]
        for topic in topics:
            there = {row["header.sample_counter"] for row in topic.rows()}
            lacking = there - held[topic.lane]
            verdict.foreign += len(lacking)
            verdict.demand(
                not lacking, f"{topic.path}: {len(lacking)} rows are there that the spool lacks"
            )
    return verdict
