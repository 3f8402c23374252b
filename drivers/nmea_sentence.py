"""One NMEA 0183 sentence: its checksum, its fields, and what it says in our units.

The checksum is found right here: pynmea2 (1.19) accepts a sentence without one, and one of two
letters that Python takes for a number (``+0``). It also refuses unknown talkers' kinds.

A field that cannot be read is None; a sentence that cannot be trusted is refused as a whole.

Source: NMEA 0183 version 4.11, section 6 (sentences); u-blox 8 / M8 protocol description
UBX-13003221, section 31 (NMEA); ROS sensor_msgs/NavSatStatus (service bits).
"""

from __future__ import annotations

import functools
import operator
import re
from dataclasses import dataclass

import pynmea2

from drivers.nmea_fields import DATE, DAY_NS, Fields, day_of, number, quality_of_modes

__all__ = ["DAY_NS", "Sentence", "parse"]

MPS_PER_KNOT = 1852 / 3600
MPS_PER_KMH = 1 / 3.6
#: Two-digit years from here on are 19xx (GPS began in 1980), those before are 20xx.
PIVOT_YEAR = 80

#: A GSA: mode, dimensions, 12 satellites, 3 dilutions and, since 4.1, the system's number.
STANDARD_GSA = 18
SATELLITES = slice(2, 14)
DOPS = slice(14, 17)

#: Constellations as bits (the first four as in ROS NavSatStatus), by talker …
SERVICE_OF_TALKER = {
    "GP": 1, "GL": 2, "GB": 4, "BD": 4, "GA": 8, "GQ": 16, "QZ": 16, "GI": 32,
}  # fmt: skip
#: … and by the system number at the end of a GSA.
SERVICE_OF_SYSTEM = {"1": 1, "2": 2, "3": 8, "4": 4, "5": 16, "6": 32}
#: … and by satellite number, for GSA without it: last number of a range, and its bit.
SERVICE_OF_SATELLITE = ((32, 1), (64, 0), (96, 2), (192, 0), (202, 16), (264, 4), (336, 8))

#: The address is part of the shape: chance, and ``+0000`` of a starting receiver, has none.
_SEALED = re.compile(rb"\$([A-Z][A-Z0-9]{2,}(?:,[^$*]*)?)\*([0-9A-Fa-f]{2})\s*")


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
        sigma_latitude_m: standard deviation, as `sigma_longitude_m` and `sigma_altitude_m`.
        sigma_longitude_m: see there.
        sigma_altitude_m: see there.
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
    sigma_latitude_m: float | None = None
    sigma_longitude_m: float | None = None
    sigma_altitude_m: float | None = None
    service: int = 0


def _read_rmc(fields: Fields, sentence: Sentence) -> None:
    sentence.latitude_deg, sentence.longitude_deg = fields.position()
    sentence.quality = fields.quality("mode_indicator")
    knots = fields.number("spd_over_grnd")
    sentence.speed_mps = None if knots is None else knots * MPS_PER_KNOT
    sentence.course_deg = fields.course_deg("true_course")
    date = DATE.fullmatch(fields.text("datestamp"))
    if date:
        year = int(date[3])
        sentence.day = day_of(
            year + (1900 if year >= PIVOT_YEAR else 2000), int(date[2]), int(date[1])
        )


def _read_gga(fields: Fields, sentence: Sentence) -> None:
    sentence.latitude_deg, sentence.longitude_deg = fields.position()
    quality = fields.text("gps_qual")
    sentence.quality = int(quality) if re.fullmatch("[0-8]", quality) else None
    sentence.satellites = fields.satellites("num_sats")
    sentence.hdop = fields.number("horizontal_dil")
    sentence.altitude_m = fields.number("altitude")
    sentence.geoid_separation_m = fields.number("geo_sep")


def _read_gns(fields: Fields, sentence: Sentence) -> None:
    sentence.latitude_deg, sentence.longitude_deg = fields.position()
    sentence.quality = quality_of_modes(fields.text("mode_indicator"))
    sentence.satellites = fields.satellites("num_sats")
    sentence.hdop = fields.number("hdop")
    sentence.altitude_m = fields.number("altitude")
    sentence.geoid_separation_m = fields.number("geo_sep")


def _read_gll(fields: Fields, sentence: Sentence) -> None:
    sentence.latitude_deg, sentence.longitude_deg = fields.position()
    sentence.quality = fields.quality("faa_mode")


def _read_gsa(fields: Fields, sentence: Sentence) -> None:
    dimensions = fields.text("mode_fix_type")
    sentence.dimensions = int(dimensions) if re.fullmatch("[123]", dimensions) else None
    # Some receivers list 24 satellites; the dilutions are the last three then.
    is_long = len(fields.data) > STANDARD_GSA
    dops = fields.data[-3:] if is_long else fields.data[DOPS]
    sentence.pdop, sentence.hdop, sentence.vdop = map(number, (*dops, "", "", "")[:3])
    numbers = fields.data[2:-3] if is_long else fields.data[SATELLITES]
    used = [int(text) for text in numbers if text.isdecimal()]
    system = fields.data[-1] if len(fields.data) == STANDARD_GSA else ""
    sentence.listed = frozenset((system or sentence.talker, number) for number in used)
    sentence.service |= SERVICE_OF_SYSTEM.get(system, 0)
    if not sentence.service:
        for satellite in used:
            sentence.service |= next(
                (bit for last, bit in SERVICE_OF_SATELLITE if satellite <= last), 0
            )


def _read_vtg(fields: Fields, sentence: Sentence) -> None:
    sentence.course_deg = fields.course_deg("true_track")
    knots = fields.number("spd_over_grnd_kts")
    kmh = fields.number("spd_over_grnd_kmph")
    if knots is not None:
        sentence.speed_mps = knots * MPS_PER_KNOT
    elif kmh is not None:
        sentence.speed_mps = kmh * MPS_PER_KMH


def _read_zda(fields: Fields, sentence: Sentence) -> None:
    numbers = [fields.text(name) for name in ("year", "month", "day")]
    if all(text.isdecimal() for text in numbers):
        sentence.day = day_of(*map(int, numbers))


def _read_gst(fields: Fields, sentence: Sentence) -> None:
    sentence.sigma_latitude_m = fields.number("std_dev_latitude")
    sentence.sigma_longitude_m = fields.number("std_dev_longitude")
    sentence.sigma_altitude_m = fields.number("std_dev_altitude")


#: The kinds that make an epoch, and who reads each.
_READERS = {
    "RMC": _read_rmc,
    "GGA": _read_gga,
    "GNS": _read_gns,
    "GLL": _read_gll,
    "GSA": _read_gsa,
    "VTG": _read_vtg,
    "ZDA": _read_zda,
    "GST": _read_gst,
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
        fields = Fields(pynmea2.parse(text, check=True))
    except pynmea2.ParseError:
        return None
    sentence = Sentence(name, talker, fields.time_ns())
    sentence.service = SERVICE_OF_TALKER.get(talker, 0)
    read(fields, sentence)
    return sentence
