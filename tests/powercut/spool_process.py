"""The recorder's own spool process, watched: ``spool_process FOLDER DEATHS SEED WRONG SETTINGS``.

It runs `recorder.spooler.Spooler` as `recorder.spooler.main` does. Around a few of its calls it
writes notes (`oracle`), and in some commits it kills itself, as an oom killer would: before, within
or behind, with a chance of DEATHS for each commit. WRONG names one of the deliberately wrong builds
(`wrong`), or is ``none``.
"""

from __future__ import annotations

import os
import random
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recorder import spooler
from recorder.clock import boot_ns
from recorder.ring import RingReader
from recorder.service import entry
from recorder.spool import compaction
from recorder.spool.journal import Journal
from recorder.spool.recording import Recording
from recorder.spool.segment_writer import SegmentWriter
from recorder.spool.watermark import Watermark
from tests.powercut import wrong
from tests.powercut.blocklog import Counter
from tests.powercut.oracle import Notes
from tests.powercut.recovery import compact_at_once

if TYPE_CHECKING:
    from collections.abc import Callable

    from recorder.config import Config
    from recorder.service import Stop

#: Places in a commit where this process may die.
_PLACES = 3


class Fate:
    """Kills this process now and then.

    Args:
        deaths: how likely within one commit.
        seed: of the chance.
    """

    def __init__(self, deaths: float, seed: str) -> None:
        self._chance = random.Random(seed)
        self._deaths = deaths / _PLACES

    def tempt(self) -> None:
        """Die, or not."""
        if self._chance.random() < self._deaths:
            os.kill(os.getpid(), signal.SIGKILL)


def watch(notes: Notes, fate: Fate) -> None:
    """Write a note around every call that promises something."""
    _around_making("announce", notes)
    _around_making("resume", notes)
    _around_end(notes)
    _around_compaction(notes)
    _before(SegmentWriter, "__init__", lambda *_: notes.note("roll", boot_ns()))
    _before(Journal, "append", lambda _, entry: _journalled(notes, entry))
    _watch_watermarks(notes, fate)
    _before(RingReader, "free", lambda ring, position: _freed(notes, ring, position))
    _watch_commits(notes, fate)


def _journalled(notes: Notes, entry: dict[str, Any]) -> None:
    if entry.get("entry") == "evicted":
        notes.note("evict", boot_ns())


def _watch_watermarks(notes: Notes, fate: Fate) -> None:
    real = Watermark.publish

    def publish(self: Watermark, file: Path) -> None:
        fate.tempt()
        real(self, file)
        # Not before: who dies between commit and watermark has promised nothing, and what lies
        # behind the watermark before that is cut and comes from the rings again.
        notes.note("water", boot_ns(), session=self.session_id, ends=dict(self.ends))

    Watermark.publish = publish  # type: ignore[method-assign] # that is the point


def _freed(notes: Notes, ring: RingReader, position: int) -> None:
    if position > ring.tail_position():
        notes.note("free", boot_ns(), epoch=ring.epoch, position=position)


def _watch_commits(notes: Notes, fate: Fate) -> None:
    real = spooler.Spooler.commit

    def commit(self: spooler.Spooler) -> None:
        notes.note("commit", boot_ns())
        real(self)
        fate.tempt()
        notes.note("over", boot_ns(), interval_ns=self._pace.interval_ns)

    spooler.Spooler.commit = commit  # type: ignore[method-assign] # that is the point
    _before(Recording, "commit", lambda *_: fate.tempt())


def _around_making(name: str, notes: Notes) -> None:
    real = getattr(Recording, name)

    def watched(*args: Any, **options: Any) -> Recording:
        notes.note(name, boot_ns())
        made: Recording = real(*args, **options)
        notes.note(name, boot_ns(), session=made.session.id, done=True)
        return made

    setattr(Recording, name, staticmethod(watched))


def _around_end(notes: Notes) -> None:
    real = Recording.end

    def end(self: Recording, *args: Any, **options: Any) -> None:
        notes.note("end", boot_ns())
        real(self, *args, **options)
        notes.note("end", boot_ns(), session=self.session.id, done=True)

    Recording.end = end  # type: ignore[method-assign] # that is the point


def _around_compaction(notes: Notes) -> None:
    real = compaction.compact

    def compact(path: Path, *, is_settled: bool) -> bool:
        notes.note("compact", boot_ns())
        return real(path, is_settled=is_settled)

    compaction.compact = compact


def _before(owner: type, name: str, tell: Callable[..., None]) -> None:
    real = getattr(owner, name)

    def watched(*args: Any, **options: Any) -> Any:
        tell(*args[:2])
        return real(*args, **options)

    setattr(owner, name, watched)


def main(config: Config, stop: Stop) -> None:
    """Run the spool process as its own `main` does, watched."""
    folder, deaths, seed, wrong_build = sys.argv[1:5]
    notes = Notes(Path(folder) / "notes", Counter(Path(folder)))
    watch(notes, Fate(float(deaths), seed))
    wrong.build(wrong_build)
    compact_at_once()
    notes.note("start", boot_ns())
    spooler.main(config, stop)


if __name__ == "__main__":
    entry("spool", main)
