"""The world in a process of its own: `World` starts it; `python -m drivers.sim.world` is it.

It lives apart from the recorder, so that the devices go on when a recorder's process is killed.
The process itself is `drivers.sim.models`; only that one needs Pillow.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

STOP_S = 5.0


class World:
    """A running world; a context manager.

    Args:
        folder: where it makes `dev/` and `models/`, see `drivers.sim.models`.
        settings: as there, without ``dir``.
    """

    def __init__(self, folder: Path, settings: Mapping[str, object]) -> None:
        self.gps = folder / "dev" / "gps"
        self.i2c = folder / "dev" / "i2c"
        self.camera = folder / "dev" / "camera"
        self.logs = folder / "models"
        self._settings = {**settings, "dir": str(folder)}
        self._process: subprocess.Popen[str] | None = None
        self._errors: IO[str]

    def __enter__(self) -> World:
        """Start it and wait until all devices are there.

        Raises:
            RuntimeError: it could not start; the text is its last words.
        """
        command = [sys.executable, "-m", "drivers.sim.world", "--settings"]
        self._errors = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            [*command, json.dumps(self._settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        if self._output.readline() != "ready\n":
            self._end(self._process)
            words = self._words().splitlines() or ["it said nothing"]
            raise RuntimeError(f"the world did not start: {words[-1]}")
        return self

    @property
    def pid(self) -> int:
        """Number of its process."""
        return self._started.pid

    def fault(self, device: str, name: str, **arguments: float | int | str) -> None:
        """Let a device misbehave.

        Args:
            device: ``gps``, ``imu`` or ``camera``.
            name: a fault of its model, see `Receiver.fault`, `BusServer.fault`,
                `ImuChip.fault`, `Camera.fault`.
            arguments: of the fault.
        """
        order = {"device": device, "fault": name, **arguments}
        self._input.write(json.dumps(order) + "\n")
        self._input.flush()

    def close(self) -> None:
        """Stop it: its logs are complete afterwards; what it complained of goes to stderr.

        May be called twice.
        """
        if self._process is not None:
            self._end(self._process)
            sys.stderr.write(self._words())

    def _words(self) -> str:
        with self._errors as file:
            file.seek(0)
            return file.read()

    def _end(self, process: subprocess.Popen[str]) -> None:
        self._process = None
        try:
            process.communicate(timeout=STOP_S)  # closes its standard input: that ends it
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _started(self) -> subprocess.Popen[str]:
        if self._process is None:
            raise RuntimeError("the world is not running")
        return self._process

    @property
    def _input(self) -> IO[str]:
        assert self._started.stdin is not None
        return self._started.stdin

    @property
    def _output(self) -> IO[str]:
        assert self._started.stdout is not None
        return self._started.stdout


if __name__ == "__main__":
    from drivers.sim.models import main

    main()
