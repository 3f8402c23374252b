"""`recorder demo`: the whole path with models instead of devices."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import click

from recorder.cli import options
from recorder.errors import RecorderError

if TYPE_CHECKING:
    from types import ModuleType

#: What the models' pictures and the read-back need, and a box in a vehicle does not.
_NEEDED = ("PIL", "mosaicolabs")


@click.command()
@click.option(
    "--seconds",
    type=click.FloatRange(min=1, max=86_400),
    default=20.0,
    help="How long to record, in seconds.",
)
@click.option(
    "--dir",
    "directory",
    type=options.DIRECTORY,
    default=Path("demo"),
    help="Where everything that it writes lies.",
)
@click.option(
    "--gps-log", type=options.EXISTING_FILE, help="Play this receiver's log, byte for byte."
)
@click.option("--drive", type=options.EXISTING_FILE, help="Play this drive (CSV with GPS and IMU).")
@click.option(
    "--kill",
    "kills",
    multiple=True,
    metavar="WHAT@Ns",
    help="Kill a process with SIGKILL after N seconds: lane:imu@8s, spool@8s, upload@8s."
    " May be given several times.",
)
@click.option("--json", "json_file", type=options.FILE, help="Write the result to FILE as JSON.")
def demo(
    *,
    seconds: float,
    directory: Path,
    gps_log: Path | None,
    drive: Path | None,
    kills: tuple[str, ...],
    json_file: Path | None,
) -> None:
    """Record models of a GPS receiver, an IMU and a camera, upload, and prove that all arrived.

    Everything is read back from the server with the vendor's own SDK and compared with the models'
    own logs. Without --gps-log and --drive a real drive is played if RECORDER_DATA has one, else
    one that the project's vehicle model makes. Exit code 1: not reconciled.
    """
    if gps_log is not None and drive is not None:
        raise click.UsageError("--gps-log and --drive exclude each other")
    code = _room().demo(
        seconds, directory, gps_log=gps_log, drive=drive, kills=kills, json_file=json_file
    )
    raise SystemExit(code)


def _room() -> ModuleType:
    """Return the demo, which not every installation can play."""
    absent = [one for one in _NEEDED if importlib.util.find_spec(one) is None]
    if absent:
        raise RecorderError(
            f"the demo needs {' and '.join(absent)}, which a box in a vehicle does without:"
            " `make demo` in the project's folder, or pip install 'edge-recorder[demo]'"
        )
    return importlib.import_module("recorder.demo")
