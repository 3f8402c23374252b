"""Renders fixes as a receiver's sentences of talker GN: RMC, GGA, GSA and VTG, or what is asked.

Rounding: the rendered text is the truth that a recording is compared with. Against the fix it was
made from it is off by at most half a unit of the last digit:

    time                1 ms
    latitude, longitude 1e-6 minutes = 1.7e-8 degrees (2 mm)
    altitude, geoid     0.01 m
    speed               0.001 knots = 0.0005 m/s
    course              0.01 degrees
    dilutions, sigmas   0.01
"""

from __future__ import annotations

import datetime
import functools
import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MPS_PER_KNOT = 1852 / 3600
MPS_PER_KMH = 1 / 3.6
SECOND_NS = 1_000_000_000
MILLI_NS = 1_000_000
MINUTE_UNITS = 60_000_000  # millionths of a minute in a degree
MODES = {0: "N", 1: "A", 2: "D", 3: "P", 4: "R", 5: "F", 6: "E", 7: "M", 8: "S"}
MOST_LISTED = 12
USUAL = ("RMC", "GGA", "GSA", "VTG")


@dataclass(frozen=True)
class Fix:
    """What a receiver knows at one instant.

    Args:
        utc_ns: UTC in ns since 1970.
        latitude_deg: -90 to 90; None: no fix, and nothing behind it is rendered.
        longitude_deg: -180 to 180.
        altitude_m: above mean sea level.
        speed_mps: over ground.
        course_deg: true, 0 to 360.
        geoid_separation_m: mean sea level above the ellipsoid.
        satellites: used.
        quality: GGA's code, 1 to 8.
        hdop: horizontal dilution of precision.
        vdop: vertical.
        pdop: of position.
        sigma_m: standard deviations of latitude, longitude and altitude, for GST.
    """

    utc_ns: int
    latitude_deg: float | None = None
    longitude_deg: float | None = None
    altitude_m: float = 0.0
    speed_mps: float = 0.0
    course_deg: float = 0.0
    geoid_separation_m: float = 0.0
    satellites: int = 12
    quality: int = 1
    hdop: float = 1.0
    vdop: float = 1.0
    pdop: float = 1.4
    sigma_m: tuple[float, float, float] = (1.0, 1.0, 2.0)


def render(fix: Fix, sentences: Sequence[str] = USUAL) -> bytes:
    """Return the epoch's sentences as they leave the receiver, with checksums and line ends.

    Args:
        fix: what they say.
        sentences: which, in this order: RMC, GGA, GSA, VTG, GLL, GNS, GST, ZDA.
    """
    utc = datetime.datetime.fromtimestamp(fix.utc_ns // SECOND_NS, datetime.timezone.utc)
    time = f"{utc:%H%M%S}.{fix.utc_ns % SECOND_NS // MILLI_NS:03d}"
    date = f"{utc:%d%m%y}"
    if fix.latitude_deg is None or fix.longitude_deg is None:
        bodies = {
            "RMC": f"{time},V,,,,,,,{date},,,N",
            "GGA": f"{time},,,,,0,00,,,M,,M,,",
            "GSA": "A,1,,,,,,,,,,,,,,,",
            "VTG": ",T,,M,,N,,K,N",
            "GLL": f",,,,{time},V,N",
            "GNS": f"{time},,,,,NN,00,,,,,",
            "GST": f"{time},,,,,,,",
        }
    else:
        place = f"{_degrees(fix.latitude_deg, 2, 'NS')},{_degrees(fix.longitude_deg, 3, 'EW')}"
        bodies = _bodies(fix, time, date, place)
    bodies["ZDA"] = f"{time},{utc:%d,%m,%Y},00,00"
    return b"".join(seal(f"GN{name},{bodies[name]}") for name in sentences)


def seal(body: str) -> bytes:
    """Return a sentence of its body: ``$``, body, checksum, CR LF."""
    text = body.encode("ascii")
    return b"$%s*%02X\r\n" % (text, functools.reduce(operator.xor, text, 0))


def _bodies(fix: Fix, time: str, date: str, place: str) -> dict[str, str]:
    knots = f"{fix.speed_mps / MPS_PER_KNOT:.3f}"
    course = f"{fix.course_deg % 360:.2f}"
    mode = MODES[fix.quality]
    listed = min(fix.satellites, MOST_LISTED)
    used = ",".join(f"{n:02d}" for n in range(1, listed + 1)) + "," * (MOST_LISTED - listed)
    count, height = f"{fix.satellites:02d},{fix.hdop:.2f}", f"{fix.altitude_m:.2f}"
    return {
        "RMC": f"{time},A,{place},{knots},{course},{date},,,{mode}",
        "GGA": f"{time},{place},{fix.quality},{count},{height},M,{fix.geoid_separation_m:.2f},M,,",
        "GSA": f"A,3,{used},{fix.pdop:.2f},{fix.hdop:.2f},{fix.vdop:.2f}",
        "VTG": f"{course},T,,M,{knots},N,{fix.speed_mps / MPS_PER_KMH:.3f},K,{mode}",
        "GLL": f"{place},{time},A,{mode}",
        "GNS": f"{time},{place},{mode}{mode},{count},{height},{fix.geoid_separation_m:.2f},,",
        "GST": f"{time},,,,,{','.join(f'{sigma:.2f}' for sigma in fix.sigma_m)}",
    }


def _degrees(degrees: float, digits: int, sides: str) -> str:
    # Rounded as a whole, so that 59.9999999 minutes become the next degree and never 60 minutes.
    units = round(abs(degrees) * MINUTE_UNITS)
    whole, rest = divmod(units, MINUTE_UNITS)
    minutes, millionths = divmod(rest, 1_000_000)
    return f"{whole:0{digits}d}{minutes:02d}.{millionths:06d},{sides[degrees < 0]}"
