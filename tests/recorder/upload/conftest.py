"""A drive to record, and a ground station to upload it to."""

from __future__ import annotations

import pytest

from recorder.ground import GroundStation
from tests.recorder.upload.made import Drive


@pytest.fixture
def drive(tmp_path):
    made = Drive(tmp_path)
    yield made
    made.recording.close()


@pytest.fixture
def station(tmp_path):
    with GroundStation(tmp_path / "ground") as running:
        yield running
