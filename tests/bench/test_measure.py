from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.bench import machine
from tests.bench.load import high_water_bytes, resident_bytes
from tests.bench.measure import Figure, heading, interleaved, seconds

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SMAPS = """\
7f0000000000-7f0000002000 rw-p 00000000 00:00 0
Size:                  8 kB
Rss:                   8 kB
Pss:                   4 kB
7f0000100000-7f0000200000 rw-s 00000000 00:19 7  /dev/shm/run/rings/imu.00000000000000ff.ring
Rss:                1024 kB
Pss:                 512 kB
7f0000300000-7f0000301000 r--p 00000000 00:19 8  /usr/lib/libc.so.6
Rss:                   3 kB
Pss:                   1 kB
"""


@pytest.mark.parametrize(
    ("ours", "peer", "budget", "is_most", "is_kept"),
    [
        (9.0, 10.0, 0.9, False, True),
        (8.9, 10.0, 0.9, False, False),
        (20.0, 10.0, 2.0, True, True),
        (20.1, 10.0, 2.0, True, False),
        (9.0, None, 9.0, False, True),
        (8.9, None, 9.0, False, False),
        (0.0, None, 0.0, True, True),
        (1.0, None, 0.0, True, False),
    ],
)
def test_a_budget_holds_up_to_its_very_number_and_not_beyond(
    ours: float, peer: float | None, budget: float, is_most: bool, is_kept: bool
) -> None:
    figure = Figure("speed", ours, peer, "MB/s", budget, is_most)
    assert figure.is_kept is is_kept
    assert str(figure).endswith("  kept" if is_kept else "NOT KEPT")


def test_a_figure_without_a_budget_is_kept_and_judges_nothing() -> None:
    figure = Figure("speed", 1.0, 10.0, "MB/s")
    assert figure.is_kept
    assert figure.verdict == ""
    assert "kept" not in str(figure).lower()


def test_a_ratio_is_ours_by_the_peers_and_told_beside_both() -> None:
    figure = Figure("speed", 1500.0, 1000.0, "MB/s", 0.9)
    assert figure.compared == 1.5
    assert str(figure).split() == ["speed", "[MB/s]", "1,500", "1,000", "1.5", ">=", "0.9", "kept"]


def test_a_peer_that_did_nothing_is_no_peer_that_was_absent() -> None:
    with pytest.raises(ZeroDivisionError):
        _ = Figure("speed", 1.0, 0.0, "MB/s", 0.9).compared


def test_a_figure_as_plain_values_says_whether_it_is_kept() -> None:
    plain = Figure("speed", 1.0, 2.0, "MB/s", 0.9).to_dict()
    assert (plain["compared"], plain["kept"], plain["budget"]) == (0.5, False, 0.9)


def test_the_columns_stand_below_their_heading() -> None:
    line = str(Figure("speed", 1.0, 2.0, "MB/s", 0.9))
    for word, value in {"ours": "1", "peer": "2", "ratio": "0.5", "budget": ">= 0.9"}.items():
        end = heading().index(word) + len(word)
        assert line[:end].endswith(value)


def test_interleaved_functions_take_turns_and_each_gives_its_median_without_the_first(
    capsys: pytest.CaptureFixture[str],
) -> None:
    turns: list[str] = []

    def giving(name: str, values: list[float]) -> Callable[[], float]:
        left = iter(values)

        def give() -> float:
            turns.append(name)
            return next(left)

        return give

    found = interleaved(
        "x", giving("a", [99.0, 1.0, 9.0, 2.0]), giving("b", [0.0, 5.0, 4.0, 6.0]), runs=3
    )
    assert found == (2.0, 5.0)
    assert turns == ["a", "b"] * 4
    assert capsys.readouterr().out == ""


def test_seconds_are_those_of_the_clock_that_is_given() -> None:
    ticks = iter([10.0, 12.5])
    assert seconds(lambda: None, lambda: next(ticks)) == 2.5


def test_rings_are_no_part_of_a_processs_memory() -> None:
    assert resident_bytes(SMAPS) == (11 * 1024, 5 * 1024)


def test_the_highest_memory_of_a_process_stays_when_it_gives_memory_back() -> None:
    held = bytearray(b"x") * 200_000_000
    high = high_water_bytes(os.getpid())
    del held
    assert high > 200_000_000
    assert high_water_bytes(os.getpid()) > 0.9 * high  # the kernel keeps it to some pages


def test_the_machine_is_told_with_the_file_systems_in_use(tmp_path: Path) -> None:
    facts = machine.facts(tmp_path, tmp_path)
    assert facts["disk"] == facts["rings"]
    assert facts["python"].startswith("CPython 3.")
    assert "pyarrow" in facts["libraries"]
