"""The campaign over dropped frames, in short, and that it finds what it looks for."""

from __future__ import annotations

import dataclasses

import pytest

from drivers.camera import ROW, UNKNOWN
from recorder.record import Header, Losses
from tests.drivers.frames import DRIVERS, Acquired, campaign, compare


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_lane_counts_as_lost_what_the_camera_dropped(driver):
    found = campaign(500, driver, rate_hz=400, seed=3)
    assert found.wrong == []
    assert found.figures["stored"] > 0
    assert found.figures["source"] > 0


def acquired(stored: list[int], **lost: int) -> Acquired:
    losses = Losses(**lost)
    expected = stored[-1] - stored[0] + 1
    header = Header(1, 1, 1, 0, 0, 1, 0, 0, 0, expected, losses)
    row = ROW.unpack(ROW.pack(stored[-1], 0, 2, 2, 1, UNKNOWN, 0, 0, UNKNOWN, 3, 0, 0))
    return Acquired([100 + number for number in stored], header, row)


LOG = [
    {"frame": number, "crc32": 100 + number, "sent": number not in (4, 5, 8), "cut": number == 6}
    for number in range(10)
]


def test_an_account_that_is_equal_is_told_as_nothing():
    found = compare(LOG, acquired([1, 2, 3, 7, 9], source=3, broken=1), "v4l2_camera")
    assert (found.frames, found.wrong) == (9, [])


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (acquired([1, 2, 3, 7, 9], source=2, broken=1), "lost at the source: 2, not 3"),
        (acquired([1, 2, 3, 7, 9], source=3), "broken: 0, not 1"),
        (acquired([1, 2, 7, 9], source=3, broken=1), "stored and lost in the ring or late: 4, not"),
        (acquired([1, 3, 2, 7, 9], source=3, broken=1), "twice, or out of order"),
        (
            dataclasses.replace(
                acquired([1, 2, 3, 7, 9], source=3, broken=1),
                row=(9, 0, 2, 2, 1, 0, 0, 0, 0, 2, 0, 0),
            ),
            "the driver's lost_sensor: 2, not 3",
        ),
    ],
)
def test_an_account_that_is_not_equal_is_found(one, words):
    assert any(words in text for text in compare(LOG, one, "v4l2_camera").wrong)
