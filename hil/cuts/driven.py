"""A recording whose power was cut, and its disk behind any of its requests."""

from __future__ import annotations

import subprocess
from functools import partial
from typing import TYPE_CHECKING

from hil.cuts import write_log
from hil.cuts.account import Found, look
from hil.cuts.appliance import CONFIGURED, ROOMY, configure, give_partition, opened
from hil.cuts.drive import Drive, moments
from recorder.spool.spool import Spool
from tests.powercut.recovery import apart, reboot
from tests.powercut.replay import Replay

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from hil.vm.image import Image

RECORDED_S = 45.0
#: Two cuts in five fall anywhere; the others so many requests at most behind something.
ANYWHERE, NEAR = 0.4, 15


class Driven:
    """A recording of three sensors whose power was cut, and all that its disk was told.

    Args:
        folder: for it, in memory.
        image: of the machine that records, and that boots behind the cuts; it is changed.
    """

    def __init__(self, folder: Path, image: Image) -> None:
        self.folder, self.image = folder, image
        self.drive = Drive(folder)
        give_partition(image)
        configure(image, CONFIGURED)
        self.drive.run(image, RECORDED_S)
        configure(image, ROOMY)
        self.entries = write_log.entries(self.drive.log)
        self.moments = moments(self.entries)
        self._last: Found | None = None

    def places(self, count: int, chance: random.Random) -> list[int]:
        """Return behind how many requests to cut, in order."""
        found = []
        for _ in range(count):
            if chance.random() < ANYWHERE:
                found.append(chance.randint(0, len(self.entries)))
            else:
                moment = chance.choice(self.moments[chance.choice(sorted(self.moments))])
                found.append(min(moment + chance.randint(0, NEAR), len(self.entries)))
        return sorted(found)

    def moments_of(self, moment: str) -> Sequence[int]:
        """Return behind how many requests something happens, with rows in the session; in order."""
        looks = self.drive.looks
        if moment == "first rows":
            return [one.entries for one in looks if len(one.ends) > 1]
        if moment == "session start":
            last = looks[-1].session_id
            return [one.entries for one in looks if one.session_id == last and one.ends]
        if moment == "recording":
            return range(len(self.entries) // 2, len(self.entries))
        if moment == "end":
            return [len(self.entries)]
        happened = self.moments[moment]
        return [one + 1 for one in happened[len(happened) * 3 // 4 :]]

    def during(self, at: int) -> list[str]:
        """Return what happened shortly before a cut."""
        return [
            what
            for what, places in self.moments.items()
            if any(0 <= at - one <= NEAR for one in places)
        ]

    def images(self, places: Sequence[int], chance: random.Random) -> Iterator[Path]:
        """Yield the disk as cuts left it, always in the same file.

        Args:
            places: behind how many requests each is, in order.
            chance: decides what the cache brought to the medium.
        """
        replay = Replay(self.drive.base, self.entries, self.folder / "medium.img")
        image = self.folder / "cut.img"
        for at in places:
            replay.cut(at, chance, image)
            yield image
        replay.close()

    def copy(self, image: Path) -> Path:
        """Return a copy of a disk, always in the same file."""
        copy = self.folder / "copy.img"
        subprocess.run(["cp", "--sparse=always", image, copy], check=True)
        return copy

    def last(self) -> Found:
        """Return what is on the disk that lost nothing."""
        if self._last is None:
            with opened(self.copy(self.drive.disk), self.folder / "last") as config:
                apart(partial(reboot, config, "none"))
                self._last = apart(partial(look, config.spool_dir))
        return self._last

    def orphan(self, image: Path) -> str | None:
        """Return the session that was being recorded when the power went; None: there was none."""
        with opened(self.copy(image), self.folder / "orphan") as config:
            spool = Spool(config.spool_dir)
            running = (
                one for one in spool.session_ids() if spool.session(one).recording == "running"
            )
            return next(running, None)
