"""The campaign: drives on logged disks, cuts anywhere in their logs, recoveries, and a tally.

One drive is cut many times. Two cuts in five fall anywhere in its log; the others fall shortly
behind a moment at which something happened, so that every kind of moment is met. One recovery in
`AGAIN` is itself recorded by a block log, cut anywhere, and recovered once more.
"""

from __future__ import annotations

import random
import shutil
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from recorder.spool.quota import free_bytes
from tests.powercut import blocklog, disk, wrong
from tests.powercut.judge import Judge, Verdict
from tests.powercut.recovery import ApartError, apart, reboot
from tests.powercut.replay import Replay
from tests.powercut.survey import Survey, has_torn
from tests.powercut.workload import KEPT_BYTES, Drive, DriveError, settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from recorder.config import Config
    from tests.powercut.blocklog import Entry
    from tests.powercut.oracle import Oracle, Promise

CUTS_PER_DRIVE = 50
#: Long enough for two roll-overs and for evictions; what is wrong with a build shows earlier.
DRIVE_S, WRONG_DRIVE_S = 7.0, 4.0
AGAIN = 0.15
#: A cut near a moment falls at most so many requests to the disk behind it.
NEAR = 15
ANYWHERE = 0.4
#: A process on a busy machine may be woken so late; the promise is one of the recorder's doing.
LATE_NS = 100_000_000
MOMENTS = ("announce", "compact", "end", "evict", "resume", "roll", "water")
VOLUMES = ("own", "shared")


@dataclass
class Tally:
    """What the campaign found; every count is one of rows, or of cuts where it says so."""

    cuts: int = 0
    lost: int = 0
    doubled: int = 0
    wrong: int = 0
    unaccounted: int = 0
    cuts_not_clean: int = 0
    cuts_too_long: int = 0
    torn_tails: int = 0
    kills: int = 0
    during: Counter[str] = field(default_factory=Counter)
    longest_loss_ns: int = 0
    its_promise_ns: int = 0
    largest_excess_ns: int | None = None

    @property
    def is_clean(self) -> bool:
        """Whether every promise was kept at every cut, and there was one."""
        return self.cuts > 0 and not self.cuts_not_clean and not self.cuts_too_long

    def add(self, one: Verdict) -> None:
        """Count one cut."""
        self.cuts += 1
        self.cuts_not_clean += bool(one.problems)
        self.torn_tails += one.is_torn
        self.during.update(one.during)
        for key in ("lost", "doubled", "wrong", "unaccounted"):
            setattr(self, key, getattr(self, key) + getattr(one, key))
        if one.promised_ns is not None and one.loss_ns > self.longest_loss_ns:
            self.longest_loss_ns, self.its_promise_ns = one.loss_ns, one.promised_ns
        if one.excess_ns is not None:
            self.cuts_too_long += one.excess_ns > LATE_NS
            self.largest_excess_ns = max(self.largest_excess_ns or one.excess_ns, one.excess_ns)

    def lines(self) -> list[str]:
        """Return the last lines of the campaign."""
        during = self.during
        return [
            f"cuts                      {self.cuts}, not clean {self.cuts_not_clean}",
            f"committed rows lost       {self.lost}",
            f"rows doubled              {self.doubled}",
            f"rows unaccounted          {self.unaccounted}",
            f"rows with wrong bytes     {self.wrong}",
            f"torn tails seen           {self.torn_tails}",
            f"cuts during               roll {during['roll']}, eviction {during['evict']}, "
            f"session start {during['announce']}, session end {during['end']}, "
            f"journal compaction {during['compact']}, "
            f"take-over after kill -9 {during['resume']}, recovery {during['recovery']}",
            f"kill -9 of the spool      {self.kills}",
            f"longest loss              {self.longest_loss_ns / 1e6:.1f} ms, promised there "
            f"{self.its_promise_ns / 1e6:.1f} ms (interval and commit in flight)",
            f"largest loss over promise {(self.largest_excess_ns or 0) / 1e6:.1f} ms "
            f"(more than {LATE_NS / 1e6:.0f}, for which a busy machine may wake a process late: "
            f"{self.cuts_too_long} cuts)",
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        plain = {key: value for key, value in vars(self).items() if key != "during"}
        return {**plain, "during": dict(self.during), "is_clean": self.is_clean}


@dataclass(frozen=True)
class Plan:
    """What a campaign is to do.

    Args:
        cuts: how many.
        seed: of every chance; the processes' own timing is not in it.
        volumes: kinds of file system, used in turn.
        wrong: name of a wrong build, or ``none``; such a campaign ends at the first finding.
    """

    cuts: int
    seed: int
    volumes: tuple[str, ...] = VOLUMES
    wrong: str = "none"


def campaign(plan: Plan, tally: Tally) -> Iterator[tuple[str, Verdict]]:
    """Cut, recover and judge; yield where each cut was and what was found there.

    Raises:
        DiskError: a drive's own disk could not be mounted; a cut's is a finding.
    """
    drive = 0
    while tally.cuts < plan.cuts:
        volume = plan.volumes[drive % len(plan.volumes)]
        left = min(plan.cuts - tally.cuts, CUTS_PER_DRIVE)
        with TemporaryDirectory(dir=disk.MEMORY, prefix="powercut-") as name:
            stage = Stage(Path(name), volume, f"{plan.seed}.{drive}", plan.wrong)
            try:
                tally.kills += stage.drive(DRIVE_S if plan.wrong == "none" else WRONG_DRIVE_S)
            except DriveError as error:
                tally.cuts_not_clean += 1
                yield f"drive {drive} ({volume})", Verdict(problems=[str(error)])
                return
            for where, verdict in stage.cuts(left):
                tally.add(verdict)
                yield f"drive {drive} ({volume}), {where}", verdict
                if verdict.problems and plan.wrong != "none":
                    return
        drive += 1


class Stage:
    """One drive and its cuts, in a folder of its own in memory.

    Args:
        folder: empty.
        volume: ``own``: the recorder has the whole file system; ``shared``: a folder in it.
        seed: of every chance.
        build: name of a wrong build, or ``none``.
    """

    def __init__(self, folder: Path, volume: str, seed: str, build: str) -> None:
        self._folder, self._seed, self._build = folder, seed, build
        self._mount = folder / "disk"
        self._base, self._crash = folder / "base.img", folder / "crash.img"
        self._log = folder / "log"
        self._directory = self._mount / ("recorder" if volume == "shared" else "")
        self._chance = random.Random(seed)
        self._plain: Config
        self._oracle: Oracle
        self._entries: list[Entry]

    def drive(self, seconds: float) -> int:
        """Record on a logged disk; return how often the spool process was killed."""
        disk.make(self._base)
        self._log.mkdir()
        shutil.copyfile(self._base, self._log / blocklog.DISK)
        with disk.logged(self._log) as image, disk.mounted(image, self._mount):
            self._directory.mkdir(exist_ok=True)
            floor = free_bytes(self._mount) - KEPT_BYTES
            self._plain = settings(self._directory, self._folder / "run", floor)
            drive = Drive(self._log, self._plain, self._seed, self._build)
            self._oracle = drive.run(seconds)
        self._entries = blocklog.entries(self._log)
        return drive.kills

    def cuts(self, count: int) -> Iterator[tuple[str, Verdict]]:
        """Cut the drive's disk so often; yield where, and what was found."""
        replay = Replay(self._base, self._entries, self._folder / "medium.img")
        for at in self._places(count):
            replay.cut(at, self._chance, self._crash)
            end_ns = self._entries[min(at, len(self._entries) - 1)].boot_ns
            promise = self._oracle.promise(at, end_ns)
            yield f"request {at} of {len(self._entries)}", self._verdict(promise)
        replay.close()

    def _places(self, count: int) -> list[int]:
        moments = self._oracle.moments()
        first, last = moments["start"][0], self._oracle.notes[-1]["count"]
        kinds = [one for one in MOMENTS if one in moments]
        found: list[int] = []
        for _ in range(count):
            if self._chance.random() < ANYWHERE:
                found.append(self._chance.randint(first, last))
            else:
                moment = self._chance.choice(moments[self._chance.choice(kinds)])
                found.append(min(moment + self._chance.randint(0, NEAR), last))
        return sorted(found)

    def _verdict(self, promise: Promise) -> Verdict:
        judge = Judge(promise, self._oracle.books)
        verdict = judge.verdict
        try:
            if self._chance.random() < AGAIN:
                verdict.during.append("recovery")
                self._cut_while_recovering()
            with disk.mounted(self._crash, self._mount):
                verdict.is_torn = has_torn(self._directory / "spool")
                apart(self._reboot)
                verdict = apart(lambda: judge.judge(self._survey()))
            disk.check(self._crash)
        except (ApartError, disk.DiskError) as error:
            verdict.problems.append(str(error))
        return verdict

    def _survey(self) -> Survey:
        wrong.build(self._build)  # its readers are the recorder's too
        return Survey.of(self._directory / "spool")

    def _reboot(self) -> None:
        reboot(self._next_boot(), self._build)

    def _next_boot(self) -> Config:
        run_dir = self._folder / f"run-{self._chance.getrandbits(64):016x}"
        return replace(self._plain, spool=replace(self._plain.spool, run_dir=run_dir))

    def _cut_while_recovering(self) -> None:
        """Let the recovery run on a logged disk, and put into its place what a cut leaves."""
        again = self._folder / "again"
        again.mkdir(exist_ok=True)
        shutil.copyfile(self._crash, again / blocklog.DISK)
        with disk.logged(again) as image, disk.mounted(image, self._mount):
            apart(self._reboot)
        entries = blocklog.entries(again)
        replay = Replay(self._crash, entries, self._folder / "medium-again.img")
        replay.cut(self._chance.randint(0, len(entries)), self._chance, self._crash)
        replay.close()
