"""The demo's table fits a terminal of 80 columns, whatever was lost."""

from __future__ import annotations

import io

from rich.console import Console

from recorder.demo import report
from recorder.demo.result import LaneResult
from recorder.session.ledger import CAUSES
from recorder.session.session import Session


def shown(*lanes):
    text = io.StringIO()
    console = Console(file=text, width=80)
    session = Session("11111111-2222-3333-4444-555555555555", "0" * 32, "Drive", "a drive", "car")
    report.show(console, lanes, [], session, [])
    return text.getvalue().splitlines()


def lanes(**lost):
    return [
        LaneResult("gps", 123, read_as="GPS"),
        LaneResult("imu", 12345, lost=lost, read_as="IMU", time_error_ms=2.54),
        LaneResult("camera", 123, read_as="CompressedImage"),
    ]


def cells(text, lines):
    """Return the cells behind the one line that begins with a text."""
    (line,) = [line for line in lines if line.startswith(f"│ {text}")]
    return [cell.strip() for cell in line.split("│")[2:-1]]


def test_every_cause_that_occurred_has_one_line_and_no_cell_wraps():
    lines = shown(*lanes(**dict.fromkeys(CAUSES, 8)))
    for words in CAUSES.values():
        assert cells(f"lost: {words}", lines) == ["0", "8", "0"]
    titles = [line.split("│")[1] for line in lines if line.startswith("│")]
    assert "" not in {title.strip() for title in titles}


def test_causes_that_did_not_occur_have_no_line():
    lines = shown(*lanes(lost_absent=8))
    assert [line for line in lines if line.startswith("│ lost")] == [
        line for line in lines if CAUSES["lost_absent"] in line
    ]
    assert cells("lost", shown(*lanes())) == ["0", "0", "0"]


def test_the_largest_time_error_is_told_per_lane():
    assert cells("largest time error, ms", shown(*lanes())) == ["0.0", "2.5", "0.0"]


def test_the_last_line_says_whether_it_adds_up():
    assert report.last_line([]) == "demo: reconciled"
    assert report.last_line(["a", "b"]) == "demo: NOT reconciled: a (and 1 more)"
