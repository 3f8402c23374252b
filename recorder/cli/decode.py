"""`recorder decode`: a device's raw log as values, straight from the driver's own decoder."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from drivers.nmea import decode_file
from recorder.cli import options, words

if TYPE_CHECKING:
    from pathlib import Path

    from drivers.nmea_epoch import Epoch

_LINE = "{:<24} {:>12} {:>13} {:>9} {:>8} {:>7}  {:<9} {:>4} {:>5}"
_HEAD = ("utc", "lat_deg", "lon_deg", "alt_m", "speed", "course", "fix", "sats", "hdop")


@click.group()
def decode() -> None:
    """Turn a device's raw log into values, with the decoder that the recorder itself uses."""


@decode.command()
@click.argument("file", type=options.EXISTING_FILE)
@options.as_json
def nmea(file: Path, as_json: bool) -> None:
    """Decode FILE, a log of NMEA 0183 as the receiver sent it: one line for each fix epoch.

    Degrees are WGS 84, altitude is metres above mean sea level, speed m/s, course degrees true.
    With --json one object per line; null is what the receiver did not say. checksum_errors counts
    what had to be refused since the epoch before.
    """
    if not as_json:
        click.echo(_LINE.format(*_HEAD))
    for epoch in decode_file(file):
        facts = _facts(epoch)
        click.echo(json.dumps(facts) if as_json else _line(facts))


def _facts(epoch: Epoch) -> dict[str, Any]:
    return {
        "utc": words.utc(epoch.utc_ns),
        "lat_deg": epoch.latitude_deg,
        "lon_deg": epoch.longitude_deg,
        "alt_m": epoch.altitude_m,
        "speed_mps": epoch.speed_mps,
        "course_deg": epoch.course_deg,
        "fix": epoch.fix,
        "satellites": epoch.satellites,
        "hdop": epoch.hdop,
        "sentences": epoch.sentences,
        "checksum_errors": epoch.checksum_errors,
    }


def _line(facts: dict[str, Any]) -> str:
    def number(key: str, digits: int) -> str:
        value = facts[key]
        return "-" if value is None else f"{value:.{digits}f}"

    refused = facts["checksum_errors"]
    line = _LINE.format(
        facts["utc"] or "-",
        number("lat_deg", 7),
        number("lon_deg", 7),
        number("alt_m", 1),
        number("speed_mps", 2),
        number("course_deg", 1),
        facts["fix"],
        number("satellites", 0),
        number("hdop", 1),
    )
    return f"{line}  {refused} refused" if refused else line
