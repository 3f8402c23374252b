"""A camera model with a thread of its own, for the tests of all cameras' drivers."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

from drivers.base import BadSampleError, Driver, Sample
from drivers.sim.frames import Camera
from drivers.sim.pictures import Pictures
from tests.known import known

RATE_HZ = 25
SIZE = (320, 240)


class Bench:
    """The model, and where it listens."""

    def __init__(self, folder: Path, rate_hz: float = RATE_HZ) -> None:
        self.device = f"unix:{folder / 'camera'}"
        self._log = folder / "camera.jsonl"
        draw = Pictures(*SIZE).draw
        self.camera = Camera(folder / "camera", self._log, draw, rate_hz, SIZE)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self.camera.run, args=(self._stop,))
        self._thread.start()

    def stop(self) -> list[dict[str, Any]]:
        """Stop the camera and return its log in the order of the frames."""
        self._stop.set()
        self._thread.join(5)
        assert not self._thread.is_alive()
        lines = [json.loads(line) for line in self._log.read_text().splitlines()]
        return sorted(lines, key=lambda line: line["frame"])


def take(driver: Driver, frames: int, within_s: float = 5) -> list[Sample]:
    """Read so many frames; what is unreadable is passed over."""
    samples: list[Sample] = []
    deadline_s = time.monotonic() + within_s
    while len(samples) < frames:
        assert time.monotonic() < deadline_s, "the camera gives too little"
        try:
            sample = driver.read(0.5)
        except BadSampleError:
            continue
        if sample is not None:
            samples.append(sample)
    return samples


def numbers(samples: list[Sample]) -> list[int]:
    """Return the frames' numbers."""
    return [known(sample.counter) for sample in samples]
