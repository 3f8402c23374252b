from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.powercut import disk
from tests.powercut.wrong import BUILDS

LACKING = disk.missing()
pytestmark = pytest.mark.skipif(bool(LACKING), reason=f"no power to cut here: {LACKING}")

#: With it the spool process is killed within its ninth commit, before that is durable.
SEED = "8"
SEEDS = (SEED, "9", "10")
#: A wrong build is caught at one of its first cuts; so many are made before that is given up.
MOST_CUTS = 150
#: What each of them does to the rows.
CAUGHT = {
    "acknowledge-before-sync": "committed rows are lost",
    "free-before-commit": "committed rows are lost",
    "no-sync-of-directories": "was announced and is not there|committed rows are lost",
    "no-check-of-epoch-and-position": r"rows from \d+ on are (there twice|not what was acquired)",
    # Behind what it left nothing verifies, which a cut between watermark and free sees first.
    "no-cut-at-the-watermark": (
        r"rows from \d+ on are there twice|committed rows are lost|ends before its watermark"
    ),
}


def campaign(folder: Path, *arguments: str) -> tuple[int, dict[str, Any], str]:
    """Run a campaign as a user does; return its exit code, its figures and what it printed."""
    file = folder / "figures.json"
    command = [sys.executable, "-m", "tests.powercut", "--json", str(file), *arguments]
    done = subprocess.run(
        command, cwd=disk.ROOT, capture_output=True, text=True, check=False, timeout=100
    )
    told = done.stdout + done.stderr
    return done.returncode, json.loads(file.read_text()) if file.exists() else {}, told


@pytest.mark.parametrize("volume", ["own", "shared"])
def test_no_cut_costs_a_committed_row_doubles_one_or_leaves_one_unaccounted(tmp_path, volume):
    code, figures, told = campaign(tmp_path, "--cuts", "15", "--seed", SEED, "--volume", volume)
    assert figures, told
    assert (figures["lost"], figures["doubled"], figures["unaccounted"]) == (0, 0, 0), told
    assert (figures["cuts"], figures["cuts_not_clean"]) == (15, 0), told
    assert figures["during"]["compact"] > 0, told
    assert (code == 0) == (figures["cuts_too_long"] == 0), told


@pytest.mark.parametrize("build", [name for name in BUILDS if name != "none"])
def test_a_build_that_is_wrong_is_caught(tmp_path, build):
    problems: list[str] = []
    for seed in SEEDS:  # it may also fail in other ways first, such as at a file that is there
        arguments = ["--cuts", str(MOST_CUTS), "--seed", seed, "--wrong", build]
        code, figures, told = campaign(tmp_path, *arguments)
        assert code == 1, told
        assert figures["cuts_not_clean"] == 1, told
        problems += [text for one in figures["found"] for text in one["problems"]]
        if any(re.search(CAUGHT[build], one) for one in problems):
            return
    pytest.fail("\n".join(problems))
