"""What no single key can tell: names that must be legal on the server, and keys that need others.

Source of the rules for names: the server's own, and the stricter ones of its SDK: a topic begins
with a letter or digit; metadata keys are ``A-Z a-z 0-9 _ -`` and blanks, without ``--``.
"""

from __future__ import annotations

import os
import re
import string
from typing import TYPE_CHECKING

from recorder.config import MIB
from recorder.configfile.supply import of_power
from recorder.configfile.values import near, shown
from recorder.record import lane_id

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from drivers.base import Driver
    from recorder.config import Clock, Lane, Power, Session, Spool, Upload, Vehicle, Web

IDENTIFIER_FIELDS = ("vehicle", "start", "id8")
#: The recorder's own topics are ``recorder/session`` and ``recorder/summary``.
RESERVED_NAMES = ("recorder", "journal")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_SERVER = re.compile(r"grpc(\+tls)?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})")
_MOST_PORT = 65_535
_HOUR = "(?:[01][0-9]|2[0-3]):[0-5][0-9]"
_HOURS = re.compile(f"({_HOUR})-({_HOUR})")
_METADATA_KEY = re.compile(r"[A-Za-z0-9 _-]+")


def of_tables(
    *,
    vehicle: Vehicle,
    session: Session,
    spool: Spool,
    upload: Upload,
    web: Web,
    clock: Clock,
    power: Power,
) -> Iterator[tuple[str, str]]:
    """Yield (key, what is wrong) for everything but the lanes."""
    yield from _metadata("vehicle.metadata", vehicle.metadata)
    yield from _metadata("session.details", session.details)
    yield from _metadata("session.dependencies", session.dependencies)
    yield from _identifier(session.identifier)
    yield from _roll_over(session)
    yield from _spool(spool)
    yield from _server(upload)
    yield from _hours(upload)
    yield from of_power(power)
    if clock.chrony_socket is not None and not clock.chrony_socket.is_absolute():
        yield (
            "clock.chrony_socket",
            f"found {shown(clock.chrony_socket)}; must be an absolute path",
        )


def is_server(url: str) -> bool:
    """Tell whether a server may have this URL: ``grpc://host:port`` or ``grpc+tls://host:port``."""
    form = _SERVER.fullmatch(url)
    return form is not None and 0 < int(form[3]) <= _MOST_PORT


def of_lanes(
    lanes: Sequence[Lane | None], drivers: Sequence[Driver | None]
) -> Iterator[tuple[int, str, str]]:
    """Yield (index of the lane, key, what is wrong) for all lanes together.

    Args:
        lanes: the lanes; None for one whose name is not known.
        drivers: their drivers; None for one that could not be made.
    """
    names: dict[str, int] = {}
    numbers: dict[int, str] = {}
    for index, lane in enumerate(lanes):
        if lane is None:
            continue
        for key, text in _metadata("metadata", lane.metadata):
            yield index, key, text
        wrong = _wrong_name(lane.name, names, numbers)
        if wrong is not None:
            yield index, "name", wrong
        names.setdefault(lane.name, index)
        numbers.setdefault(lane_id(lane.name), lane.name)
    yield from _of_devices(drivers)


def _of_devices(drivers: Sequence[Driver | None]) -> Iterator[tuple[int, str, str]]:
    places: dict[tuple[str, object], int] = {}
    for index, driver in enumerate(drivers):
        place = _place(driver)
        if place is None:
            continue
        other = places.setdefault(place, index)
        if other != index:
            yield index, "device", f"lanes[{other}] has the same device{_at(place)}"


def _wrong_name(name: str, names: dict[str, int], numbers: dict[int, str]) -> str | None:
    if not _NAME.fullmatch(name):
        return f"found {shown(name)}; must be of a-z 0-9 _ - and begin with a letter or digit"
    if name in RESERVED_NAMES:
        return f"found {shown(name)}; this name is kept for the recorder's own topics and files"
    if name in names:
        return f"found {shown(name)}; lanes[{names[name]}] has the same name"
    if lane_id(name) in numbers:
        other = numbers[lane_id(name)]
        return f"found {shown(name)}; its check number is that of lane {other!r}: rename one"
    return None


def _place(driver: Driver | None) -> tuple[str, object] | None:
    device = getattr(driver, "device", None)
    if not isinstance(device, str):
        return None
    real = os.path.realpath(device) if device.startswith("/") else device
    return real, getattr(driver, "address", None)


def _at(place: tuple[str, object]) -> str:
    return f" and address {place[1]:#04x}" if isinstance(place[1], int) else ""


def _metadata(path: str, table: object) -> Iterator[tuple[str, str]]:
    """Yield every key, at any depth, that the server would refuse."""
    if isinstance(table, dict):
        for key, value in table.items():
            if not _METADATA_KEY.fullmatch(key) or "--" in key:
                yield (
                    f"{path}.{key}",
                    "the server refuses this key; must be of A-Z a-z 0-9 _ - and blanks,"
                    " without two - in a row",
                )
            yield from _metadata(f"{path}.{key}", value)
    elif isinstance(table, list):
        for index, value in enumerate(table):
            yield from _metadata(f"{path}[{index}]", value)


def _identifier(template: str) -> Iterator[tuple[str, str]]:
    allowed = " ".join(f"{{{name}}}" for name in IDENTIFIER_FIELDS)
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        yield "session.identifier", f"found {shown(template)}; {error}; allowed: {allowed}"
        return
    for _, name, form, conversion in parts:
        if name is None:
            continue
        if name not in IDENTIFIER_FIELDS or form or conversion:
            yield (
                "session.identifier",
                f"found {{{name}}} in {shown(template)}; {near(name, IDENTIFIER_FIELDS)}",
            )
            return


def _roll_over(session: Session) -> Iterator[tuple[str, str]]:
    if 0 < session.roll_over_bytes < MIB:
        yield (
            "session.roll_over_bytes",
            f"found {session.roll_over_bytes}; must be 0 or at least {MIB}",
        )


def _spool(spool: Spool) -> Iterator[tuple[str, str]]:
    if spool.loss_window_s < spool.commit_interval_s:
        yield (
            "spool.loss_window_s",
            f"found {shown(spool.loss_window_s)}; must be at least spool.commit_interval_s,"
            f" {spool.commit_interval_s}",
        )
    if 0 < spool.max_bytes < 2 * spool.segment_bytes:
        yield (
            "spool.max_bytes",
            f"found {spool.max_bytes}; must be 0 or at least twice spool.segment_bytes,"
            f" {2 * spool.segment_bytes}",
        )
    if "/" in spool.marker or spool.marker in (".", ".."):
        yield (
            "spool.marker",
            f"found {shown(spool.marker)}; must be the name of a file in spool.directory",
        )


def _server(upload: Upload) -> Iterator[tuple[str, str]]:
    if not upload.server:
        if upload.mode != "off":
            yield (
                "upload.server",
                f"is missing; mode {upload.mode!r} needs one, such as 'grpc://host:6726'"
                " (mode 'off' needs none)",
            )
    elif not is_server(upload.server):
        yield (
            "upload.server",
            f"found {shown(upload.server)}; must be grpc://host:port or grpc+tls://host:port",
        )
    elif upload.certificate is not None and not upload.server.startswith("grpc+tls:"):
        yield (
            "upload.certificate",
            f"found {shown(upload.certificate)}; needs a server that begins with grpc+tls://",
        )


def _hours(upload: Upload) -> Iterator[tuple[str, str]]:
    for index, span in enumerate(upload.hours):
        form = _HOURS.fullmatch(span)
        if form is None or form[1] == form[2]:
            yield (
                f"upload.hours[{index}]",
                f"found {shown(span)}; must be two times of the day, such as '22:00-06:00'",
            )
