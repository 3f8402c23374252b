"""`recorder audit`: a recording's ledger, added up again from its rows."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.text import Text

from recorder.cli import options, words
from recorder.cli.console import console, print_json, table
from recorder.cli.sources import open_spool
from recorder.configfile.rules import is_server
from recorder.errors import RecorderError

if TYPE_CHECKING:
    from recorder.audit import Audit, LaneAudit

_SHOWN = ("expected", "acquired", "stored", "delivered", "pending", "in_ring")
_CANNOT_READ = 2


@click.command()
@click.argument("place", metavar="SPOOL|URL")
@click.argument("session_id", metavar="ID")
@options.key_file
@options.certificate
@options.as_json
def audit(
    place: str, session_id: str, key_file: Path | None, certificate: Path | None, as_json: bool
) -> None:
    """Add the ledger and the quality of the recording ID up again, from its rows alone.

    SPOOL is a spool, or the recorder's directory around it; URL a server, such as
    grpc://host:6726. ID may be its first characters. Nothing is changed. What adds up shares no
    code with what recorded, but the readers of the formats. A recording that runs is compared as
    of its newest heartbeat.

    Per lane, the first line says what is recorded and the second what its rows say. Exit code 0:
    equal; 1: not equal, and where; 2: it cannot be read.
    """
    try:
        found = _audit(place, session_id, key_file, certificate)
    except (RecorderError, OSError) as error:
        click.echo(f"Error: {error}", err=True)
        raise SystemExit(_CANNOT_READ) from error
    if as_json:
        print_json(found.to_dict())
    else:
        _print(found)
    raise SystemExit(0 if found.is_equal else 1)


def _audit(place: str, session_id: str, key_file: Path | None, certificate: Path | None) -> Audit:
    if not is_server(place):
        of_spool = importlib.import_module("recorder.audit.of_spool")
        by_spool: Audit = of_spool.audit_spool(open_spool(Path(place)).directory, session_id)
        return by_spool
    observe = importlib.import_module("recorder.ground.observe")  # 50 MB that a spool can spare
    of_server = importlib.import_module("recorder.audit.of_server")
    with observe.Address(place, key_file, certificate).connect() as client:
        by_server: Audit = of_server.audit_server(client, session_id)
    return by_server


def _print(found: Audit) -> None:
    out = console()
    shown = table("lane", "", *_SHOWN, "lost", right=_SHOWN, title=f"{found.id}: {found.state}")
    for lane in found.lanes:
        shown.add_row(lane.name, "recorded", *_recorded(lane))
        shown.add_row("", "by rows", *_by_rows(lane))
    out.print(shown)
    for title, told in (("recorded", found.quality), ("by rows", found.found_quality)):
        out.print(f"quality {title}: {_quality(told)}")
    if found.standing:
        out.print(f"quality now, {found.state} as it stays: {_quality(found.standing)}")
    for text in found.notes:
        out.print(Text(f"note: {text}", style="dim"))
    for text in found.all_differences:
        out.print(Text(text, style="red"))
    word = Text("equal", "bold green") if found.is_equal else Text("NOT equal", "bold red")
    out.print("recorded and added up again:", word)


def _recorded(lane: LaneAudit) -> list[str | Text]:
    lost = {key: n for key, n in lane.recorded.items() if key.startswith("lost_") and n}
    return [*(words.count(lane.recorded[key]) for key in _SHOWN), _lost(lost)]


def _by_rows(lane: LaneAudit) -> list[str | Text]:
    told = lane.found.to_dict()
    lost = {key: n for key, n in told.items() if key.startswith("lost_") and n}
    cells = []
    for key in _SHOWN:
        least, most = lane.found.bounds(key)
        is_equal = least <= lane.recorded[key] <= most
        cells.append(Text(_count(told.get(key)), style="" if is_equal else "red"))
    return [*cells, _lost(lost)]


def _count(told: int | list[int | None] | None) -> str:
    """Return a count; of one that is only known within bounds, these."""
    if not isinstance(told, list):
        return words.count(told)
    least, most = told
    return f"{words.count(least)} {'or more' if most is None else f'to {words.count(most)}'}"


def _lost(lost: dict[str, Any]) -> str:
    told = [f"{key.removeprefix('lost_')} {_count(n)}" for key, n in lost.items()]
    return ", ".join(told) or "-"


def _quality(told: dict[str, Any]) -> str:
    value = f"{told['quality']:.4f} {told['quality_basis']}{words.worst(told)}"
    return f"{value}, at least {told['quality_lower']:.4f}"
