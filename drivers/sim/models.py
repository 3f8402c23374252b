"""The process in which all models live: one drive, seen by a receiver, an IMU and a camera.

Settings, an object of JSON:

    dir      folder for dev/gps (a link to a pseudo-terminal), dev/i2c and dev/camera (UNIX
             sockets), and the models' own logs: models/gps.jsonl, imu.csv, camera.jsonl
    source   {"kind": "drive", "path": FILE.csv}, {"kind": "log", "path": FILE.log} (a receiver's
             log, byte for byte) or {"kind": "vehicle", "seed": N}; without it: vehicle. With
             "no_fix_s" the receiver has no fix for so long: it knows the time and says that it
             has no position (drive and vehicle)
    baud     of the receiver's line, 115200
    receiver {"make": "ublox", "protocol": 18.0} or {"make": "mediatek"}: one that can be set up and
             begins as from the factory (9600 or 38400 baud, 1 Hz); without it: one that cannot
    imu      {"chip": "mpu6050", "rate_error": 0.004}: one of `CHIPS`, and how much faster than
             nominal its oscillator runs
    camera   {"rate_hz": 10, "width": 640, "height": 480, "size_bytes": 0}: smaller pictures are
             filled up to that size

The drive begins when the receiver's first listener came; until then the vehicle feels its first
instant. The process prints ``ready`` when all devices are there. Lines of JSON on its standard
input are faults: ``{"device": "imu", "fault": "nak", "n": 5}``. It ends at SIGTERM and at the end
of its standard input, so that it never outlives who started it; SIGINT it leaves to them.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drivers.nmea import Decoder
from drivers.sim.bmi270_chip import Bmi270Chip
from drivers.sim.bno055_chip import Bno055Chip
from drivers.sim.bus import BusServer
from drivers.sim.drive import Drive
from drivers.sim.frames import Camera
from drivers.sim.icm20948_chip import Icm20948Chip
from drivers.sim.lsm6ds_chip import Lsm6ds3Chip, Lsm6dsoChip
from drivers.sim.motion import Motion, Sense, Track
from drivers.sim.mpu6050_chip import Mpu6050Chip
from drivers.sim.nmea_render import Fix, render
from drivers.sim.pictures import Pictures
from drivers.sim.receiver import Burst, Receiver, log_epochs
from drivers.sim.receiver_unit import UNITS, Unit
from drivers.sim.vehicle import SEED, Vehicle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from drivers.sim.imu_chip import ImuChip

    Settings = Mapping[str, Any]

#: The IMUs that there are, and their addresses on the bus.
CHIPS: Mapping[str, tuple[type[ImuChip], int]] = {
    "mpu6050": (Mpu6050Chip, 0x68),
    "icm20948": (Icm20948Chip, 0x68),
    "bmi270": (Bmi270Chip, 0x68),
    "lsm6ds3": (Lsm6ds3Chip, 0x6A),
    "lsm6dso": (Lsm6dsoChip, 0x6A),
    "bno055": (Bno055Chip, 0x28),
}
READY_S = 5.0
NAP_S = 0.01


class Models:
    """All models of one world and their threads.

    Args:
        settings: see the module.
    """

    def __init__(self, settings: Settings) -> None:
        folder = Path(settings["dir"])
        devices, logs = folder / "dev", folder / "models"
        devices.mkdir(parents=True, exist_ok=True)
        logs.mkdir(exist_ok=True)
        bursts, self._motion = source(settings.get("source", {"kind": "vehicle"}))
        self._gps_link = devices / "gps"
        self.receiver = Receiver(
            bursts,
            self._gps_link,
            logs / "gps.jsonl",
            settings.get("baud", 115_200),
            unit(settings.get("receiver")),
        )
        imu = {"chip": "mpu6050", **settings.get("imu", {})}
        chip, address = CHIPS[imu.pop("chip")]
        self.chip = chip(self._sense, logs / "imu.csv", **imu)
        self.bus = BusServer(devices / "i2c", {address: self.chip})
        usual = {"rate_hz": 10, "width": 640, "height": 480, "size_bytes": 0}
        camera = {**usual, **settings.get("camera", {})}
        pictures = Pictures(camera["width"], camera["height"], camera["size_bytes"])
        self.camera = Camera(
            devices / "camera",
            logs / "camera.jsonl",
            pictures.draw,
            camera["rate_hz"],
            (pictures.width, pictures.height),
        )
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=model.run, args=(self._stop,), name=type(model).__name__)
            for model in (self.receiver, self.bus, self.camera)
        ]

    def start(self) -> None:
        """Start all models and wait until their devices are there.

        Raises:
            TimeoutError: the receiver's terminal did not appear.
        """
        for thread in self._threads:
            thread.start()
        deadline_s = time.monotonic() + READY_S
        while not self._gps_link.exists():
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"{self._gps_link} did not appear")
            time.sleep(NAP_S)

    def fault(self, device: str, fault: str, **arguments: float | int | str) -> None:
        """Let a device misbehave, see `World.fault`."""
        imu = self.bus if fault in BusServer.FAULTS else self.chip
        faults: Mapping[str, Callable[..., None]] = {
            "gps": self.receiver.fault,
            "imu": imu.fault,
            "camera": self.camera.fault,
        }
        faults[device](fault, **arguments)

    def stop(self) -> None:
        """Stop all models; their logs are complete afterwards."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self.chip.close()

    def _sense(self, at_ns: int) -> Sense:
        start_ns = self.receiver.start_ns
        return self._motion.at(max(0, at_ns - start_ns) / 1e9 if start_ns is not None else 0.0)


def unit(settings: Mapping[str, Any] | None) -> Unit | None:
    """Return what the receiver can be told; None: nothing.

    Args:
        settings: the key ``receiver`` of the module's settings, or None.

    Raises:
        KeyError: there is no such make.
    """
    if settings is None:
        return None
    more = dict(settings)
    made: Unit = UNITS[more.pop("make")](**more)
    return made


def source(settings: Settings) -> tuple[Sequence[Burst], Motion]:
    """Return what the receiver plays and what the IMU feels.

    Args:
        settings: the key ``source`` of the module's settings.

    Raises:
        OSError: the file cannot be read.
        ValueError, KeyError: it is not what it should be, or there is no such kind.
    """
    kind = settings["kind"]
    if kind == "log":
        bursts = log_epochs(settings["path"])
        return bursts, Track(list(_points(bursts)))
    if kind == "drive":
        drive = Drive(Path(settings["path"]))
        return _rendered(drive.fixes, settings.get("no_fix_s", 0)), drive
    if kind == "vehicle":
        vehicle = Vehicle(settings.get("seed", SEED))
        return _rendered(vehicle.fixes, settings.get("no_fix_s", 0)), vehicle
    raise ValueError(f"source kind is {kind!r}, allowed are drive, log and vehicle")


def _rendered(fixes: Sequence[Fix], no_fix_s: float) -> list[Burst]:
    start_ns = fixes[0].utc_ns
    fix_ns = start_ns + round(no_fix_s * 1e9)
    known = (fix if fix.utc_ns >= fix_ns else Fix(fix.utc_ns) for fix in fixes)
    return [Burst(fix.utc_ns, fix.utc_ns - start_ns, render(fix)) for fix in known]


def _points(bursts: Iterable[Burst]) -> Iterable[tuple[float, float, float]]:
    """Decode speed and course at the instants at which the receiver will play them."""
    decoder = Decoder()
    course_deg = 0.0
    for burst in bursts:
        for epoch in decoder.feed(burst.data, burst.offset_ns):
            if epoch.speed_mps is not None:
                course_deg = course_deg if epoch.course_deg is None else epoch.course_deg
                yield epoch.boot_ns / 1e9, epoch.speed_mps, course_deg


def main() -> None:
    """Be the world until told to end."""
    parser = argparse.ArgumentParser(prog="drivers.sim.world", description="Device models.")
    parser.add_argument("--settings", required=True, type=json.loads, help="an object of JSON")
    models = Models(parser.parse_args().settings)
    threading.excepthook = _die
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        models.start()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        for line in sys.stdin:
            models.fault(**json.loads(line))
    finally:
        models.stop()


def _die(problem: threading.ExceptHookArgs) -> None:
    """End the process with a model that failed: a world without it would mislead every test."""
    sys.excepthook(problem.exc_type, problem.exc_value or SystemExit(), problem.exc_traceback)
    os._exit(1)
