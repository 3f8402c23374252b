"""Power cuts of the installed recorder: anywhere in what its disk was told, and boots behind."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest

from hil.cuts.account import Found, judge, known, look
from hil.cuts.appliance import booted, copied, opened, plain, until_uploaded
from hil.cuts.driven import Driven
from hil.vm.ready import LANES
from tests.powercut import disk
from tests.powercut.recovery import apart, reboot
from tests.powercut.survey import has_torn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hil.cuts.tally import Tally
    from hil.vm.ready import Ready

SEED = 2014
SHORT = pytest.mark.short


@pytest.fixture(scope="module")
def driven(saved: Ready, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driven]:
    """A recording of three sensors whose power was cut."""
    if reason := disk.missing():
        pytest.skip(reason)
    disk.be_alone()
    image = copied(saved, tmp_path_factory.mktemp("appliance"))
    with TemporaryDirectory(dir=disk.MEMORY, prefix="recorder-cuts-") as folder:
        yield Driven(Path(folder), image)


@SHORT
def test_what_the_disk_has_at_last_is_what_the_sensors_gave(driven: Driven) -> None:
    assert driven.drive.untrue == []


@pytest.mark.parametrize("cuts", [pytest.param(25, marks=SHORT), 200])
def test_a_cut_anywhere_costs_nothing_that_was_durable(
    driven: Driven, cuts: int, tally: Tally, tell: Callable[[str], None]
) -> None:
    chance = random.Random(SEED + cuts)
    places = driven.places(cuts, chance)
    spools = [behind(image, driven.folder) for image in driven.images(places, chance)]
    everything = known([*spools, driven.last()])
    problems = []
    for at, found in zip(places, spools, strict=True):
        verdict = judge(found, everything, driven.drive, at)
        verdict.during = driven.during(at)
        tally.add(verdict, driven.drive.late_ns)
        problems += [f"request {at} of {len(driven.entries)}: {one}" for one in verdict.problems]
    looks = f"{len(driven.drive.looks)} watermarks over {len(driven.entries)} requests"
    tell(f"{sum(one.is_torn for one in spools)} torn; {looks}")
    assert problems == []
    assert not tally.too_long, "more was lost than promised"


@pytest.mark.parametrize(
    "moment",
    [
        "first rows",
        pytest.param("recording", marks=SHORT),
        "session start",
        "segment start",
        "eviction",
        "end",
    ],
)
def test_a_machine_that_boots_behind_a_cut_uploads_the_orphan_and_records_anew(
    driven: Driven, moment: str, tally: Tally, tell: Callable[[str], None], tmp_path: Path
) -> None:
    at, orphan, cut = amid(driven, moment)
    before = behind(driven.copy(cut), driven.folder)
    assert judge(before, known([before, driven.last()]), driven.drive, at).problems == []
    with booted(driven.image, plain(cut), tmp_path) as bench:
        bench.machine.run("systemctl start bench-ground")
        for lane in LANES:
            bench.records(lane)
        # The partition's own check replayed the file system's journal before it was mounted.
        checked = bench.machine.run("journalctl --no-pager -b -o cat -u recorder-fsck")
        assert "recorder: recovering journal" in checked, checked
        assert bench.machine.run("systemctl show -P Result recorder-fsck") == "success"
        there = until_uploaded(bench, orphan)
        recording = bench.recording()
    assert recording.problems() == []
    session, own = recording.session(orphan), recording.session(recording.session_ids[-1])
    assert (session.recording, session.end_reason) == ("stopped", "power_loss")
    assert (there["state"], there["end_reason"]) == ("abandoned", "power_loss")
    delivered = {one["name"]: one["delivered"] for one in there["lanes"]}
    assert delivered == {one.name: one.stored - one.lost_crc for one in session.lanes}
    assert sum(delivered.values()), "the orphan has no rows"
    assert own.end_reason == "shutdown"
    assert all(one.stored for one in own.lanes)
    now = look(recording.directory)
    kept = {key for key, one in before.rows.items() if not now.is_evicted(key[0], one.file)}
    assert {key: now.rows[key].crc for key in kept} == {key: before.rows[key].crc for key in kept}
    tally.boots += 1
    new = sum(one.stored for one in own.lanes)
    tell(f"request {at}: {sum(delivered.values())} rows of the orphan uploaded, {new} new")


def amid(driven: Driven, moment: str) -> tuple[int, str, Path]:
    """Cut the power at a moment, while a session is recorded: between two there is none.

    Returns:
        Behind how many requests, that session, and the disk.
    """
    for at in driven.moments_of(moment):
        (image,) = driven.images([at], random.Random(SEED + at))
        orphan = driven.orphan(image)
        if orphan is not None:
            return at, orphan, image.rename(driven.folder / "again.img")
    raise AssertionError(f"{moment}: no session was recorded")


def behind(image: Path, folder: Path) -> Found:
    """Let the recorder start behind a cut, and return what its spool has then."""
    with opened(image, folder / "behind") as config:
        is_torn = has_torn(config.spool_dir)
        apart(partial(reboot, config, "none"))
        found = apart(partial(look, config.spool_dir))
    found.is_torn = is_torn
    return found
