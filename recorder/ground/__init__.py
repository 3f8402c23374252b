"""The ground station: a small Mosaico-compatible server for bench, depot laptop and tests."""

from __future__ import annotations

from recorder.ground.station import DEFAULT_PORT, GroundStation, run

__all__ = ["DEFAULT_PORT", "GroundStation", "run"]
