from __future__ import annotations

import logging
from pathlib import Path

import pytest

from recorder import status
from tests.recorder.building import fill, memory


def test_nobody_dies_of_a_life_sign_that_finds_no_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with memory(tmp_path / "run", "1m") as folder, caplog.at_level(logging.WARNING):
        for samples in (1, 2):
            status.publish(folder, "lane-imu", {"samples": samples})
        fill(folder)
        for _ in range(3):
            status.publish(folder, "lane-imu", {"samples": 3})
        assert status.all_signs(folder)["lane-imu"]["samples"] == 2
        (folder / "filler").unlink()
        status.publish(folder, "lane-imu", {"samples": 4})
        assert status.all_signs(folder)["lane-imu"]["samples"] == 4
    (told,) = caplog.messages
    assert "No space left" in told
