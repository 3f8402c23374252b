"""A recorded car drive, GPS and IMU of one box, as a source of motion.

The file is CSV with a head line; read are `date` (DDMMYY) and `time` (HHMMSSmmm), UTC of the GPS
epoch, `millis` (the logger's clock in ms), `ax, ay, az` (m/s^2), `rollrate, pitchrate, yawrate`
(deg/s), `speed` (km/h), `course, latitude, longitude` (deg), `altitude` (m), `pdop, hdop, vdop`,
`fix` and `satellites_used`.
"""

from __future__ import annotations

import csv
import math
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from drivers.sim.motion import Samples, Sense
from drivers.sim.nmea_render import Fix

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FORCES = ("ax", "ay", "az")
FIX_2D = 2
TURNS = ("rollrate", "pitchrate", "yawrate")


class Drive(Samples):
    """The drive of one file.

    The IMU plays the logger's rows at their own times, linear in between. A GPS epoch is what has
    a `time` of its own; its values are those of its first row, and epochs that the receiver missed
    on the day are missing here too. Both begin at 0.

    Args:
        path: the CSV file.

    Raises:
        OSError: it cannot be read.
        KeyError, ValueError: it is not such a file.
    """

    def __init__(self, path: Path) -> None:
        with path.open(encoding="ascii", newline="") as file:
            rows = list(csv.DictReader(file))
        start_ms = float(rows[0]["millis"])
        times_s = [(float(row["millis"]) - start_ms) / 1e3 for row in rows]
        super().__init__(times_s, [_sense(row) for row in rows])
        epochs = {(row["date"], row["time"]): row for row in reversed(rows)}
        self.fixes = sorted(map(_fix, epochs.values()), key=lambda fix: fix.utc_ns)


def _sense(row: Mapping[str, str]) -> Sense:
    forces = (float(row[name]) for name in FORCES)
    return Sense(*forces, *(math.radians(float(row[name])) for name in TURNS))


def _utc_ns(row: Mapping[str, str]) -> int:
    text = row["date"].zfill(6) + row["time"].zfill(9)
    instant = datetime.strptime(text + "000", "%d%m%y%H%M%S%f").replace(tzinfo=timezone.utc)
    return int(instant.timestamp()) * 1_000_000_000 + instant.microsecond * 1_000


def _fix(row: Mapping[str, str]) -> Fix:
    has_fix = int(row["fix"]) >= FIX_2D
    return Fix(
        utc_ns=_utc_ns(row),
        latitude_deg=float(row["latitude"]) if has_fix else None,
        longitude_deg=float(row["longitude"]) if has_fix else None,
        altitude_m=float(row["altitude"]),
        speed_mps=float(row["speed"]) / 3.6,
        course_deg=float(row["course"]),
        satellites=int(row["satellites_used"]),
        pdop=float(row["pdop"]),
        hdop=float(row["hdop"]),
        vdop=float(row["vdop"]),
    )
