"""The campaign: known spools, each uploaded through several faults, and a tally of what came of it.

Every upload has some rounds. In each the station and the uploader run, with a death ordered for one
of them now and then, and things happen: to the link, to the key, to the station's disk, to the
vehicle's clock, to the spool. Then all faults end, the uploader drains, and the server's own files
are compared with what was recorded.
"""

from __future__ import annotations

import random
import shutil
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

from recorder import clock
from tests.chaos.drive import LANES, Known, Recorded, damage, give_up, make
from tests.chaos.live import live
from tests.chaos.oracle import Allowed, judge_end
from tests.chaos.processes import SilentError
from tests.chaos.proxy import KINDS, Toxic
from tests.chaos.scene import STEPS, Scene, SceneError
from tests.chaos.stored import StoredError
from tests.chaos.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.chaos.processes import Orders

MEMORY = Path("/dev/shm")
#: Known spools; each campaign gets a copy of one.
SPOOLS = 4
MOST_ROUNDS = 5
ROUND_S = (0.3, 1.2)
DRAIN_S = 60.0
#: One campaign in so many is of a vehicle that uploads while it records, and loses its power.
LIVE_EVERY = 4
CALLS = 60
KEYS: tuple[str, ...] = ("delete", "write")
#: The policy `delete` cannot do with less than a key that may delete.
DELETE_SHARE = 0.3
#: Kinds of things that happen in a round, each with how often.
EVENTS = {
    "link": 6,
    "uploader dies at a step": 4,
    "uploader killed": 2,
    "uploader stopped": 2,
    "station dies at a step": 3,
    "station killed": 2,
    "disk full": 2,
    "key changed": 1,
    "key too weak": 2,
    "key revoked": 1,
    "clock jump": 1,
    "segment given up": 1,
    "record damaged": 2,
}


@dataclass(frozen=True)
class Plan:
    """What a campaign is to do.

    Args:
        campaigns: how many uploads.
        seed: of every chance; the processes' own timing is not in it.
        build: of the uploader, see `tests.chaos.wrong`.
        only: ``live``, ``backlog`` or empty for both.
        faults: of `EVENTS`, those that happen to a backlog.
        steps: of `STEPS`, those at which an uploader dies.
    """

    campaigns: int
    seed: int
    build: str = "none"
    only: str = ""
    faults: tuple[str, ...] = tuple(EVENTS)
    steps: tuple[str, ...] = STEPS


@dataclass
class Tally:
    """What was done and found."""

    campaigns: int = 0
    not_clean: int = 0
    rows: int = 0
    lost: int = 0
    doubled: int = 0
    foreign: int = 0
    live: int = 0
    cuts: int = 0
    dead_uploaders: int = 0
    dead_stations: int = 0
    events: Counter[str] = field(default_factory=Counter)
    links: Counter[str] = field(default_factory=Counter)
    steps: Counter[str] = field(default_factory=Counter)

    @property
    def is_clean(self) -> bool:
        return self.campaigns > 0 and not self.not_clean

    def add(self, verdict: Verdict) -> None:
        self.campaigns += 1
        self.not_clean += bool(verdict.problems)
        for key in ("rows", "lost", "doubled", "foreign"):
            setattr(self, key, getattr(self, key) + getattr(verdict, key))

    def take(self, scene: Scene) -> None:
        self.dead_uploaders += scene.dead.uploaders
        self.dead_stations += scene.dead.stations
        self.links += scene.link.struck
        self.steps += scene.dead.steps

    def lines(self) -> list[str]:
        """Return the last lines of the campaign."""
        return [
            f"uploads        {self.campaigns}, of them live {self.live} ({self.cuts} power cuts)",
            f"link           {_counts(self.links)}",
            f"events         {_counts(self.events)}",
            f"kill -9        uploader {self.dead_uploaders}, station {self.dead_stations}",
            f"killed itself  {_counts(self.steps)}",
            f"rows compared  {self.rows}",
            f"chaos {self.campaigns}: not clean {self.not_clean}, rows lost {self.lost}, "
            f"doubled {self.doubled}, foreign {self.foreign}",
        ]

    def to_dict(self) -> dict[str, Any]:
        plain = {
            key: dict(value) if isinstance(value, Counter) else value
            for key, value in vars(self).items()
        }
        return {**plain, "is_clean": self.is_clean}


def _counts(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none"


def campaign(plan: Plan, tally: Tally) -> Iterator[tuple[str, Verdict]]:
    """Upload, judge, and yield of each upload where it was and what was found."""
    root = Path(mkdtemp(dir=MEMORY if MEMORY.is_dir() else None, prefix="chaos-"))
    try:
        spools = [make(root / f"known-{seed}", seed) for seed in range(SPOOLS)]
        for number in range(plan.campaigns):
            where = f"{plan.seed}.{number}"
            dice = random.Random(where)
            is_live = plan.only == "live" or (not plan.only and number % LIVE_EVERY == 0)
            begin_s = time.monotonic()
            with Scene(root / f"upload-{number}", dice, plan.build, plan.steps) as scene:
                spool = None if is_live else dice.choice(spools)
                verdict = _play(scene, tally, spool, plan.faults)
                tally.take(scene)
            tally.add(verdict)
            tally.live += is_live
            kind = "live" if is_live else "backlog"
            yield f"{where} ({kind}, {time.monotonic() - begin_s:.1f} s)", verdict
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _play(scene: Scene, tally: Tally, spool: Known | None, faults: tuple[str, ...]) -> Verdict:
    try:
        if spool is None:
            verdict, cuts = live(scene)
            tally.cuts += cuts
            return verdict
        return Backlog(scene, tally, spool, faults).play()
    except (SceneError, SilentError, StoredError) as error:
        return Verdict([str(error)])


class Backlog:
    """The upload of a copy of a known spool.

    Args:
        scene: where.
        tally: counts what happens.
        spool: the known one; it stays as it is.
        faults: what may happen.
    """

    def __init__(self, scene: Scene, tally: Tally, spool: Known, faults: tuple[str, ...]) -> None:
        self._faults, self._keys = faults, KEYS
        self._scene, self._tally, self._dice = scene, tally, scene.dice
        shutil.copytree(spool.data, scene.data)
        self._known = Known(scene.data, spool.sessions)
        self._allowed = Allowed()
        self._key = self._dice.choice(KEYS)
        if self._key == "delete" and self._dice.random() < DELETE_SHARE:
            scene.policy, self._keys = "delete", ("delete",)
        if self._dice.random() < 0.5:  # recorded since the vehicle was started, not before
            shutil.copy(clock._BOOT_ID, scene.boot_file)

    @property
    def _ids(self) -> list[str]:
        return [one.id for one in self._known.sessions]

    def play(self) -> Verdict:
        """Go through all rounds, drain, and judge."""
        scene = self._scene
        scene.station()
        scene.give_key(self._key)
        for _ in range(self._dice.randint(2, MOST_ROUNDS)):
            self._round()
            verdict = scene.look(self._ids)
            if verdict.problems:
                return verdict
        scene.station()
        scene.give_key(self._key)
        scene.drain(DRAIN_S)
        gone = self._allowed.gone
        return judge_end(self._known, scene.ground, Allowed(scene.has_spent_names, gone))

    def _round(self) -> None:
        weights = [EVENTS[kind] for kind in self._faults]
        kinds = self._dice.choices(self._faults, weights, k=self._dice.randint(1, 3))
        self._tally.events.update(kinds)
        scene, dice = self._scene, self._dice
        scene.station(dice.randint(1, 60) if "station dies at a step" in kinds else 0)
        scene.link.arm([_toxic(dice) for kind in kinds if kind == "link" for _ in range(2)])
        if {"uploader dies at a step", "clock jump"} & set(kinds):
            scene.kill_uploader()
        if not scene.is_uploading:
            scene.start_uploader(self._orders(kinds))
        for kind in kinds:
            self._happen(kind)
        scene.wait(dice.uniform(*ROUND_S), scene.is_drained)
        scene.station().limit_files(-1)
        if not scene.is_uploading:
            scene.bury_uploader()

    def _orders(self, kinds: list[str]) -> Orders:
        death = self._scene.death() if "uploader dies at a step" in kinds else None
        step_s = self._scene.clock_step() if "clock jump" in kinds else 0.0
        return self._scene.orders(death=death, clock_step_s=step_s, stop_limit_s=0.0)

    def _happen(self, kind: str) -> None:
        """Let something happen when a random call is made, or a little later."""
        scene, dice = self._scene, self._dice
        name = f"_{kind.replace(' ', '_')}"
        happens = getattr(self, name, None)
        if happens is not None:
            scene.link.wait_for_call(dice.randint(1, CALLS), dice.uniform(0.05, 0.5))
            happens()

    def _uploader_killed(self) -> None:
        self._scene.kill_uploader()

    def _uploader_stopped(self) -> None:
        self._scene.stop_uploader()

    def _station_killed(self) -> None:
        self._scene.kill_station()

    def _disk_full(self) -> None:
        self._scene.station().limit_files(self._dice.choice((0, 2_000, 10_000, 60_000)))

    def _key_changed(self) -> None:
        self._key = self._dice.choice(self._keys)
        self._give(self._key)

    def _give(self, key: str) -> None:
        """Give the vehicle another key, and break the connection that has the old one."""
        self._scene.give_key(key)
        self._scene.link.arm([Toxic("cut", 1)])

    def _key_too_weak(self) -> None:
        self._give("read")
        self._scene.wait(0.3)
        self._scene.give_key(self._key)

    def _key_revoked(self) -> None:
        self._scene.revoke_key(self._key)
        self._scene.wait(0.2)
        self._scene.give_key(self._key)

    def _segment_given_up(self) -> None:
        session: Recorded = self._dice.choice(self._known.sessions)
        lane = self._dice.choice(LANES)
        rows = give_up(self._known.data, session, lane, self._dice.randint(0, 2))
        self._allowed.gone.setdefault((session.id, lane), set()).update(rows)

    def _record_damaged(self) -> None:
        session: Recorded = self._dice.choice(self._known.sessions)
        lane = self._dice.choice(LANES)
        rows = damage(self._known.data, session, lane, self._dice.random())
        self._allowed.gone.setdefault((session.id, lane), set()).update(rows)


def _toxic(dice: random.Random) -> Toxic:
    kind = dice.choice((*KINDS, "cut", "lose_answer", "lose_answer"))
    # Most bytes are those of streams, so whatever strikes behind some of them strikes a stream.
    after_bytes = dice.choice((0, 500, 8_000, 25_000, 60_000))
    return Toxic(kind, dice.randint(1, CALLS), after_bytes, dice.choice((0.1, 0.4, 2.5)))
