"""What the models say they produced: read from their own logs, with no code of the drivers.

Every quantity that a row can hold is given as the values that the device stated for it; a row is
right if it holds one of them, or none where none was stated.
"""

from __future__ import annotations

import csv
import functools
import json
import math
import operator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

#: MPU-6050 at +-4 g and +-500 deg/s, per count: 8192 LSB/g and 65.5 LSB/(deg/s), as the product
#: specification (PS-MPU-6000A-00, 6.1 and 6.2) has them. Standard gravity in m/s^2.
ACCELERATION = 9.80665 / 8192
ANGULAR_VELOCITY = math.radians(1 / 65.5)
#: Some receivers state one instant with two and with three decimals.
SAME_TIME_S = 0.02
KNOT_MPS, KMH_MPS = 1852 / 3600, 1 / 3.6
IMU_COLUMNS = (
    *((f"acceleration.{axis}", ACCELERATION) for axis in "xyz"),
    *((f"angular_velocity.{axis}", ANGULAR_VELOCITY) for axis in "xyz"),
)


@dataclass(frozen=True)
class Produced:
    """One sample that a model made.

    Args:
        number: the model's running number.
        boot_ns: when.
        stated: column to the values that the device stated for it, in the ontology's units.
        is_fix: whether the device had something to say about its place, for a receiver.
    """

    number: int
    boot_ns: int
    stated: Mapping[str, Sequence[float]]
    is_fix: bool = True


def imu(log: Path) -> list[Produced]:
    """Read what the IMU put into its FIFO."""
    found = []
    with log.open() as file:
        for row in csv.reader(file):
            if row[0].isdigit():
                counts = map(int, row[2:8])
                stated = {
                    name: [count * scale]
                    for (name, scale), count in zip(IMU_COLUMNS, counts, strict=True)
                }
                found.append(Produced(int(row[0]), int(row[1]), stated))
    return found


def camera(log: Path) -> list[Produced]:
    """Read which frames the camera made, in order of their numbers."""
    found = []
    for text in log.read_text().splitlines():
        frame = json.loads(text)
        stated = {"bytes": [frame["bytes"]], "crc32": [frame["crc32"]], "number": [frame["frame"]]}
        found.append(Produced(frame["frame"], frame["boot_ns"], stated))
    return sorted(found, key=operator.attrgetter("number"))


def gps(log: Path) -> list[Produced]:
    """Read which epochs left the receiver between the first and the last that were heard.

    What leaves in one burst is one epoch, unless whole sentences in it speak of several times (a
    log with torn lines): then each of them is one.
    """
    bursts = [json.loads(text) for text in log.read_text().splitlines()]
    heard = [index for index, one in enumerate(bursts) if one["heard"]]
    found: list[Produced] = []
    for one in bursts[heard[0] : heard[-1] + 1] if heard else []:
        size = sum(map(len, one["lines"])) or 1
        # A torn line may have a whole sentence in it: each begins with a dollar sign.
        pieces = [f"${piece}" for line in one["lines"] for piece in line.split("$")[1:]]
        for offset, lines in _epochs(pieces):
            statement = _Statement()
            for line in lines:
                statement.hear(line)
            at_ns = one["boot_ns"] + (one["end_boot_ns"] - one["boot_ns"]) * offset // size
            found.append(Produced(len(found), at_ns, statement.stated, statement.is_fix))
    return found


def _epochs(lines: Sequence[str]) -> list[tuple[int, list[str]]]:
    """Part the lines of a burst by the time they speak of; each part with its offset in bytes."""
    parts: list[tuple[int, list[str]]] = [(0, [])]
    time, offset = "", 0
    for line in lines:
        stated = _time(line)
        if stated and time and abs(float(stated) - float(time)) > SAME_TIME_S:
            parts.append((offset, []))
        time = stated or time
        parts[-1][1].append(line)
        offset += len(line)
    return parts


def _fields(line: str) -> list[str]:
    """Return the fields of a sentence whose checksum is right, else none."""
    text = line.strip()
    body, star, checksum = text[1:].partition("*")
    whole = functools.reduce(operator.xor, body.encode(), 0)
    is_right = text[:1] == "$" and star and checksum.strip().upper() == f"{whole:02X}"
    return body.split(",") if is_right else []


def _time(line: str) -> str:
    name, *fields = _fields(line) or [""]
    places = {"RMC": 0, "GGA": 0, "GNS": 0, "ZDA": 0, "GST": 0, "GLL": 4}
    place = places.get(name[-3:])
    return fields[place] if place is not None and len(fields) > place else ""


@dataclass
class _Statement:
    """Everything that the sentences of one epoch state."""

    stated: dict[str, list[float]] = field(default_factory=dict)
    is_fix: bool = False

    def hear(self, line: str) -> None:
        name, *fields = _fields(line) or [""]
        reader = getattr(self, "_" + name[-3:].lower(), None) if name else None
        if reader is not None:
            reader([*fields, *[""] * 20])

    def _say(self, column: str, text: str, factor: float = 1.0) -> None:
        if text:
            self.stated.setdefault(column, []).append(float(text) * factor)

    def _place(self, latitude: str, south: str, longitude: str, west: str) -> None:
        if latitude and longitude:
            self.is_fix = True
            self._say("position.x", str(_degrees(latitude, 2)), -1 if south == "S" else 1)
            self._say("position.y", str(_degrees(longitude, 3)), -1 if west == "W" else 1)

    def _move(self, speed: str, course: str, factor: float) -> None:
        if speed and course:
            speed_mps, angle = float(speed) * factor, math.radians(float(course))
            self._say("velocity.x", str(speed_mps * math.cos(angle)))
            self._say("velocity.y", str(speed_mps * math.sin(angle)))

    def _gga(self, one: list[Any]) -> None:
        if one[5] not in {"", "0"}:
            self._place(*one[1:5])
            self._say("position.z", one[8])
        self._say("status.status", one[5])
        self._say("status.satellites", one[6])
        self._say("status.hdop", one[7])

    def _gns(self, one: list[Any]) -> None:
        if one[5].strip("N"):
            self._place(*one[1:5])
            self._say("position.z", one[8])
        self._say("status.satellites", one[6])
        self._say("status.hdop", one[7])

    def _rmc(self, one: list[Any]) -> None:
        if one[1] == "A":
            self._place(*one[2:6])
            self._move(one[6], one[7], KNOT_MPS)

    def _gll(self, one: list[Any]) -> None:
        if one[5] == "A":
            self._place(*one[0:4])

    def _vtg(self, one: list[Any]) -> None:
        self._move(one[4], one[0], KNOT_MPS)
        self._move(one[6], one[0], KMH_MPS)

    def _gsa(self, one: list[Any]) -> None:
        self._say("status.hdop", one[15])
        self._say("status.vdop", one[16])
        self._say("status.satellites", str(sum(1 for text in one[2:14] if text)))


def _degrees(text: str, degree_digits: int) -> float:
    return int(text[:degree_digits]) + float(text[degree_digits:]) / 60
