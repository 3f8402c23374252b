"""How long it takes from a low voltage to what was recorded being durable, and to the wish to end.

    python -m tests.recorder.low_voltage --runs 20

Real processes: a lane of 500 rows a second and one of 30 pictures of 300 kB, the spool's with its
usual half second between two commits, and the supply's, whose voltage is a file. The times are from
the writing of that file. `durable`: the session's end stands in its journal; `off`: systemd is
asked to power off.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from drivers import camera
from drivers.base import Sample
from recorder.config import Lane
from tests.recorder.building import Numbered, wait_until
from tests.recorder.supplied import Supplied
from tests.recorder.upload.made import picture_row

PICTURES_HZ, PICTURE_BYTES = 30.0, 300_000
COMMIT_S = 0.5
PICTURE = bytes(range(250)) * (PICTURE_BYTES // 250)


class Pictures(Numbered):
    """A camera that takes the same picture again and again."""

    kind = "pictures"
    ontology = "CompressedImage"
    fields = camera.FIELDS  # type: ignore[assignment] # of another length
    blob = camera.BLOB

    def read(self, timeout_s: float) -> Sample | None:
        found = super().read(timeout_s)
        if found is None:
            return None
        row = picture_row(found.counter or 0, PICTURE)
        return dataclasses.replace(found, payload=[row, PICTURE])


class Loaded(Supplied):
    """A recorder with a camera."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        eye = Lane(
            name="camera",
            driver="tests.recorder.low_voltage:Pictures",
            options={"rate_hz": PICTURES_HZ},
            ring_bytes=32 * 1024 * 1024,
        )
        spool = dataclasses.replace(
            self.config.spool, commit_interval_s=COMMIT_S, segment_bytes=16 * 1024 * 1024
        )
        self.config = dataclasses.replace(self.config, lanes=[*self.config.lanes, eye], spool=spool)

    def start(self, name: str) -> subprocess.Popen[bytes]:
        return (
            self.start_module(name, "recorder.lane", "camera")
            if name == "camera"
            else (super().start(name))
        )


def once(directory: Path) -> tuple[float, float]:
    """Record for a moment, let the voltage sag; return the seconds to `durable` and to `off`."""
    one = Loaded(directory)
    try:
        one.start("camera")
        one.start_all()
        wait_until(lambda: one.sign("spool")["session"]["lanes"][1]["stored"] > 2 * PICTURES_HZ)
        began_s, durable_s = time.monotonic(), 0.0
        one.voltage.write_text("9000\n")
        while not one.off_file.exists():
            if not durable_s and one.sessions()[-1].recording == "stopped":
                durable_s = time.monotonic() - began_s
            time.sleep(0.002)
        off_s = time.monotonic() - began_s
        return durable_s or off_s, off_s
    finally:
        for name in list(one.processes):
            one.kill(name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=20)
    runs = parser.parse_args().runs
    found: list[tuple[float, float]] = []
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as folder:
            found.append(once(Path(folder)))
    for name, times in zip(("durable", "off"), zip(*found, strict=True), strict=True):
        text = f"median {statistics.median(times):.2f} s, slowest {max(times):.2f} s"
        sys.stdout.write(f"{name}: {text} of {runs}\n")


if __name__ == "__main__":
    main()
