from __future__ import annotations

import time
from pathlib import Path

import pytest

from recorder.clock import boot_ns
from recorder.system_time import RTC_EARLIEST_NS, RTC_UNCERTAINTY_NS, rtc_anchor

S = 1_000_000_000


def test_an_rtc_is_believed_to_a_minute(tmp_path: Path) -> None:
    path = tmp_path / "since_epoch"
    path.write_text(f"{int(time.time()) + 25}\n")
    anchor = rtc_anchor(path)
    assert anchor is not None
    assert (anchor.source, anchor.uncertainty_ns) == ("rtc", RTC_UNCERTAINTY_NS)
    assert abs(anchor.utc_ns - time.time_ns() - 25 * S) < 3 * S
    assert abs(anchor.boot_ns - boot_ns()) < 3 * S


@pytest.mark.parametrize("said", [None, "", "nonsense", "946684800", str(RTC_EARLIEST_NS // S - 1)])
def test_an_rtc_that_is_absent_or_lost_its_battery_says_nothing(
    tmp_path: Path, said: str | None
) -> None:
    path = tmp_path / "since_epoch"
    if said is not None:
        path.write_text(said)
    assert rtc_anchor(path) is None
