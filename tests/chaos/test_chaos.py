from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.wrong import BUILDS

ROOT = Path(__file__).parents[2]
SEED = "3"
#: A wrong build is caught at one of its first uploads; so many are made before that is given up.
MOST_UPLOADS = "40"
DIE = ("--fault", "uploader dies at a step", "--step")
#: Where each of them goes wrong, and what it does to a server.
CAUGHT = {
    "trust-the-exception": (("--fault", "link"), "was sent again|could be deleted"),
    "journal-behind-the-step": (
        (*DIE, "put_ok"),
        "was sent again|is still uploading data|no list of the manifest",
    ),
    "take-any-answer-for-a-receipt": (("--fault", "key revoked"), "a receipt for .* not there"),
    "end-the-stream-on-errors": (("--fault", "uploader stopped"), "is finalized with"),
    "acknowledge-what-was-sent": ((*DIE, "write"), "a receipt for .* not there"),
    "notify-blindly": ((*DIE, "told"), "/end.*/end"),
    "send-what-is-not-durable": ((), "that the spool lacks"),
}
LIVE = ("journal-behind-the-step", "send-what-is-not-durable")


def campaign(folder: Path, *arguments: str) -> tuple[int, dict[str, Any], str]:
    """Run a campaign as a user does; return its exit code, its figures and what it printed."""
    file = folder / "figures.json"
    command = [sys.executable, "-m", "tests.chaos", "--json", str(file), *arguments]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=110
    )
    told = done.stdout + done.stderr
    return done.returncode, json.loads(file.read_text()) if file.exists() else {}, told


@pytest.mark.parametrize(("kind", "uploads"), [("backlog", "12"), ("live", "6")])
def test_through_every_fault_each_row_arrives_once_and_nothing_is_left_open(
    tmp_path, kind, uploads
):
    code, figures, told = campaign(tmp_path, "--campaigns", uploads, "--seed", SEED, "--only", kind)
    assert figures, told
    assert (figures["lost"], figures["doubled"], figures["foreign"]) == (0, 0, 0), told
    assert (figures["campaigns"], figures["not_clean"], code) == (int(uploads), 0, 0), told
    assert figures["rows"] > 100 * int(uploads), told
    assert figures["dead_uploaders"] > 0, told
    assert figures["links"], told
    assert (figures["cuts"] > 0) == (kind == "live"), told


@pytest.mark.parametrize("build", [name for name in BUILDS if name != "none"])
def test_a_build_that_is_wrong_is_caught(tmp_path, build):
    faults, problem = CAUGHT[build]
    only = "live" if build in LIVE else "backlog"
    plan = ("--campaigns", MOST_UPLOADS, "--seed", SEED, "--only", only, "--wrong", build)
    code, figures, told = campaign(tmp_path, *plan, *faults)
    assert (code, figures["not_clean"]) == (1, 1), told
    problems = figures["found"][0]["problems"]
    assert any(re.search(problem, one, re.DOTALL) for one in problems), told
