"""What every scenario's recording must show: sound, complete by its own account, and true."""

from __future__ import annotations

import math
import zlib
from typing import TYPE_CHECKING, Any

from drivers.sim.pictures import read_number
from hil.scenarios.devices import drawn
from hil.usb.uvc import SENT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hil.scenarios.bench import Bench
    from hil.scenarios.recording import Recording, Row
    from hil.scenarios.scenario import Bounds, Scenario

#: The rendered sentence has a millionth of a minute; the driver adds a rounding of its own.
MOST_OFF_DEG = 1e-7


def judge(scenario: Scenario, recording: Recording, bench: Bench) -> list[str]:
    """Return what is wrong with a recording; nothing if it is as the scenario says."""
    problems = recording.problems()
    for lane, causes in scenario.lost.items():
        rows = recording.rows(lane)
        acquired = bench.acquired[lane] - recording.begun(lane)
        if len(rows) < acquired:
            problems.append(f"{lane}: {acquired} acquired, {len(rows)} stored")
        problems += [f"{lane}: {one}" for one in _losses(recording.losses(lane), causes)]
        problems += [f"{lane}: {one}" for one in TRUTHS[lane](rows, bench.sensors[lane])]
    return problems


def _losses(lost: Mapping[str, int], causes: Mapping[str, Bounds]) -> list[str]:
    found = []
    for cause in {**lost, **causes}:
        least, most = causes.get(cause, (0, 0))
        if not least <= lost.get(cause, 0) <= most:
            found.append(f"{cause} is {lost.get(cause, 0)}, right is {least} to {most}")
    return found


def _of_imu(rows: Sequence[Row], imu: Any) -> list[str]:
    """Every row is one that the chip made, in its order, and none twice."""
    made = iter(imu.rows())
    for row in rows:
        counts = tuple(value for key, value in row.values.items() if key != "temperature")
        if counts not in made:  # an iterator: it goes on behind what it found
            return [f"row {row.seqno} is none that the chip made then: {counts}"]
    return []


def _of_camera(rows: Sequence[Row], camera: Any) -> list[str]:
    """Every picture is one that the camera sent, in its order, byte for byte."""
    sent = {one.number for one in camera.usb.frames if one.fate == SENT}
    last = -1
    for row in rows:
        number = read_number(row.picture)
        size = row.values["width"], row.values["height"]
        if number not in sent or number <= last or row.picture != drawn(*size, number):
            return [f"row {row.seqno} shows picture {number}, behind {last}: sent otherwise"]
        if row.values["crc32"] != zlib.crc32(row.picture):
            return [f"row {row.seqno}: its checksum is of another picture"]
        last = number
    return []


def _of_gps(rows: Sequence[Row], gps: Any) -> list[str]:
    """Every epoch is one that the receiver sent, in its order, with its position or without."""
    said = {fix.utc_ns: fix for fix in gps.fixes}
    last_ns = 0
    for row in rows:
        values = row.values
        fix = said.get(values["utc_ns"])
        if fix is None or row.boot_ns <= last_ns:
            return [f"row {row.seqno} is of {values['utc_ns']}, no epoch of the receiver's"]
        if _is_off(values["position.x"], fix.latitude_deg):
            return [f"row {row.seqno}: {values['position.x']}, sent was {fix.latitude_deg}"]
        last_ns = row.boot_ns
    return []


def _is_off(stored: float, sent: float | None) -> bool:
    is_nothing = math.isnan(stored)
    return not is_nothing if sent is None else is_nothing or abs(stored - sent) > MOST_OFF_DEG


TRUTHS: Mapping[str, Callable[[Sequence[Row], Any], list[str]]] = {
    "gps": _of_gps,
    "imu": _of_imu,
    "camera": _of_camera,
}
