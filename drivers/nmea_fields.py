"""The fields of one NMEA sentence, converted strictly: readable or None.

pynmea2 (1.19) finds the fields; their text is converted here, because pynmea2

- gives the raw text when a conversion fails, and cuts a time to whole us;
- gives latitude and longitude 0.0 for empty fields;
- raises ValueError on *access* to ``2926`` (degrees and minutes without decimals).
"""

from __future__ import annotations

import datetime
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pynmea2

DAY_NS = 86_400_000_000_000
MOST_SATELLITES = 127
FULL_TURN_DEG = 360
HOURS, MINUTES, SECONDS = 24, 60, 60
LEAP_SECOND = (23, 59, 60)

#: The mode letter of RMC, GLL, GNS and VTG as the quality code of GGA, best first.
QUALITY_OF_MODE = {"R": 4, "F": 5, "P": 3, "D": 2, "A": 1, "E": 6, "M": 7, "S": 8, "N": 0}

#: Years that a date may have: GPS began in the first, and ns since 1970 end behind the last.
FIRST_YEAR, LAST_YEAR = 1980, 2261
_EPOCH_DAY = datetime.date(1970, 1, 1).toordinal()
_NUMBER = re.compile(r"[+-]?\d*\.?\d+|[+-]?\d+\.")
_TIME = re.compile(r"(\d\d)(\d\d)(\d\d)(?:\.(\d*))?")
_DEGREES = re.compile(r"(\d{1,3})(\d\d(?:\.\d*)?)")
DATE = re.compile(r"(\d\d)(\d\d)(\d\d)")


class Fields:
    """The texts of a sentence by pynmea2's names, converted strictly: readable or None."""

    def __init__(self, sentence: pynmea2.TalkerSentence) -> None:
        self.data: list[str] = sentence.data
        self._index: dict[str, int] = sentence.name_to_idx

    def text(self, name: str) -> str:
        """Return a field as it came; empty if the sentence is too short for it."""
        index = self._index[name]
        return self.data[index].strip() if index < len(self.data) else ""

    def number(self, name: str) -> float | None:
        """Return a field as a decimal number."""
        return number(self.text(name))

    def satellites(self, name: str) -> int | None:
        """Return a field as a count, 0 to 127."""
        text = self.text(name)
        return int(text) if text.isdecimal() and int(text) <= MOST_SATELLITES else None

    def course_deg(self, name: str) -> float | None:
        """Return a field as an angle, 0 to 360."""
        course_deg = self.number(name)
        return course_deg if course_deg is not None and 0 <= course_deg <= FULL_TURN_DEG else None

    def time_ns(self) -> int | None:
        """Return the UTC time of day in ns; from 86400 s on inside a leap second."""
        match = _TIME.fullmatch(self.text("timestamp")) if "timestamp" in self._index else None
        if not match:
            return None
        hour, minute, second = int(match[1]), int(match[2]), int(match[3])
        is_leap = (hour, minute, second) == LEAP_SECOND
        if hour >= HOURS or minute >= MINUTES or (second >= SECONDS and not is_leap):
            return None
        fraction_ns = int((match[4] or "").ljust(9, "0")[:9])
        return ((hour * MINUTES + minute) * SECONDS + second) * 1_000_000_000 + fraction_ns

    def position(self) -> tuple[float, float] | tuple[None, None]:
        """Latitude and longitude; both or neither."""
        latitude_deg = _degrees(self.text("lat"), self.text("lat_dir"), "NS", 90)
        longitude_deg = _degrees(self.text("lon"), self.text("lon_dir"), "EW", 180)
        if latitude_deg is None or longitude_deg is None:
            return None, None
        return latitude_deg, longitude_deg

    def quality(self, mode: str) -> int | None:
        """Quality by status (V: none) and the best of the mode letters, where there are any."""
        status = self.text("status")
        if status == "A":
            return quality_of_modes(self.text(mode)) if self.text(mode) else 1
        return 0 if status == "V" else None


def number(text: str) -> float | None:
    """Return a decimal number; None for anything else, ``nan`` and ``1e5`` included."""
    return float(text) if _NUMBER.fullmatch(text) else None


def _degrees(text: str, side: str, sides: str, most_deg: int) -> float | None:
    match = _DEGREES.fullmatch(text)
    if not match or side not in sides or not side or float(match[2]) >= MINUTES:
        return None
    degrees = int(match[1]) + float(match[2]) / MINUTES
    if degrees > most_deg:
        return None
    return degrees if side == sides[0] else -degrees


def quality_of_modes(modes: str) -> int | None:
    """Return the quality code of the best of some mode letters."""
    return next((code for letter, code in QUALITY_OF_MODE.items() if letter in modes), None)


def day_of(year: int, month: int, day: int) -> int | None:
    """Return the days since 1970-01-01; None if there is no such date.

    Nor is there one before GPS, or beyond what 64 bits of ns hold: before its first fix a receiver
    may say any year.
    """
    if not FIRST_YEAR <= year <= LAST_YEAR:
        return None
    try:
        return datetime.date(year, month, day).toordinal() - _EPOCH_DAY
    except ValueError:
        return None
