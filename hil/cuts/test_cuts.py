"""Power cuts of the installed recorder: anywhere in what its disk was told, and one boot behind."""

from __future__ import annotations

import random
import shutil
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest

from hil.cuts import write_log
from hil.cuts.drive import BUSY, SERIAL, Drive, booted
from hil.scenarios.recording import Recording
from hil.vm.ready import LANES, SETTINGS
from recorder.configfile import load
from recorder.session.states import State
from tests.powercut import disk
from tests.powercut.recovery import apart, reboot
from tests.powercut.replay import Replay
from tests.powercut.survey import Survey, has_torn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hil.cuts.drive import Water
    from hil.vm.ready import Ready
    from recorder.config import Config

RECORDED_S, CUTS = 40.0, 60
SEED = 2014


@pytest.fixture(scope="module")
def driven(saved: Ready, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drive]:
    """A recording of three sensors whose power was cut, and all that its disk was told."""
    if reason := disk.missing():
        pytest.skip(reason)
    disk.be_alone()
    folder = tmp_path_factory.mktemp("cuts")
    found = Drive(folder)
    found.run(saved.image, RECORDED_S)
    yield found
    shutil.rmtree(folder)


def test_a_cut_anywhere_costs_nothing_that_was_durable(
    driven: Drive, tell: Callable[[str], None]
) -> None:
    chance = random.Random(SEED)
    entries = write_log.entries(driven.log)
    first = driven.waters[0].entries
    replay = Replay(driven.base, entries, driven.folder / "medium.img")
    image, torn, rows = driven.folder / "cut.img", 0, 0
    for at in sorted(chance.randint(first, len(entries)) for _ in range(CUTS)):
        replay.cut(at, chance, image)
        due = [one for one in driven.waters if one.entries <= at]
        with disk.mounted(image, driven.folder / "mnt") as place:
            torn += has_torn(place / "spool")
            config = recorder_on(place, driven.folder, f"run-{at}")
            apart(partial(reboot, config, "none"))
            problems, stored = apart(partial(surveyed, place / "spool", due))
            rows += stored
        disk.check(image)
        assert problems == [], f"cut behind request {at} of {len(entries)}"
    replay.close()
    waters = f"{len(driven.waters)} watermarks over {len(entries)} requests"
    tell(f"{CUTS} cuts, {torn} with torn tails, {rows} rows read; {waters}")


def test_a_machine_that_boots_behind_a_cut_goes_on_recording(driven: Drive, saved: Ready) -> None:
    chance = random.Random(SEED + 1)
    entries = write_log.entries(driven.log)
    replay = Replay(driven.base, entries, driven.folder / "medium-2.img")
    image = driven.folder / "again.img"
    replay.cut(len(entries) * 3 // 4, chance, image)
    replay.close()
    drive = f"file={image},format=raw,if=none,id=spool"
    more = ["-drive", drive, "-device", f"virtio-blk-pci,drive=spool,serial={SERIAL}"]
    folder = driven.folder / "again"
    folder.mkdir()
    with booted(saved.image, more, folder) as bench:
        for lane in LANES:
            bench.records(lane)
        recording = bench.recording()
    assert recording.problems() == []
    assert len(recording.session_ids) > 1
    orphan, own = recording.session_ids[-2:]
    assert recording.session(orphan).state is State.abandoned
    assert recording.session(own).state is State.closed
    assert all(recording.ledger(lane).stored for lane in LANES)


def surveyed(spool: Path, due: list[Water]) -> tuple[list[str], int]:
    """Return what a recovered spool lacks of what was promised, and how many records it has."""
    found = Survey.of(spool)
    problems = found.problems + Recording(spool).problems()
    for water in due:
        for lane, (name, end_bytes) in water.ends.items():
            stones = found.tombstones.get(lane, [])
            if found.ends.get((water.session_id, lane, name), 0) < end_bytes and not stones:
                problems.append(f"{lane}/{name} ends before its watermark {end_bytes}")
    return problems, sum(one.rows for lane in found.stored.values() for one in lane)


def recorder_on(place: Path, folder: Path, run: str) -> Config:
    """Return the machine's configuration, for its disk where it is mounted here."""
    file = folder / "recorder.toml"
    file.write_text(SETTINGS + BUSY)
    plain = load(file)
    return replace(plain, spool=replace(plain.spool, directory=place, run_dir=folder / run))
