"""What `.ci/run` makes of levels that fail, played with a `make` of our own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LEVELS = ["test", "hil-units", "hil-short"]
#: Fails what the environment names, each on a line.
MAKE = """#!/bin/sh
echo "make $*"
! printenv FAILS | grep -qxF "$*"
"""


def gate(folder: Path, *fails: str) -> tuple[bool, list[str]]:
    """Run it; return whether it passes, and what it made."""
    place = folder / "make"
    place.write_text(MAKE)
    place.chmod(0o755)
    path = f"{folder}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", ROOT / ".ci/run"],
        env={**os.environ, "PATH": path, "FAILS": "\n".join(fails)},
        capture_output=True,
        text=True,
        check=False,
    )
    made = [line.removeprefix("make ") for line in done.stdout.splitlines() if " s" not in line]
    return not done.returncode, made


def test_it_passes_where_every_level_does(tmp_path: Path) -> None:
    assert gate(tmp_path) == (True, LEVELS)


def test_the_suite_fails_it_at_once(tmp_path: Path) -> None:
    assert gate(tmp_path, "test") == (False, ["test"])


@pytest.mark.parametrize("level", LEVELS[1:])
def test_what_fails_on_the_bench_is_played_once_more(tmp_path: Path, level: str) -> None:
    again = f"{level} AGAIN=--last-failed"
    before = LEVELS[: LEVELS.index(level) + 1]
    passed, made = gate(tmp_path, level)
    assert passed
    assert made == [*before, again, *LEVELS[len(before) :]]
    assert gate(tmp_path, level, again) == (False, [*before, again])
