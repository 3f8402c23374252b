"""`recorder export`: one recording of a spool as files for a laptop."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click
from rich.text import Text

from recorder.cli import options, words
from recorder.cli.console import console, print_json, progress, table
from recorder.cli.sources import open_spool
from recorder.configfile import load
from recorder.export import FORMATS, Export, export_session
from recorder.spool.watermark import Watermark


@click.command()
@click.argument("session", metavar="ID")
@click.option(
    "--to",
    "target",
    type=options.DIRECTORY,
    help="Folder for the files; made, or empty.  [default: the ID's first eight characters]",
)
@click.option("--format", "form", type=click.Choice(list(FORMATS)), default="parquet", help="Form.")
@options.config
@click.option(
    "--spool",
    "place",
    type=options.DIRECTORY,
    help="A spool, or the recorder's directory around it, such as a pulled card.  [default: from"
    " the configuration]",
)
@options.as_json
def export(
    *,
    session: str,
    target: Path | None,
    form: str,
    config_file: Path,
    place: Path | None,
    as_json: bool,
) -> None:
    """Write recording ID (its first characters are enough) of a spool as files.

    One Parquet or CSV file for each lane, its pictures as JPEG files beside a CSV, or all of it as
    one MCAP file, which Foxglove opens (needs the extra `mcap`); and `session.json`: the session
    record, its marks, and what was written. Needs no server and no recorder; nothing in the spool
    is changed. Exit code 1: something of it could not be read.
    """
    water = None
    if place is None:
        config = load(config_file)
        place, water = config.spool.directory, Watermark.read(config.watermark_file)
    spool = open_spool(place)
    session_id = spool.find(session)
    folder = target or Path(session_id[:8])
    with progress("writing") as show:
        found = export_session(spool, session_id, folder, form, water=water, progress=show)
    if as_json:
        print_json({**dataclasses.asdict(found), "is_whole": found.is_whole})
    else:
        _print(found)
    raise SystemExit(0 if found.is_whole else 1)


def _print(found: Export) -> None:
    shown = table("lane", "rows", "missing", "files", right=("rows", "missing"))
    for one in found.lanes:
        names = ", ".join(one.files) or "-"
        shown.add_row(one.lane, words.count(one.rows), words.count(one.missing), names)
    out = console()
    out.print(shown)
    for one in found.lanes:
        for name in one.unreadable:
            out.print(Text(f"{one.lane}: {name} cannot be read; nothing of it is in the files"))
        if one.error:
            out.print(Text(f"{one.lane}: {one.error}", style="red"))
    bound = (
        "" if found.uncertainty_ns is None else f", true to {found.uncertainty_ns / 1e6:,.3g} ms"
    )
    out.print(f"{found.directory}: written (clock: {found.clock_source}{bound})")
