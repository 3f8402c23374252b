"""``python -m tests.drivers.frames``: what a lane counts as lost, against what the camera dropped.

The camera's model drops frames at random, in bursts and in stalls, and cuts some short; a real
lane process reads it through a driver into its ring, which now and then is not emptied in time.
What is in the ring, and what its last record says of losses, is held against the model's own log,
frame by frame. Now and then the lane is stopped for a while, and so comes late. The last line has
the figures, the exit code is the verdict.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drivers.camera import ROW
from drivers.sim.frames import Camera
from drivers.sim.pictures import Pictures
from recorder import config, record
from recorder.record import Header, Losses
from recorder.ring_files import ReaderSet

ROOT = Path(__file__).parent.parent.parent
MEMORY = Path("/dev/shm") if Path("/dev/shm").is_dir() else None
#: Behind ``#``: which of picamera2's cameras, the one on USB.
DRIVERS = ("frame_source", "v4l2_camera", "pi_camera", "pi_camera#1")
SIZE = (320, 240)
LANE = "camera"
#: Small, so that a pause of the one who empties it fills it.
RING_BYTES = 1 << 18
QUIET_S = 0.5
PATIENCE_S = 30.0
NAP_S = 0.002


@dataclass
class Acquired:
    """What came out of the ring.

    Args:
        checksums: of the pictures, in order.
        last: header of the last record with a picture.
        row: the last picture's row.
    """

    checksums: list[int] = field(default_factory=list)
    last: Header | None = None
    row: tuple[Any, ...] = ()

    @property
    def losses(self) -> Losses:
        """What the lane counted up to its last picture."""
        return self.last.losses if self.last else Losses()

    def drain(self, rings: ReaderSet) -> None:
        """Take everything that is there, and free it."""
        rings.look()
        for ring in rings:
            for header, runs in ring.records():
                payload = b"".join(runs)[record.HEADER_BYTES :]
                if header.kind == record.DATA:
                    self.row = ROW.unpack_from(payload)
                    assert zlib.crc32(payload[ROW.size :]) == self.row[1]
                    self.checksums.append(self.row[1])
                    self.last = header
            ring.free(ring.position)


@dataclass(frozen=True)
class Outcome:
    """What was found in one run.

    Args:
        frames: that the model numbered between the first and the last in the ring.
        figures: stored, and lost by cause, as the lane says.
        wrong: what is not equal to the model's log, one sentence each.
    """

    frames: int
    figures: dict[str, int]
    wrong: list[str]


def compare(log: list[dict[str, Any]], acquired: Acquired, driver: str) -> Outcome:
    """Hold what was acquired against the model's log."""
    number_of = {line["crc32"]: line["frame"] for line in log}
    stored = [number_of[one] for one in acquired.checksums]
    span = [line for line in log if stored[0] <= line["frame"] <= stored[-1]]
    unsent = sum(not line["sent"] for line in span)
    cut = sum(line["sent"] and line["cut"] for line in span)
    whole = len(span) - unsent - cut
    lost = acquired.losses
    late = acquired.row[-2]
    # An encoder gives nothing for a picture that is cut; picamera2 keeps one from USB to itself.
    encoder = cut if driver == "pi_camera" else 0
    unsent += cut if driver == "pi_camera#1" else 0
    broken = 0 if driver.startswith("pi_camera") else cut
    due = {
        "stored and lost in the ring or late": (len(stored) + lost.ring + late, whole),
        "lost at the source": (lost.source + lost.absent, unsent + encoder + late),
        "broken": (lost.broken, broken),
        "the driver's lost_sensor": (acquired.row[-3], unsent),
        "the driver's lost_encoder": (acquired.row[-1], encoder),
        "frames due": (acquired.last.expected if acquired.last else 0, len(span)),
    }
    wrong = [
        f"{what}: {found}, not {right}" for what, (found, right) in due.items() if found != right
    ]
    if stored != sorted(set(stored)):
        wrong.append("a frame is there twice, or out of order")
    figures = {"stored": len(stored), **{k: v for k, v in vars(lost).items() if v}}
    return Outcome(len(span), figures | {"late": late, "encoder": encoder}, wrong)


class Scene:
    """A camera's model and the lane that reads it.

    Args:
        folder: for ring, socket and log.
        driver: one of `DRIVERS`.
        rate_hz: of the camera.
        seed: of its misfortunes.
    """

    def __init__(self, folder: Path, driver: str, rate_hz: float, seed: int) -> None:
        self._dice = random.Random(seed)
        self._log = folder / "camera.jsonl"
        self._plain = Pictures(*SIZE).draw(0, 0)
        self.camera = Camera(folder / "camera", self._log, self._picture, rate_hz, SIZE)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self.camera.run, args=(self._stop,))
        width, height = SIZE
        self._driver = driver
        kind, mark, number = driver.partition("#")
        options: dict[str, Any] = {"device": f"unix:{folder / 'camera'}{mark}{number}"}
        options |= {"width": width, "height": height} if driver != "frame_source" else {}
        lane = config.Lane(
            name=LANE, driver=kind, rate_hz=rate_hz, ring_bytes=RING_BYTES, options=options
        )
        self._config = config.Config(lanes=[lane], spool=config.Spool(run_dir=folder / "run"))
        self._config.rings_dir.mkdir(parents=True)
        self.acquired = Acquired()

    def _picture(self, number: int, _: float) -> bytes:
        """Return a picture that no other frame has: its number stands in a comment."""
        comment = b"\xff\xfe\0\x0a" + number.to_bytes(8, "big")
        return self._plain[:2] + comment + self._plain[2:]

    def run(self, frames: int) -> Outcome:
        """Let the camera make so many frames, and compare."""
        self._thread.start()
        command = [sys.executable, "-m", "recorder.lane", LANE, config.to_json(self._config)]
        lane = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
        rings = ReaderSet(self._config.rings_dir)
        try:
            self._wait_for(lambda: bool(self.acquired.checksums), rings)
            while self._made() < frames:
                self._happen(lane, rings)
            self.camera.fault("lossy", share=0.0)
            # So that the last frame of all is one that was stored.
            quiet_s = time.monotonic() + QUIET_S
            self._wait_for(lambda: time.monotonic() > quiet_s, rings)
            lane.send_signal(signal.SIGTERM)
            self._wait_for(lambda: lane.poll() is not None, rings)
            self.acquired.drain(rings)
        finally:
            lane.kill()
            lane.wait()
            rings.close()
            self._stop.set()
            self._thread.join()
        return self._outcome(lane.returncode)

    def _outcome(self, code: int) -> Outcome:
        lines = [json.loads(line) for line in self._log.read_text().splitlines()]
        whole_bytes = len(self._picture(0, 0))
        log = [{**line, "cut": line["bytes"] < whole_bytes} for line in lines]
        found = compare(sorted(log, key=lambda line: line["frame"]), self.acquired, self._driver)
        wrong = [*found.wrong, *([f"the lane ended with {code}"] if code else [])]
        return Outcome(found.frames, found.figures, wrong)

    def _made(self) -> int:
        return self._log.read_bytes().count(b"\n")

    def _wait_for(self, found: Callable[[], bool], rings: ReaderSet) -> None:
        deadline_s = time.monotonic() + PATIENCE_S
        while not found():
            if time.monotonic() > deadline_s:
                raise TimeoutError("the lane or the camera gives no sign")
            self.acquired.drain(rings)
            time.sleep(NAP_S)

    def _happen(self, lane: subprocess.Popen[bytes], rings: ReaderSet) -> None:
        """Let one thing happen, and empty the ring for a while."""
        dice = self._dice
        what = dice.randrange(7)
        if what == 0:
            self.camera.fault("drop", n=dice.randint(1, 30))
        elif what == 1:
            self.camera.fault("garbage", n=dice.randint(1, 5))
        elif what == 2:
            self.camera.fault("stall", seconds=dice.uniform(0.01, 0.3))
        elif what == 3:
            time.sleep(dice.uniform(0.0, 0.4))  # nobody empties the ring
        elif what == 4:
            lane.send_signal(signal.SIGSTOP)  # it comes late
            time.sleep(dice.uniform(0.0, 0.3))
            lane.send_signal(signal.SIGCONT)
        else:
            self.camera.fault("lossy", share=dice.choice((0.0, 0.02, 0.1, 0.5)))
        until_s = time.monotonic() + dice.uniform(0.02, 0.2)
        self._wait_for(lambda: time.monotonic() > until_s, rings)


def campaign(frames: int, driver: str, rate_hz: float, seed: int) -> Outcome:
    """Run one camera for so many frames."""
    with tempfile.TemporaryDirectory(dir=MEMORY, prefix="frames-") as folder:
        return Scene(Path(folder), driver, rate_hz, seed).run(frames)


def main() -> int:
    """Run, tell, and return the exit code."""
    parser = argparse.ArgumentParser(prog="tests.drivers.frames", description=__doc__)
    parser.add_argument("--frames", type=int, default=10_000, help="that the camera makes, 10000")
    parser.add_argument("--driver", choices=DRIVERS, help="only this one; usually each in turn")
    parser.add_argument("--rate", type=float, default=500, help="frames per second, 500")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    wrong = frames = 0
    for driver in [chosen.driver] if chosen.driver else DRIVERS:
        found = campaign(chosen.frames, driver, chosen.rate, chosen.seed)
        told = ", ".join(f"{count} {what}" for what, count in found.figures.items())
        sys.stdout.write(f"{driver}: {found.frames} frames: {told}\n")
        for one in found.wrong:
            sys.stdout.write(f"  NOT EQUAL {one}\n")
        frames += found.frames
        wrong += len(found.wrong)
    sys.stdout.write(f"frames: {frames} counted by the model, {wrong} differences\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
