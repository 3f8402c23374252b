"""Numbers as people read them."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_S_NS = 1_000_000_000
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86_400
_STEP = 1000


def utc(utc_ns: int | None) -> str | None:
    """Return a time as ISO 8601 in UTC, to the millisecond where it is not a whole second.

    >>> utc(1395837505100000000)
    '2014-03-26T12:38:25.100Z'
    """
    if utc_ns is None:
        return None
    when = datetime.datetime.fromtimestamp(utc_ns // _S_NS, datetime.timezone.utc)
    fraction_ms = utc_ns % _S_NS // 1_000_000
    return f"{when:%Y-%m-%dT%H:%M:%S}" + (f".{fraction_ms:03d}Z" if fraction_ms else "Z")


def duration(span_ns: int) -> str:
    """Return a span of time.

    >>> [duration(round(s * 1e9)) for s in (0.25, 19.94, 75, 7325, 180000)]
    ['0.25 s', '19.9 s', '1 min 15 s', '2 h 02 min', '2 d 02 h']
    """
    span_s = span_ns / _S_NS
    if span_s < 1:
        return f"{span_s:.2f} s"
    if span_s < _MINUTE_S:
        return f"{span_s:.1f} s"
    whole_s = round(span_s)
    if whole_s < _HOUR_S:
        return f"{whole_s // _MINUTE_S} min {whole_s % _MINUTE_S:02d} s"
    if whole_s < _DAY_S:
        return f"{whole_s // _HOUR_S} h {whole_s % _HOUR_S // _MINUTE_S:02d} min"
    return f"{whole_s // _DAY_S} d {whole_s % _DAY_S // _HOUR_S:02d} h"


def size(size_bytes: float) -> str:
    """Return a number of bytes.

    >>> [size(n) for n in (12, 4096, 16777216, 3.2e10)]
    ['12 B', '4.1 kB', '16.8 MB', '32.0 GB']
    """
    for unit in ("B", "kB", "MB", "GB"):
        if abs(size_bytes) < _STEP:
            return f"{size_bytes:.0f} B" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= _STEP
    return f"{size_bytes:.1f} TB"


def count(number: int | None) -> str:
    """Return a count with its thousands apart; a dash for none."""
    return "-" if number is None else f"{number:,}"


def worst(quality: Mapping[str, Any]) -> str:
    """Return what follows a quality: its worst lane, if it has one.

    >>> worst({"quality_min": 0.8333, "quality_min_lane": "imu"})
    ', worst lane 0.8333 (imu)'
    >>> worst({"quality_min": 0.0, "quality_min_lane": ""})
    ''
    """
    lane = quality["quality_min_lane"]
    return f", worst lane {quality['quality_min']:.4f} ({lane})" if lane else ""
