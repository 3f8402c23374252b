"""`recorder check`: what the configuration means, and whether this machine can record so."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.text import Text

from recorder.box.checkup import check_box
from recorder.cli import options, words
from recorder.cli.console import console, print_json, state, table
from recorder.cli.look import bus_loads, look
from recorder.cli.toml_text import resolved, toml
from recorder.columns import UnmappableError, arrow_schema
from recorder.configfile import check_files, load
from recorder.configfile.place import room_bytes, spool_problems
from recorder.devices import make_driver
from recorder.errors import ConfigError, SpoolError
from recorder.gpio import open_line
from recorder.partition import is_mount
from recorder.schema import LaneSchema
from recorder.spool.dependencies import Dependencies, content_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from recorder.box.checkup import Checkup
    from recorder.cli.look import Look
    from recorder.config import Config

#: Above this share a bus has no room for a repeated transfer or a longer sentence.
_MOST_LOAD = 0.9
_HOUR_S = 3600


@click.command()
@options.config
@options.as_json
def check(config_file: Path, as_json: bool) -> None:
    """Print the resolved configuration, and open every device once.

    Says for each device whether it is there and who it is, how much of its bus it needs, and for
    all together what they write and for how many hours the spool has room. A device that a running
    recorder has open is not touched. Then the box itself: buses and serial lines, who else uses
    them, permissions, the disk and how long its commits take (some seconds of writing, nothing
    while a recorder runs), clock, watchdog, supply; each line says what was found, what is wanted,
    and what mends it. As root it sees everything. Exit code 1: a required device is missing, a bus
    is too slow, the spool cannot be written, the server's data model has no place for a lane's
    values, a key, a certificate, a dependency or an input cannot be used, or the box cannot hold
    what it promises; advice (yellow) leaves it 0.
    """
    config = load(config_file)
    looks = [look(config, one) for one in config.lanes]
    storage = _storage(config, looks)
    box = check_box(config, storage["bytes_per_s"])
    findings = [
        *_findings(looks),
        *spool_problems(config),
        *_unusable(config),
        *_not_for_the_server(config),
        *_missing(config),
        *_lines(config),
        *(str(one) for one in box.findings if one.is_error),
    ]
    notes = _notes(config) + [str(one) for one in box.findings if not one.is_error]
    if as_json:
        facts = {
            "config": resolved(config),
            "devices": [dataclasses.asdict(one) for one in looks],
            "bus_loads": bus_loads(looks),
            **storage,
            "disk": box.disk and dataclasses.asdict(box.disk),
            "disk_speed": dataclasses.asdict(box.speed),
            "box": [dataclasses.asdict(one) for one in box.findings],
            "findings": findings,
            "notes": notes,
        }
        print_json(facts)
    else:
        click.echo(toml(resolved(config)))
        _print(looks, storage)
        _print_box(box, findings, notes)
    code = 1 if findings else 0
    if any(one.state == "stuck" for one in looks):
        sys.stdout.flush()
        os._exit(code)  # the usual end would stop a dead camera, and wait for it for ever
    raise SystemExit(code)


def _storage(config: Config, looks: Sequence[Look]) -> dict[str, float]:
    bytes_per_s = sum(one.bytes_per_s for one in looks)
    free_bytes = room_bytes(config)
    return {
        "bytes_per_s": round(bytes_per_s),
        "gb_per_h": round(bytes_per_s * _HOUR_S / 1e9, 3),
        "room_bytes": free_bytes,
        "spool_h": round(free_bytes / bytes_per_s / _HOUR_S, 1),
    }


def _findings(looks: Sequence[Look]) -> list[str]:
    found = [f"lane {one.lane}: {one.state}: {_why(one)}" for one in looks if one.is_missing]
    for bus, share in bus_loads(looks).items():
        if share > _MOST_LOAD:
            found.append(f"{bus}: needs {share:.0%} of what it can carry; lower a rate or raise it")
    return found


def _notes(config: Config) -> list[str]:
    """Return what is no finding and should be known, a sentence each."""
    place = config.spool.directory
    if place.exists() and is_mount(place):
        return []
    return [
        "the spool shares its disk with other programs: commits take more flushes than on a"
        f" partition of its own, mounted at {place}"
    ]


def _unusable(config: Config) -> list[str]:
    """Return what the upload cannot use of the files that the configuration names."""
    try:
        check_files(config)
    except ConfigError as error:
        return str(error).splitlines()
    return []


def _missing(config: Config) -> list[str]:
    """Return what the sessions would name and nobody could read."""
    named = config.session.dependencies
    ids = {kind: [one for one in ids if not one.startswith("/")] for kind, ids in named.items()}
    absent = Dependencies(config.dependencies_dir).missing(ids)
    return [
        *(f"dependency {kind} {one}: not whole in the store" for kind, one in _pairs(absent)),
        *(f"{key}: found {why}" for key, file in _files(config) if (why := _unreadable(file))),
    ]


def _files(config: Config) -> list[tuple[str, Path]]:
    """Return each file that the sessions take with them, and the key that names it."""
    files = [
        (f"session.dependencies.{kind}", Path(one))
        for kind, one in _pairs(config.session.dependencies)
        if one.startswith("/")
    ]
    for index, lane in enumerate(config.lanes):
        for kind, file in make_driver(lane).documents.items():
            files.append((f"lanes[{index}].{kind} (lane {lane.name!r})", file))
    return files


def _unreadable(file: Path) -> str:
    try:
        content_of(file)
    except SpoolError as error:
        return str(error)
    return ""


def _pairs(named: Mapping[str, Sequence[str]]) -> list[tuple[str, str]]:
    return [(kind, one) for kind, ids in named.items() for one in ids]


def _lines(config: Config) -> list[str]:
    """Return which inputs of rules and supply cannot be read, and why."""
    found: list[str] = []
    lines = [one.line for one in config.rules if one.line]
    for spec in dict.fromkeys([*lines, *config.power.inputs.values()]):
        try:
            with contextlib.closing(open_line(spec)) as line:
                line.read()
        except OSError as error:
            if error.errno != errno.EBUSY:  # the recorder that runs has it
                found.append(f"line {spec}: {error.strerror}")
    return found


def _not_for_the_server(config: Config) -> list[str]:
    """Return which lanes the uploader could not turn into their topic's columns, and why."""
    found: list[str] = []
    for one in config.lanes if config.upload.mode != "off" else ():
        try:
            arrow_schema(LaneSchema.of(one.name, make_driver(one)))
        except UnmappableError as error:
            found.append(str(error))
    return found


def _why(one: Look) -> str:
    return one.error or f"{one.place} gave nothing in 2.5 s"


def _print(looks: Sequence[Look], storage: dict[str, float]) -> None:
    shown = table("lane", "device", "state", "rate", "writes", right=("rate", "writes"))
    for one in looks:
        optional = "" if one.required else ", optional"
        shown.add_row(
            one.lane,
            f"{one.driver} {one.place}",
            state(one.state) + Text(f"{optional}{_who(one.device)}"),
            f"{one.rate_hz:g} Hz" if one.rate_hz else "events",
            f"{'' if one.is_measured else 'about '}{words.size(one.bytes_per_s)}/s",
        )
    out = console()
    out.print(shown)
    for bus, share in bus_loads(looks).items():
        out.print(f"{bus}: {share:.0%} of what it can carry")
    out.print(
        f"all lanes: {storage['bytes_per_s'] / 1e6:.2f} MB/s, {storage['gb_per_h']:.2f} GB/h;"
        f" the spool has room for {storage['spool_h']:,.0f} h ({words.size(storage['room_bytes'])})"
    )


def _print_box(box: Checkup, findings: Sequence[str], notes: Sequence[str]) -> None:
    out = console()
    if box.disk is not None:
        out.print(f"disk: {box.disk}")
    out.print(f"{box.speed}")
    for style, texts in (("yellow", notes), ("red", findings)):
        for text in texts:
            out.print(Text(text, style=style))
    out.print(
        Text("ready to record", "bold green") if not findings else Text("NOT ready", "bold red")
    )


def _who(device: dict[str, Any]) -> str:
    names = [str(device[key]) for key in ("vendor", "model", "firmware") if device.get(key)]
    return f": {' '.join(names)}" if names else ""
