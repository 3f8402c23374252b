"""Plays scenarios on a real box: `python -m hil.rig --rig rig.toml [SCENARIO…]`."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from hil.figures import RESULTS
from hil.rig.box import RigBox, read
from hil.scenarios.bench import Bench, Computer
from hil.scenarios.every import ALL
from hil.scenarios.play import play
from hil.vm.ready import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hil.scenarios.scenario import Scenario

LEVEL = "2"


class Box(Computer, Protocol):
    """A computer under test that can be brought to where every scenario begins."""

    def begin(self, settings: str) -> None:
        """Empty it and configure it: it runs, with no sensor."""


def why_not(scenario: Scenario) -> str:
    """Return why a scenario cannot be played on a rig, or nothing."""
    if len(scenario.lost) > 1:
        return f"it needs {len(scenario.lost)} sensors at once, and a rig's port plays one"
    devices = [one for one in scenario.power_on if one in ("-device", "-rtc")]
    return "it needs a device that only QEMU has" if devices else ""


def played(scenario: Scenario, box: Box, results: Path) -> list[str]:
    """Play a scenario; return what is wrong, nothing if all is as it should be."""
    begin_s = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        box.begin(scenario.settings or SETTINGS)
        with closing(Bench(box, scenario.make(place), place)) as bench:
            if scenario.is_cold:
                bench.plug(*scenario.lost)
                box.lose_power()
            try:
                problems, shown = play(scenario, bench, LEVEL, results)
            except AssertionError as error:
                problems, shown = [str(error)], "it did not come to its end"
            told = "; ".join((shown, *bench.told, *problems))
    word = "failed" if problems else "passed"
    sys.stdout.write(f"{word} {scenario.name:20} {time.monotonic() - begin_s:4.0f} s  {told}\n")
    return problems


def all_played(names: Iterable[str], box: Box, results: Path) -> int:
    """Play scenarios of some names, or every one; return how many failed."""
    wanted = set(names)
    failed = 0
    for one in ALL:
        if wanted and one.name not in wanted:
            continue
        if reason := why_not(one):
            sys.stdout.write(f"skipped {one.name}: {reason}\n")
            continue
        failed += bool(played(one, box, results))
    return failed


def main(words: Sequence[str] | None = None) -> int:
    """Play them; return 1 if one failed, 2 if nothing could be played."""
    parser = argparse.ArgumentParser(prog="python -m hil.rig", description=__doc__)
    parser.add_argument("--rig", type=Path, required=True, metavar="FILE", help="see rig.toml")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER")
    parser.add_argument("scenario", nargs="*", help="names; every one if none is given")
    given = parser.parse_args(words)
    if unknown := set(given.scenario) - {one.name for one in ALL}:
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    try:
        rig = read(given.rig)
        with tempfile.TemporaryDirectory() as folder, RigBox(rig, Path(folder)) as box:
            return int(all_played(given.scenario, box, given.results) > 0)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 2


if __name__ == "__main__":
    raise SystemExit(main())
