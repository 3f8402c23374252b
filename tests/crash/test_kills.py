from __future__ import annotations

import random
from pathlib import Path

from tests.crash.kills import round_of


def test_processes_killed_under_full_load_lose_double_and_hide_nothing(tmp_path: Path) -> None:
    verdict, tally = round_of(tmp_path, 12, random.Random(3))
    assert not verdict
    assert tally["rows"] > 1000
