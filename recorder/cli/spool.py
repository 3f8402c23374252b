"""`recorder spool`: what the spool holds and how long the disk lasts; or the spool's process."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

import click
from rich.text import Text

from recorder import status
from recorder.cli import options, words
from recorder.cli.console import console, print_json, table
from recorder.cli.live import SILENT_S
from recorder.cli.processes import become
from recorder.cli.sources import open_spool
from recorder.clock import boot_ns
from recorder.configfile import load
from recorder.spool.survey import STATES, survey

if TYPE_CHECKING:
    from pathlib import Path

    from recorder.config import Config
    from recorder.spool.survey import Survey


@click.command()
@options.config
@click.option(
    "--serve", is_flag=True, help="Become the process that writes the spool, as systemd starts it."
)
@options.as_json
def spool(config_file: Path, serve: bool, as_json: bool) -> None:
    """Show what the spool holds, in bytes of the disk, and how long the disk lasts.

    By session, lane and state: pending (the server does not hold it), leased (it is about to be
    sent), delivered, pinned (`recorder pin`), open (being written). When the disk has less than
    spool.free_floor_bytes free, or the spool holds more than spool.max_bytes, delivered segments
    are given up first, then pending ones by the lanes' priority, oldest first, then leased ones.
    """
    config = load(config_file)
    if serve:
        become(config, "recorder.spooler")
    found = survey(open_spool(config.spool.directory), config, _session(config))
    if as_json:
        print_json(found.to_dict())
    else:
        _print(found)


def _session(config: Config) -> dict[str, Any] | None:
    """Return the record of the session that is being recorded now, if one is."""
    sign = status.read(config.spool.run_dir, "spool")
    if sign is None or (boot_ns() - sign["boot_ns"]) / 1e9 > SILENT_S:
        return None
    session: dict[str, Any] | None = sign["session"]
    return session


def _print(found: Survey) -> None:
    shown = table("session", "lane", *STATES, "all", right=(*STATES, "all"))
    for session_id, lanes in groupby(found.holdings, key=lambda one: one.session_id):
        for index, one in enumerate(lanes):
            sizes = [_size(getattr(one, state)) for state in STATES]
            shown.add_row("" if index else session_id[:8], one.lane, *sizes, _size(one.bytes))
    totals = [found.total(state) for state in STATES]
    shown.add_section()
    shown.add_row("all", "", *map(_size, totals), _size(sum(totals)), style="bold")
    out = console()
    out.print(shown)
    most = f"at most {words.size(found.max_bytes)}" if found.max_bytes else "no maximum"
    out.print(f"spool: {words.size(found.bytes)} with its journals, {most}")
    floor = words.size(found.floor_bytes)
    out.print(f"disk: {words.size(found.free_bytes)} free, {floor} of it kept free")
    out.print(f"pins: {words.size(found.total('pinned'))} of {words.size(found.pin_cap_bytes)}")
    if found.pin_excess[0]:
        out.print(Text(_excess(*found.pin_excess), style="red"))
    out.print(_outlook(found))


def _size(size_bytes: int) -> str:
    return words.size(size_bytes) if size_bytes else "-"


def _excess(segments: int, size_bytes: int) -> str:
    return (
        f"pinned beyond that, and kept only while there is room: {words.size(size_bytes)} in "
        f"{segments} segment{'s' * (segments != 1)}; unpin something, or raise spool.pin_share"
    )


def _outlook(found: Survey) -> Text:
    if found.bytes_per_s is None or found.hours is None:
        return Text("Nothing is being recorded.")
    rate = f"at {words.size(found.bytes_per_s)}/s"
    if not found.hours:
        return Text(f"undelivered data is being given up, {rate}", style="red")
    span = words.duration(round(found.hours * 3600e9))
    return Text(
        f"undelivered data is given up in {span}, {rate}, if nothing is delivered meanwhile"
    )
