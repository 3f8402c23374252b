"""``python -m tests.bench``: every figure beside its peer's, all measured in this run.

A bench measures and does not judge: it ends with 0 whatever is kept, unless told ``--strict``.
The table goes to standard output, what is going on to standard error.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from recorder.demo.stage import Ground
from tests.bench import commit, load, machine, readback, recovery, upload, write_path
from tests.bench.measure import Figure, heading
from tests.bench.sdk import Sdk
from tests.bench.shelf import MEMORY

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

ROOMS = ("write", "upload", "commit", "recovery", "load")
#: Only if asked for: they take minutes, and `backlog` twice its size of the disk.
LONG_ROOMS = ("readback", "backlog")


def main() -> int:
    """Measure, print, and return the exit code."""
    chosen = _arguments()
    rooms = [chosen.only] if chosen.only else ROOMS
    # What a spool says of a session that it was made to lose is no news here.
    logging.getLogger("recorder").setLevel(logging.ERROR)
    begin_s = time.monotonic()
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix="bench-") as folder:
        facts = machine.facts(Path(folder), MEMORY)
        for key, value in facts.items():
            sys.stdout.write(f"{key + ':':11} {value}\n")
        found = list(_shown(_figures(Path(folder), rooms, chosen)))
    kept = sum(one.is_kept for one in found if one.budget is not None)
    due = sum(one.budget is not None for one in found)
    sys.stdout.write(f"{kept} of {due} budgets kept, {time.monotonic() - begin_s:.0f} s\n")
    if chosen.json:
        plain = {"machine": facts, "figures": [one.to_dict() for one in found]}
        chosen.json.write_text(json.dumps(plain, indent=2) + "\n")
    return 1 if chosen.strict and kept < due else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.bench", description=__doc__)
    parser.add_argument("--only", choices=ROOMS + LONG_ROOMS, help="measure only this")
    parser.add_argument("--seconds", type=float, default=60, help="length of the full load, 60")
    parser.add_argument("--gigabytes", type=float, default=20, help="of the room backlog, 20")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    parser.add_argument("--strict", action="store_true", help="end with 1 if a budget is not kept")
    return parser.parse_args()


def _figures(disk: Path, rooms: Collection[str], chosen: argparse.Namespace) -> Iterator[Figure]:
    if {"write", "upload"} & set(rooms):
        with Ground(disk / "ground") as ground, Sdk(ground.url) as sdk:
            if "write" in rooms:
                yield from write_path.figures(disk, sdk)
            if "upload" in rooms:
                yield from upload.figures(disk, ground.url, sdk)
    if "commit" in rooms:
        yield from commit.figures(disk)
    if "recovery" in rooms:
        yield from recovery.figures(disk)
    if "load" in rooms:
        # On a station of its own: what the one before has stored is no part of the load.
        with Ground(disk / "load") as ground:
            yield from load.figures(disk, ground.url, chosen.seconds)
    if set(LONG_ROOMS) & set(rooms):
        yield from _long(disk, rooms, chosen.gigabytes)


def _long(disk: Path, rooms: Collection[str], gigabytes: float) -> Iterator[Figure]:
    with Ground(disk / "long") as ground:
        if "readback" in rooms:
            yield from readback.figures(disk, ground.url)
        else:
            yield from readback.backlog(disk, ground.url, gigabytes)


def _shown(figures: Iterator[Figure]) -> Iterator[Figure]:
    sys.stdout.write(f"\n{heading()}\n")
    for one in figures:
        sys.stdout.write(f"{one}\n")
        sys.stdout.flush()
        yield one


if __name__ == "__main__":
    raise SystemExit(main())
