"""The row of a GPS epoch: what the receiver said and nothing else, null where it said nothing."""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING

from drivers.base import TYPES, Field
from drivers.nmea_epoch import FIXES

if TYPE_CHECKING:
    from drivers.nmea_epoch import Epoch

NULL_UTC_NS = -(2**63)
NULL_SATELLITES = -1
MOST_U2 = 2**16 - 1

FIELDS = (
    Field("utc_ns", "<i8", "ns", null=NULL_UTC_NS),
    Field("position.x", "<f8", "deg", least=-90, most=90),  # latitude
    Field("position.y", "<f8", "deg", least=-180, most=180),  # longitude
    Field("position.z", "<f8", "m", least=-1000, most=100_000),  # above mean sea level
    Field("velocity.x", "<f8", "m/s", least=-600, most=600),  # north
    Field("velocity.y", "<f8", "m/s", least=-600, most=600),  # east
    Field("status.status", "<i1", "1", least=0, most=8),  # GGA's quality code, 0: no fix
    Field("status.service", "<u2", "1"),  # bits of `Epoch.service`, 0: not known
    Field("status.satellites", "<i1", "1", null=NULL_SATELLITES, least=0, most=127),
    Field("status.hdop", "<f8", "1", least=0, most=100),
    Field("status.vdop", "<f8", "1", least=0, most=100),
    Field("geoid_separation_m", "<f8", "m", least=-200, most=200),
    Field("speed_mps", "<f8", "m/s", least=0, most=600),
    Field("course_deg", "<f8", "deg", least=0, most=360),
    Field("fix", "<u1", "1", least=0, most=len(FIXES) - 1),  # index in `FIXES`
    Field("sentences", "<u2", "1"),
    Field("checksum_errors", "<u4", "1"),
    Field("pdop", "<f8", "1", least=0, most=100),
    Field("sigma_latitude_m", "<f8", "m", least=0),
    Field("sigma_longitude_m", "<f8", "m", least=0),
    Field("sigma_altitude_m", "<f8", "m", least=0),
)
ROW = struct.Struct("<" + "".join(TYPES[field.type[1:]] for field in FIELDS))


def pack(epoch: Epoch) -> bytes:
    """Return an epoch's row."""
    return ROW.pack(
        NULL_UTC_NS if epoch.utc_ns is None else epoch.utc_ns,
        _or_nan(epoch.latitude_deg),
        _or_nan(epoch.longitude_deg),
        _or_nan(epoch.altitude_m),
        _or_nan(epoch.north_mps),
        _or_nan(epoch.east_mps),
        epoch.quality,
        epoch.service,
        NULL_SATELLITES if epoch.satellites is None else epoch.satellites,
        _or_nan(epoch.hdop),
        _or_nan(epoch.vdop),
        _or_nan(epoch.geoid_separation_m),
        _or_nan(epoch.speed_mps),
        _or_nan(epoch.course_deg),
        FIXES.index(epoch.fix),
        min(epoch.sentences, MOST_U2),
        epoch.checksum_errors,
        _or_nan(epoch.pdop),
        _or_nan(epoch.sigma_latitude_m),
        _or_nan(epoch.sigma_longitude_m),
        _or_nan(epoch.sigma_altitude_m),
    )


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
