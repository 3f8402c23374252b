"""A drive to record."""

from __future__ import annotations

import pytest

from tests.recorder.upload.made import Drive


@pytest.fixture
def drive(tmp_path):
    made = Drive(tmp_path)
    yield made
    made.recording.close()
