from __future__ import annotations

import pytest

from tests.crash.campaign import run


@pytest.mark.timeout(400)  # 35 s of one core alone; the machine may be shared
def test_whatever_happens_a_recorder_keeps_what_it_committed_once_and_counts_the_rest() -> None:
    verdict, tally = run(250, 1)
    assert not verdict
    # A campaign in which nothing happens would pass too.
    happened = (
        "power cuts",
        "cuts in recovery",
        "kills of the spool",
        "kills of a lane",
        "commits",
    )
    assert all(tally[one] > 50 for one in happened), tally
