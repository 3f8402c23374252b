"""The bench's figures, and the page that is made of them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pytest

from hil import figures, plots, report
from hil.figures import Figures, LaneFigures

if TYPE_CHECKING:
    from pathlib import Path

HISTOGRAM = {"1": 0, "2": 3, "5": 10, "10": 1, "inf": 0}
JUNIT = """<testsuites><testsuite>
<testcase classname="hil.scenarios.test_scenarios" name="test_it_all[imu-plug]" time="31.5">
<properties><property name="told" value="imu 2097; records after 3.0 s"/></properties></testcase>
<testcase classname="hil.units.test_units" name="test_a_unit_is_safe[recorder-web]" time="1"/>
<testcase classname="hil.units.test_units" name="test_it_breaks" time="2">
<failure message="no">where &lt;b&gt; is not escaped</failure></testcase>
<testcase classname="hil.cuts.test_cuts" name="test_a_cut" time="0">
<skipped message="the level needs root"/></testcase>
</testsuite></testsuites>"""


def lane(times_s: list[float], lost: dict[str, int]) -> LaneFigures:
    return figures._of_lane(times_s, lost)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The figures of two scenarios, one of which failed and has no test."""
    times = [n / 100 for n in range(1000) if not 400 <= n < 550]
    one = Figures(
        "imu-plug",
        "A hundred samples a second.",
        "1",
        figures.PASSED,
        31.5,
        told=["records after 3.0 s"],
        lanes={"imu": lane(times, {"lost_absent": 150})},
        commits={
            "count": 14,
            "slowest_ms": 7.0,
            "promise_ms": 507.0,
            "histogram_ms": HISTOGRAM,
        },
    )
    one.write(tmp_path / "hil")
    two = Figures("gps-replug", "It goes on.", "2", figures.FAILED, 9.0, ["gps: <none>"])
    two.write(tmp_path / "hil")
    (tmp_path / "hil.xml").write_text(JUNIT)
    return tmp_path


def page(folder: Path) -> str:
    words = ["--junit", f"{folder}/hil.xml", f"{folder}/none.xml"]
    words += ["--results", f"{folder}/hil", "--page", f"{folder}/page.html"]
    assert report.main(words) == 1  # something on it failed
    return (folder / "page.html").read_text()


def test_figures_are_read_as_they_were_written(tmp_path: Path) -> None:
    one = Figures("a", "b", "1", figures.PASSED, 1.0, lanes={"imu": lane([0.0, 0.5, 1.0], {})})
    one.write(tmp_path)
    again = Figures.read(tmp_path / "a.json")
    assert again.played_at == one.played_at
    assert again.lanes["imu"].rows == 3


def test_a_pause_of_more_than_three_periods_is_a_gap_and_one_of_two_is_not() -> None:
    found = lane([0.0, 0.1, 0.2, 0.4, 0.5, 1.0, 1.1], {})
    assert [(round(at, 3), round(long, 3)) for at, long in found.gaps] == [(0.5, 0.5)]


def test_the_rate_of_each_whole_second_is_told_and_a_second_cut_short_is_not() -> None:
    found = lane([n / 10 for n in range(35)], {})
    assert list(found.rates) == [(1.5, 10.0), (2.5, 10.0)]


def test_a_lane_without_a_row_has_neither_rates_nor_gaps() -> None:
    assert lane([], {"lost_absent": 3}) == LaneFigures(0, {"lost_absent": 3}, [], [])


def test_a_long_recording_has_no_more_steps_than_a_plot_can_show() -> None:
    found = lane([float(n) for n in range(10_000)], {})
    assert len(found.rates) <= figures.MOST_STEPS + 1
    assert {rate for _, rate in found.rates} == {1.0}


def test_every_result_stands_on_the_page_with_its_verdict(folder: Path) -> None:
    text = page(folder)
    assert "2 passed" in text
    assert "2 failed" in text
    assert "1 skipped" in text
    for words in ("imu-plug", "a unit is safe (recorder-web)", "the level needs root"):
        assert words in text
    assert "imu: 850; lost: 150 device or its process not there" in text
    assert "level 2, played " in text


def test_what_a_test_said_cannot_break_the_page(folder: Path) -> None:
    text = page(folder)
    assert "where &lt;b&gt; is not escaped" in text
    assert "gps: &lt;none&gt;" in text


def test_the_page_fetches_nothing_and_runs_nothing(folder: Path) -> None:
    text = page(folder)
    assert not re.search(r"https?://|<script|<link|<img|url\(|@import", text)


def test_every_link_of_the_page_leads_somewhere(folder: Path) -> None:
    text = page(folder)
    wanted = set(re.findall(r'href="#([^"]+)"', text))
    assert wanted
    assert wanted == set(re.findall(r'id="([^"]+)"', text))


def test_the_gap_is_drawn_where_it_was(folder: Path) -> None:
    text = page(folder)
    drawings = [ElementTree.fromstring(one) for one in re.findall(r"<svg.*?</svg>", text)]
    assert len(drawings) == 2  # the rates of one lane, and the commits
    (gap,) = (one for one in drawings[0].iter("rect") if one.get("class") == "gap")
    room = plots.WIDTH - plots.LEFT - plots.RIGHT
    assert abs(float(gap.get("x", 0)) - plots.LEFT - room * 3.99 / 8.5) < 1
    assert abs(float(gap.get("width", 0)) - room * 1.51 / 8.5) < 1
    bars = [one for one in drawings[1].iter("rect") if one.get("class") == "bar"]
    assert len(bars) == 3  # from the first class that was used to the last


@pytest.mark.parametrize(("value", "top"), [(0.3, 0.3), (1, 1), (11, 12), (105, 120), (0.05, 0.05)])
def test_a_scale_ends_at_a_round_number(value: float, top: float) -> None:
    assert plots._round(value, plots.TOPS) == pytest.approx(top)
