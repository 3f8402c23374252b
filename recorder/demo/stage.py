"""What the demo plays on: models of the world, a ground station, and the recorder's settings."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drivers.nmea import decode_file
from drivers.sim import models
from drivers.sim.nmea_log import log_epochs, usual_rate_hz
from recorder.config import Config, Lane, Session, Spool, Upload, Vehicle
from recorder.errors import ConfigError, RecorderError
from recorder.service import hold

if TYPE_CHECKING:
    from collections.abc import Iterator

    from drivers.sim.world import World

GPS_HZ, IMU_HZ, CAMERA_HZ = 10.0, 200.0, 10.0
#: Bits per second: the rendered epochs need about 40 % of it; a receiver's log comes as it was.
BAUD, LOG_BAUD = 115_200, 38_400
MARK = ".recorder-demo"
#: A UNIX socket's path has room for so many bytes, its closing zero among them (unix(7)).
SOCKET_PATH_BYTES = 108
_LONGEST_SOCKET = "run/command.sock"


def data_dir() -> Path:
    """Return the folder of recorded receiver logs and drives, whether or not it exists."""
    return Path(os.environ.get("RECORDER_DATA", "../shared/data"))


def choose_source(gps_log: Path | None, drive: Path | None) -> dict[str, Any]:
    """Decide what the models play: the given file, else a recorded drive, else the vehicle model.

    Raises:
        ConfigError: both were given, or the file is not what it should be.
    """
    if gps_log is not None and drive is not None:
        raise ConfigError("--gps-log and --drive exclude each other: a demo plays one of them")
    found = gps_log or drive or next(iter(sorted(data_dir().glob("drive/*.csv"))), None)
    if found is None:
        return {"kind": "vehicle"}
    source = {"kind": "log" if gps_log else "drive", "path": str(found.resolve())}
    _check_source(source)
    return source


def _check_source(source: dict[str, Any]) -> None:
    """Read a file as the models will, so that what is wrong with it is told before they start."""
    what = f"{source['path']}: cannot be played as a {source['kind']}"
    try:
        _, motion = models.source(source)
        motion.at(0.0)
    except KeyError as error:
        raise ConfigError(f"{what}: it has no column {error}") from error
    except (IndexError, ArithmeticError) as error:
        raise ConfigError(f"{what}: it has too few rows") from error
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise ConfigError(f"{what}: {error}") from error
    if source["kind"] == "log" and next(iter(decode_file(Path(source["path"]))), None) is None:
        raise ConfigError(f"{what}: no sentence of NMEA 0183 is in it")


def describe(source: dict[str, Any]) -> str:
    """Say in words what is played."""
    if source["kind"] == "vehicle":
        return "a drive made by the built-in vehicle model"
    name = Path(source["path"]).name
    what = "the receiver log" if source["kind"] == "log" else "the recorded drive"
    return f"{what} {name}"


def gps_rate_hz(source: dict[str, Any]) -> float:
    """Return the rate that the receiver of a source keeps."""
    return usual_rate_hz(log_epochs(source["path"])) if source["kind"] == "log" else GPS_HZ


def baud(source: dict[str, Any]) -> int:
    """Return the speed of the receiver's line."""
    return LOG_BAUD if source["kind"] == "log" else BAUD


@contextmanager
def prepared(directory: Path) -> Iterator[None]:
    """Make the demo's folder, and keep a second demo out of it; one of an earlier demo is emptied.

    Raises:
        ConfigError: there is something else in it, another demo runs in it, or it cannot be made.
    """
    if len(os.fsencode(directory / _LONGEST_SOCKET)) >= SOCKET_PATH_BYTES:
        most_bytes = SOCKET_PATH_BYTES - len(f"/{_LONGEST_SOCKET}") - 1
        raise ConfigError(
            f"{directory}: too long for the sockets in it: at most {most_bytes} bytes"
        )
    try:
        directory.mkdir(parents=True, exist_ok=True)
        is_foreign = any(directory.iterdir()) and not (directory / MARK).exists()
    except OSError as error:
        raise ConfigError(f"{directory}: {error.strerror}") from error
    if is_foreign:
        raise ConfigError(f"{directory}: not empty and not from an earlier demo; name another")
    lock = hold(directory / MARK)
    if lock is None:
        raise ConfigError(f"{directory}: another demo runs in it; name another")
    try:
        _empty(directory)
        yield
    finally:
        os.close(lock)


def _empty(directory: Path) -> None:
    for one in directory.iterdir():
        if one.is_dir() and not one.is_symlink():
            shutil.rmtree(one)
        elif one.name != MARK:
            one.unlink()


@contextmanager
def playing(world: World) -> Iterator[None]:
    """Let the models play.

    Raises:
        RecorderError: they could not start; the text says why.
    """
    try:
        world.__enter__()
    except RuntimeError as error:
        raise RecorderError(str(error)) from error
    try:
        yield
    finally:
        world.close()


def settings(directory: Path, source: dict[str, Any], world: World, url: str) -> Config:
    """Return the embedded defaults with the models as devices and the station as server."""
    return Config(
        vehicle=Vehicle(name="demo"),
        session=Session(details={"played": describe(source)}),
        lanes=[
            Lane(
                name="gps",
                driver="nmea_gps",
                rate_hz=gps_rate_hz(source),
                options={"device": str(world.gps), "baud": baud(source)},
            ),
            Lane(
                name="imu",
                driver="mpu6050",
                rate_hz=IMU_HZ,
                options={"device": f"unix:{world.i2c}"},
            ),
            Lane(
                name="camera",
                driver="frame_source",
                rate_hz=CAMERA_HZ,
                options={"device": f"unix:{world.camera}"},
            ),
        ],
        spool=Spool(directory=directory, run_dir=directory / "run"),
        upload=Upload(server=url),
    )


class Ground:
    """A ground station in a process of its own, on a free loopback port; a context manager.

    Args:
        directory: where it keeps its catalogue and rows.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.url = ""

    def __enter__(self) -> Ground:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "recorder.demo.station", str(self._directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RecorderError("the ground station did not start; see above")
        self.url = json.loads(line)["url"]
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._process.communicate(timeout=10)  # closes its standard input: that ends it
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
