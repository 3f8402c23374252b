"""A real ground station, and a client of it."""

from __future__ import annotations

import pytest

from recorder.ground import GroundStation
from recorder.mosaico import MosaicoClient


@pytest.fixture
def station(tmp_path):
    with GroundStation(tmp_path / "ground") as running:
        yield running


@pytest.fixture
def client(station):
    with MosaicoClient.connect_url(station.url) as connected:
        yield connected
