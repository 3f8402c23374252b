from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from recorder.clock import anchor_now, boot_ns
from recorder.record import Anchor
from recorder.spool import journal
from recorder.spool.timekeeper import MOST_ANCHORS, Timekeeper
from recorder.time_model import TimeModel

S = 1_000_000_000
UTC = 1_790_000_000 * S


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "boots" / "b" / "anchors"


@pytest.fixture
def keeper(path: Path) -> Iterator[Timekeeper]:
    made = Timekeeper(path, is_feeding=False)
    yield made
    made.close()


def gps() -> Anchor:
    boot = boot_ns()
    return anchor_now(boot, UTC + boot, 100_000_000, "gps")


def sources(path: Path) -> list[str]:
    return [one["source"] for one in journal.read(path)]


def test_the_time_is_known_from_the_first_anchor_on_and_that_is_told_once(
    keeper: Timekeeper,
) -> None:
    assert keeper.model.source == "none"
    assert not keeper.take([])
    assert keeper.take([gps()])
    assert not keeper.take([gps()])
    assert keeper.model.source == "gps"


def test_what_was_told_is_there_for_the_next_process(keeper: Timekeeper, path: Path) -> None:
    keeper.take([gps()])
    assert sources(path) == []
    keeper.tell()
    keeper.tell()
    assert sources(path) == ["none", "gps"]
    again = Timekeeper(path, is_feeding=False)
    assert again.model.source == "gps"
    again.tell()
    again.close()
    assert sources(path) == ["none", "gps"]


def test_the_machines_clocks_are_read_beside_each_other(keeper: Timekeeper, path: Path) -> None:
    before = boot_ns()
    keeper.read_clocks()
    keeper.tell()
    assert sources(path).count("none") == 2
    last = [one for one in journal.read(path) if one["source"] == "none"][-1]
    assert before <= last["boot_ns"] <= boot_ns()


def test_of_many_anchors_the_process_keeps_some_and_the_journal_all(
    keeper: Timekeeper, path: Path
) -> None:
    one = gps()
    begin, raw = one.boot_ns, one.monotonic_raw_ns
    many = [
        Anchor(begin + after, raw + after, UTC + begin + after, 100_000_000, "gps")
        for after in range(0, 3 * MOST_ANCHORS * 10 * S, 10 * S)
    ]
    for one in many:
        keeper.take([replace(one, source="none"), one])
    keeper.tell()
    assert len(keeper._anchors) <= MOST_ANCHORS
    assert len(journal.read(path)) == 1 + 2 * len(many)
    assert {one.source for one in keeper._anchors} == {"none", "gps"}
    whole = TimeModel(many)
    for at in (begin, begin + 5_000 * S, many[-1].boot_ns):
        assert abs(keeper.model.utc_ns(at) - whole.utc_ns(at)) < 1_000_000
