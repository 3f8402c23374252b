"""A clock that our own receiver disciplines is no evidence of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clock.wall import Wall

CODE = """
import json, sys
from pathlib import Path
from recorder.clock import anchor_now, boot_ns
from recorder.spool.timekeeper import Timekeeper
keeper = Timekeeper(Path(sys.argv[1]), is_feeding=sys.argv[2] == "True")
keeper.read_clocks()
boot = boot_ns()
keeper.take([anchor_now(boot, 1_790_000_000_000_000_000 + boot, 100_000_000, "gps")])
keeper.read_clocks()
keeper.tell()
again = Timekeeper(Path(sys.argv[1]), is_feeding=sys.argv[2] == "True")
again.read_clocks()
print(json.dumps([one.source for one in again._anchors if one.source != "rtc"]))
"""


@pytest.mark.parametrize("is_feeding", [False, True])
def test_ntp_counts_until_our_own_receiver_feeds_it(tmp_path: Path, *, is_feeding: bool) -> None:
    wall = Wall(tmp_path)
    wall.set(is_synchronised=True, most_us=50_000)
    command = [sys.executable, "-c", CODE, str(tmp_path / "b" / "anchors"), str(is_feeding)]
    done = subprocess.run(
        command, env={"PATH": "", **wall.environment}, capture_output=True, text=True, check=True
    )
    after = ["none"] if is_feeding else ["none", "ntp"]
    assert json.loads(done.stdout) == ["none", "none", "ntp", "gps", *after, *after]
