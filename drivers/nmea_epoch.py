"""What the sentences of one epoch say together.

What the epoch's fix is called (`FIXES`), by the first rule that holds:

    quality 0 in any sentence, or status V in RMC or GLL      none
    no sentence with a quality, status or mode letter         none
    GSA says 1 (no fix)                                       none
    no position, though all say that there is one             none
    quality 2 … 8 (GGA, else the letters of GNS, RMC, GLL)    dgps pps rtk float estimated
                                                              manual simulator
    quality 1, GSA says 2                                     2d
    quality 1, GSA says 3                                     3d
    quality 1, no GSA                                         3d with an altitude, else 2d

Without a fix all of position, altitude, speed, course, dilutions and deviations are None, whatever
the receiver repeats from earlier; time and satellites stay.

Where sentences of an epoch differ, the first in `PRECEDENCE` that knows a value gives it.
"""

from __future__ import annotations

import functools
import math
import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable

    from drivers.nmea_sentence import Sentence

_T = TypeVar("_T")

#: Names of the fix; the index is the code in a GPS row.
FIXES = (
    "none", "2d", "3d", "dgps", "pps", "rtk", "float", "estimated", "manual", "simulator",
)  # fmt: skip
PRECEDENCE = ("ZDA", "GGA", "GNS", "RMC", "GLL", "VTG", "GSA", "GST")


_NO_FIX_DIMENSIONS, _3D_DIMENSIONS = 1, 3
_NONE, _2D, _3D = 0, 1, 2


@dataclass(frozen=True)
class Epoch:
    """What a receiver said about one instant; None: it did not say.

    Args:
        boot_ns: CLOCK_BOOTTIME of the first byte, in ns (0 from a file).
        utc_ns: UTC in ns since 1970, as the receiver believes; without a fix it may be wrong.
        fix: one of `FIXES`.
        quality: GGA's quality code, 0 to 8; 0 exactly if `fix` is ``none``.
        latitude_deg: -90 to 90, north positive.
        longitude_deg: -180 to 180, east positive.
        altitude_m: above mean sea level.
        geoid_separation_m: mean sea level above the ellipsoid.
        speed_mps: over ground.
        course_deg: over ground, true, 0 to 360; many receivers give none at rest.
        north_mps: from speed and course.
        east_mps: from speed and course.
        satellites: used in the fix, 0 to 127.
        hdop: horizontal dilution of precision.
        vdop: vertical.
        pdop: of position.
        sigma_latitude_m: standard deviation of the position, to the north.
        sigma_longitude_m: to the east.
        sigma_altitude_m: upwards.
        service: bits of the constellations named: 1 GPS, 2 GLONASS, 4 BeiDou, 8 Galileo, 16 QZSS,
            32 NavIC; 0 not known.
        sentences: sentences with a good checksum, those of unknown kinds included.
        checksum_errors: lines and runs of bytes since the previous epoch that were refused:
            checksum wrong or missing, too long, garbage.
        whole: begun after another epoch's time or after silence, so nothing before its first
            sentence was missed. Only the first epoch after the start can be torn.
    """

    boot_ns: int
    utc_ns: int | None
    fix: str
    quality: int
    latitude_deg: float | None
    longitude_deg: float | None
    altitude_m: float | None
    geoid_separation_m: float | None
    speed_mps: float | None
    course_deg: float | None
    north_mps: float | None
    east_mps: float | None
    satellites: int | None
    hdop: float | None
    vdop: float | None
    pdop: float | None
    sigma_latitude_m: float | None
    sigma_longitude_m: float | None
    sigma_altitude_m: float | None
    service: int
    sentences: int
    checksum_errors: int
    whole: bool


def _fix(sentences: list[Sentence], altitude_m: float | None) -> int:
    """Return the index in `FIXES`; its rules are in the module's docstring."""
    qualities = [s.quality for s in sentences if s.quality is not None]
    dimensions = max((s.dimensions for s in sentences if s.dimensions is not None), default=None)
    has_position = any(s.latitude_deg is not None for s in sentences)
    if not qualities or 0 in qualities or dimensions == _NO_FIX_DIMENSIONS or not has_position:
        return _NONE
    if qualities[0] > 1:
        return _2D + qualities[0]
    is_3d = altitude_m is not None if dimensions is None else dimensions == _3D_DIMENSIONS
    return _3D if is_3d else _2D


def first(values: Iterable[_T | None]) -> _T | None:
    """Return the first value that is known, or None."""
    return next((value for value in values if value is not None), None)


def merge(
    everything: list[Sentence],
    *,
    boot_ns: int,
    utc_ns: int | None,
    sentences: int,
    checksum_errors: int,
    whole: bool,
) -> Epoch:
    """Make one epoch of its sentences.

    Args:
        everything: the epoch's sentences of the kinds in `PRECEDENCE`, in that order.
        boot_ns: goes into the epoch as it is, as do the others.
        utc_ns: see `Epoch`.
        sentences: see `Epoch`.
        checksum_errors: see `Epoch`.
        whole: see `Epoch`.
    """
    fix = _fix(everything, first(s.altitude_m for s in everything))
    known = everything if fix else []  # without a fix nothing of it is believed
    speed_mps = first(s.speed_mps for s in known)
    course_deg = first(s.course_deg for s in known)
    north_mps, east_mps = _velocity(speed_mps, course_deg)
    return Epoch(
        boot_ns=boot_ns,
        utc_ns=utc_ns,
        fix=FIXES[fix],
        quality=first(s.quality for s in known) or 0,
        latitude_deg=first(s.latitude_deg for s in known),
        longitude_deg=first(s.longitude_deg for s in known),
        altitude_m=first(s.altitude_m for s in known),
        geoid_separation_m=first(s.geoid_separation_m for s in known),
        speed_mps=speed_mps,
        course_deg=course_deg,
        north_mps=north_mps,
        east_mps=east_mps,
        satellites=_satellites(everything),
        hdop=first(s.hdop for s in known),
        vdop=first(s.vdop for s in known),
        pdop=first(s.pdop for s in known),
        sigma_latitude_m=first(s.sigma_latitude_m for s in known),
        sigma_longitude_m=first(s.sigma_longitude_m for s in known),
        sigma_altitude_m=first(s.sigma_altitude_m for s in known),
        service=functools.reduce(operator.or_, (s.service for s in everything), 0),
        sentences=sentences,
        checksum_errors=checksum_errors,
        whole=whole,
    )


def _velocity(
    speed_mps: float | None, course_deg: float | None
) -> tuple[float, float] | tuple[None, None]:
    if speed_mps == 0:
        return 0.0, 0.0
    if speed_mps is None or course_deg is None:
        return None, None
    course_rad = math.radians(course_deg)
    return speed_mps * math.cos(course_rad), speed_mps * math.sin(course_rad)


def _satellites(sentences: list[Sentence]) -> int | None:
    """Return what GGA or GNS says, else how many satellites all GSA list together.

    A GSA lists 12 at most, of one system, so an epoch has several; one that came twice (the GGA
    that should stand between was lost) adds nothing.
    """
    said = first(s.satellites for s in sentences)
    lists = [s.listed for s in sentences if s.listed is not None]
    return len(frozenset().union(*lists)) if said is None and lists else said
