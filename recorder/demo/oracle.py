"""What the models say they produced: read from their own logs, with no code of the drivers.

Every quantity that a row can hold is given as the values that the device stated for it; a row is
right if it holds one of them, and nothing exactly where nothing was stated. What a receiver says
about its place while any of its sentences says that it has no fix is not stated: receivers repeat
old or simulated places then.
"""

from __future__ import annotations

import csv
import functools
import itertools
import json
import math
import operator
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

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


#: What a row may hold only with a fix, and what it may always hold.
FIX_COLUMNS = (
    *("position.x", "position.y", "position.z", "velocity.x", "velocity.y"),
    *("status.hdop", "status.vdop"),
)
GPS_COLUMNS = (*FIX_COLUMNS, "status.status", "status.satellites")
#: An epoch has at least one of these; without any, nothing tells what its other sentences mean.
STATUS_NAMES = {"RMC", "GGA", "GNS", "GLL"}
#: Mode letters (NMEA 0183 from 2.3 on) as quality codes of GGA; N is no fix.
QUALITY = {"A": 1, "D": 2, "P": 3, "R": 4, "F": 5, "E": 6, "M": 7, "S": 8}
#: Fields of the longest standard sentence that is read here, with room; more: a GSA of 24.
LONGEST = 20
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)")


@dataclass(frozen=True)
class Produced:
    """One sample that a model made.

    Args:
        number: the model's running number.
        boot_ns: when.
        due_ns: when it was due by the device's own timetable: a model that is held up on a busy
            machine makes it later, and leaves none out.
        stated: column to the values that the device stated for it, in the ontology's units; to none
            where a row must hold nothing.
        pause_ns: how long the model was held up while it sent this sample.
    """

    number: int
    boot_ns: int
    due_ns: int
    stated: Mapping[str, Sequence[float]]
    pause_ns: int = 0


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
                at_ns = int(row[1])
                found.append(Produced(int(row[0]), at_ns, at_ns, stated))
    return found


def camera(log: Path) -> list[Produced]:
    """Read which frames the camera made, in order of their numbers."""
    found = []
    for text in log.read_text().splitlines():
        frame = json.loads(text)
        stated = {"bytes": [frame["bytes"]], "crc32": [frame["crc32"]], "number": [frame["frame"]]}
        at_ns = frame["boot_ns"]
        found.append(Produced(frame["frame"], at_ns, at_ns, stated))
    return sorted(found, key=operator.attrgetter("number"))


def gps(log: Path) -> list[Produced]:
    """Read which epochs left the receiver between the first and the last that were heard.

    What leaves in one burst is one epoch, unless whole sentences in it speak of several times, or
    say the same twice (a log with torn lines): then each of them is one. A burst without any whole
    sentence about the fix is none: nobody could read it, it is a slot without a sample.
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
            if statement.names & STATUS_NAMES:
                into_ns = (one["end_boot_ns"] - one["boot_ns"]) * offset // size
                at_ns, due_ns = one["boot_ns"] + into_ns, one["due_ns"] + into_ns
                stated, pause_ns = statement.settled(), one["pause_ns"]
                found.append(Produced(len(found), at_ns, due_ns, stated, pause_ns))
    return found


def _epochs(lines: Sequence[str]) -> list[tuple[int, list[str]]]:
    """Part the lines of a burst into epochs; each with its offset in bytes."""
    parts: list[tuple[int, list[str]]] = [(0, [])]
    time, offset = "", 0
    said: set[str] = set()
    for line in lines:
        stated, address = _time(line), (_fields(line) or [""])[0]
        other_time = stated and time and abs(float(stated) - float(time)) > SAME_TIME_S
        if other_time or (address in said and address[2:] in STATUS_NAMES):
            parts.append((offset, []))
            time, said = "", set()
        time = stated or time
        said.add(address)
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

    names: set[str] = field(default_factory=set)
    stated: dict[str, list[float]] = field(default_factory=dict)
    is_denied: bool = False
    speeds_mps: list[float] = field(default_factory=list)
    courses_deg: list[float] = field(default_factory=list)
    #: One GSA per system: no fix if none of them has one.
    dimensions: set[str] = field(default_factory=set)
    listed: set[tuple[str, str]] = field(default_factory=set)
    talker: str = ""

    def hear(self, line: str) -> None:
        name, *fields = _fields(line) or [""]
        self.names.add(name[2:])
        self.talker = name[:2]
        reader = getattr(self, "_" + name[2:].lower(), None) if name else None
        if reader is not None:
            reader([*fields, *[""] * (LONGEST - len(fields))])

    def settled(self) -> dict[str, Sequence[float]]:
        """Return for every column of a row what it may hold; empty: it must hold nothing."""
        stated: dict[str, Sequence[float]] = {
            name: self.stated.get(name, []) for name in GPS_COLUMNS
        }
        if "GSA" in self.names and not stated["status.satellites"]:
            stated["status.satellites"] = [len(self.listed)]
        for column, part in (("velocity.x", math.cos), ("velocity.y", math.sin)):
            stated[column] = [
                speed_mps * part(math.radians(course_deg))
                for speed_mps, course_deg in itertools.product(self.speeds_mps, self.courses_deg)
            ] or [0.0 for speed_mps in self.speeds_mps if speed_mps == 0]
        has_place = self.stated.get("position.x") and self.stated.get("status.status")
        if self.is_denied or self.dimensions == {"1"} or not has_place:
            stated |= dict.fromkeys(FIX_COLUMNS, ())
            stated["status.status"] = [0]
        return stated

    def _say(self, column: str, text: str) -> None:
        if _NUMBER.fullmatch(text):
            self.stated.setdefault(column, []).append(float(text))

    def _judge(self, status: str, modes: str) -> None:
        """Take note of a sentence's quality: A or V, and the best of its mode letters if any."""
        codes = [QUALITY[letter] for letter in modes if letter in QUALITY]
        self.is_denied |= status == "V" or (not codes and "N" in modes)
        if status == "A":
            self.stated.setdefault("status.status", []).extend(codes if modes else [1])

    def _place(self, latitude: str, south: str, longitude: str, west: str) -> None:
        if _NUMBER.fullmatch(latitude) and _NUMBER.fullmatch(longitude):
            self.stated.setdefault("position.x", []).append(_degrees(latitude, 2, south == "S"))
            self.stated.setdefault("position.y", []).append(_degrees(longitude, 3, west == "W"))

    def _move(self, speed: str, course: str, factor: float) -> None:
        if _NUMBER.fullmatch(speed):
            self.speeds_mps.append(float(speed) * factor)
        if _NUMBER.fullmatch(course):
            self.courses_deg.append(float(course))

    def _gga(self, one: list[str]) -> None:
        self.is_denied |= one[5] == "0"
        self._place(*one[1:5])
        self._say("position.z", one[8])
        self._say("status.status", one[5])
        self._say("status.satellites", one[6])
        self._say("status.hdop", one[7])

    def _gns(self, one: list[str]) -> None:
        self._judge("A" if one[5] else "", one[5])
        self._place(*one[1:5])
        self._say("position.z", one[8])
        self._say("status.satellites", one[6])
        self._say("status.hdop", one[7])

    def _rmc(self, one: list[str]) -> None:
        self._judge(one[1], one[11])
        self._place(*one[2:6])
        self._move(one[6], one[7], KNOT_MPS)

    def _gll(self, one: list[str]) -> None:
        self._judge(one[5], one[6])
        self._place(*one[0:4])

    def _vtg(self, one: list[str]) -> None:
        self._move(one[4], one[0], KNOT_MPS)
        self._move(one[6], one[0], KMH_MPS)

    def _gsa(self, one: list[str]) -> None:
        # 12 satellites, or 24 by some receivers; the dilutions stand behind them.
        end = 14 if len(one) == LONGEST else len(one) - 3
        self.dimensions.add(one[1])
        self._say("status.hdop", one[end + 1])
        self._say("status.vdop", one[end + 2])
        # Since NMEA 4.1 the system stands behind the dilutions: numbers are of one system only.
        system = one[17] if len(one) == LONGEST else ""
        self.listed |= {(system or self.talker, number) for number in one[2:end] if number}


def _degrees(text: str, degree_digits: int, is_negative: bool) -> float:
    degrees = int(text[:degree_digits]) + float(text[degree_digits:]) / 60
    return -degrees if is_negative else degrees
