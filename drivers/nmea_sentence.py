"""One NMEA 0183 sentence: its checksum, its fields, and what it says in our units.

pynmea2 finds the fields; their text is converted here, strictly, because pynmea2 (1.19)

- gives the raw text when a conversion fails, and cuts binary fractions of a second;
- gives latitude and longitude 0.0 for empty fields;
- raises ValueError on *access* to ``2926`` (degrees and minutes without decimals);
- accepts a sentence without checksum unless told otherwise, and refuses unknown talkers' kinds.

A field that cannot be read is None; a sentence that cannot be trusted is refused as a whole.

Source: NMEA 0183 version 4.11, section 6 (sentences); u-blox 8 / M8 protocol description
UBX-13003221, section 31 (NMEA); ROS sensor_msgs/NavSatStatus (service bits).
"""

from __future__ import annotations

import datetime
import functools
import operator
import re
from dataclasses import dataclass

import pynmea2

MPS_PER_KNOT = 1852 / 3600
MPS_PER_KMH = 1 / 3.6
DAY_NS = 86_400_000_000_000
#: Two-digit years from here on are 19xx (GPS began in 1980), those before are 20xx.
PIVOT_YEAR = 80
MOST_SATELLITES = 127
FULL_TURN_DEG = 360
HOURS, MINUTES, SECONDS = 24, 60, 60
LEAP_SECOND = (23, 59, 60)

#: A GSA: mode, dimensions, 12 satellites, 3 dilutions and, since 4.1, the system's number.
STANDARD_GSA = 18
SATELLITES = slice(2, 14)
DOPS = slice(14, 17)

#: The mode letter of RMC, GLL, GNS and VTG as the quality code of GGA, best first.
QUALITY_OF_MODE = {"R": 4, "F": 5, "P": 3, "D": 2, "A": 1, "E": 6, "M": 7, "S": 8, "N": 0}

#: Constellations as bits (the first four as in ROS NavSatStatus), by talker …
SERVICE_OF_TALKER = {
    "GP": 1, "GL": 2, "GB": 4, "BD": 4, "GA": 8, "GQ": 16, "QZ": 16, "GI": 32,
}  # fmt: skip
#: … and by the system number at the end of a GSA.
SERVICE_OF_SYSTEM = {"1": 1, "2": 2, "3": 8, "4": 4, "5": 16, "6": 32}
#: … and by satellite number, for GSA without it: last number of a range, and its bit.
SERVICE_OF_SATELLITE = ((32, 1), (64, 0), (96, 2), (192, 0), (202, 16), (264, 4), (336, 8))

_EPOCH_DAY = datetime.date(1970, 1, 1).toordinal()
_SEALED = re.compile(rb"\$([^$*]+)\*([0-9A-Fa-f]{2})\s*")
_NUMBER = re.compile(r"[+-]?\d*\.?\d+|[+-]?\d+\.")
_TIME = re.compile(r"(\d\d)(\d\d)(\d\d)(?:\.(\d*))?")
_DATE = re.compile(r"(\d\d)(\d\d)(\d\d)")
_DEGREES = re.compile(r"(\d{1,3})(\d\d(?:\.\d*)?)")


@dataclass
class Sentence:
    """What one sentence says; None: nothing, or nothing readable.

    Args:
        name: kind: the address without its first two letters: ``RMC``.
        talker: the first two letters: ``GP``, ``GN`` … (``P`` begins a proprietary sentence).
        time_ns: UTC time of day in ns; 86400 s to 86401 s inside a leap second.
        day: days since 1970-01-01.
        quality: code of GGA: 0 no fix, 1 GPS, 2 differential, 3 PPS, 4 RTK, 5 RTK float,
            6 estimated, 7 manual, 8 simulator.
        dimensions: 1 no fix, 2, 3 (GSA).
        latitude_deg: north positive; only together with `longitude_deg` (east positive).
        longitude_deg: see `latitude_deg`.
        altitude_m: above mean sea level.
        geoid_separation_m: mean sea level above the ellipsoid.
        speed_mps: over ground.
        course_deg: over ground, true, 0 to 360.
        satellites: used, 0 to 127.
        listed: the satellites of a GSA, each as its system (else the talker) and its number.
        hdop: horizontal dilution of precision.
        vdop: vertical.
        pdop: of position.
        service: bits of the constellations named.
    """

    name: str
    talker: str = ""
    time_ns: int | None = None
    day: int | None = None
    quality: int | None = None
    dimensions: int | None = None
    latitude_deg: float | None = None
    longitude_deg: float | None = None
    altitude_m: float | None = None
    geoid_separation_m: float | None = None
    speed_mps: float | None = None
    course_deg: float | None = None
    satellites: int | None = None
    listed: frozenset[tuple[str, int]] | None = None
    hdop: float | None = None
    vdop: float | None = None
    pdop: float | None = None
    service: int = 0


class _Fields:
    """The texts of a sentence by pynmea2's names, converted strictly: readable or None."""

    def __init__(self, sentence: pynmea2.TalkerSentence) -> None:
        self.data: list[str] = sentence.data
        self._index: dict[str, int] = sentence.name_to_idx

    def text(self, name: str) -> str:
        index = self._index[name]
        return self.data[index].strip() if index < len(self.data) else ""

    def number(self, name: str) -> float | None:
        return _number(self.text(name))

    def satellites(self, name: str) -> int | None:
        text = self.text(name)
        return int(text) if text.isdecimal() and int(text) <= MOST_SATELLITES else None

    def course_deg(self, name: str) -> float | None:
        course_deg = self.number(name)
        return course_deg if course_deg is not None and 0 <= course_deg <= FULL_TURN_DEG else None

    def time_ns(self) -> int | None:
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
            return _quality_of_modes(self.text(mode)) if self.text(mode) else 1
        return 0 if status == "V" else None


def _number(text: str) -> float | None:
    return float(text) if _NUMBER.fullmatch(text) else None


def _degrees(text: str, side: str, sides: str, most_deg: int) -> float | None:
    match = _DEGREES.fullmatch(text)
    if not match or side not in sides or not side or float(match[2]) >= MINUTES:
        return None
    degrees = int(match[1]) + float(match[2]) / MINUTES
    if degrees > most_deg:
        return None
    return degrees if side == sides[0] else -degrees


def _quality_of_modes(modes: str) -> int | None:
    return next((code for letter, code in QUALITY_OF_MODE.items() if letter in modes), None)


def _day(year: int, month: int, day: int) -> int | None:
    try:
        return datetime.date(year, month, day).toordinal() - _EPOCH_DAY
    except ValueError:
        return None


def _read_rmc(fields: _Fields, sentence: Sentence) -> None:
    sentence.latitude_deg, sentence.longitude_deg = fields.position()
    sentence.quality = fields.quality("mode_indicator")
    knots = fields.number("spd_over_grnd")
    sentence.speed_mps = None if knots is None else knots * MPS_PER_KNOT
    sentence.course_deg = fields.course_deg("true_course")
    date = _DATE.fullmatch(fields.text("datestamp"))
    if date:
        year = int(date[3])
        sentence.day = _day(
            year + (1900 if year >= PIVOT_YEAR else 2000), int(date[2]), int(date[1])
        )


def _read_gga(fields: _Fields, sentence: Sentence) -> None:
    sentence.latitude_deg, sentence.longitude_deg = fields.position()
    quality = fields.text("gps_qual")
    sentence.quality = int(quality) if re.fullmatch("[0-8]", quality) else None
    sentence.satellites = fields.satellites("num_sats")
    sentence.hdop = fields.number("horizontal_dil")
    sentence.altitude_m = fields.number("altitude")
    sentence.geoid_separation_m = fields.number("geo_sep")


def _read_gns(fields: _Fields, sentence: Sentence) -> None:
    sentence.latitude_deg, sentence.longitude_deg = fields.position()
    sentence.quality = _quality_of_modes(fields.text("mode_indicator"))
    sentence.satellites = fields.satellites("num_sats")
    sentence.hdop = fields.number("hdop")
    sentence.altitude_m = fields.number("altitude")
    sentence.geoid_separation_m = fields.number("geo_sep")


def _read_gll(fields: _Fields, sentence: Sentence) -> None:
    sentence.latitude_deg, sentence.longitude_deg = fields.position()
    sentence.quality = fields.quality("faa_mode")


def _read_gsa(fields: _Fields, sentence: Sentence) -> None:
    dimensions = fields.text("mode_fix_type")
    sentence.dimensions = int(dimensions) if re.fullmatch("[123]", dimensions) else None
    # Some receivers list 24 satellites; the dilutions are the last three then.
    is_long = len(fields.data) > STANDARD_GSA
    dops = fields.data[-3:] if is_long else fields.data[DOPS]
    sentence.pdop, sentence.hdop, sentence.vdop = map(_number, (*dops, "", "", "")[:3])
    numbers = fields.data[2:-3] if is_long else fields.data[SATELLITES]
    used = [int(text) for text in numbers if text.isdecimal()]
    system = fields.data[-1] if len(fields.data) == STANDARD_GSA else ""
    sentence.listed = frozenset((system or sentence.talker, number) for number in used)
    sentence.service |= SERVICE_OF_SYSTEM.get(system, 0)
    if not sentence.service:
        for number in used:
            sentence.service |= next(
                (bit for last, bit in SERVICE_OF_SATELLITE if number <= last), 0
            )


def _read_vtg(fields: _Fields, sentence: Sentence) -> None:
    sentence.course_deg = fields.course_deg("true_track")
    knots = fields.number("spd_over_grnd_kts")
    kmh = fields.number("spd_over_grnd_kmph")
    if knots is not None:
        sentence.speed_mps = knots * MPS_PER_KNOT
    elif kmh is not None:
        sentence.speed_mps = kmh * MPS_PER_KMH


def _read_zda(fields: _Fields, sentence: Sentence) -> None:
    numbers = [fields.text(name) for name in ("year", "month", "day")]
    if all(text.isdecimal() for text in numbers):
        sentence.day = _day(*map(int, numbers))


def _read_time_only(_fields: _Fields, _sentence: Sentence) -> None:
    """GST: its time joins it to the epoch; nothing of it is recorded yet."""


#: The kinds that make an epoch, and who reads each.
_READERS = {
    "RMC": _read_rmc,
    "GGA": _read_gga,
    "GNS": _read_gns,
    "GLL": _read_gll,
    "GSA": _read_gsa,
    "VTG": _read_vtg,
    "ZDA": _read_zda,
    "GST": _read_time_only,
}


def parse(line: bytes) -> Sentence | None:
    r"""Read one sentence.

    Args:
        line: from ``$``, with or without line end.

    Returns:
        What it says; only `name` and `talker` for kinds that belong to no epoch (GSV, TXT,
        proprietary). None if it must be refused: no checksum, a wrong one, no ASCII, no form.
    """
    sealed = _SEALED.fullmatch(line)
    if not sealed or functools.reduce(operator.xor, sealed[1], 0) != int(sealed[2], 16):
        return None
    try:
        text = line.decode("ascii")
    except UnicodeDecodeError:
        return None
    address = sealed[1].decode("ascii").partition(",")[0]
    talker, name = address[:2], address[2:]
    read = _READERS.get(name)
    if address.startswith("P") or read is None:  # P: proprietary, has no talker
        return Sentence(name, talker)
    try:
        fields = _Fields(pynmea2.parse(text, check=True))
    except pynmea2.ParseError:
        return None
    sentence = Sentence(name, talker, fields.time_ns())
    sentence.service = SERVICE_OF_TALKER.get(talker, 0)
    read(fields, sentence)
    return sentence
