"""`recorder verify`: every record of a spool, read and checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from rich.text import Text

from recorder.cli import options, words
from recorder.cli.console import console, print_json, progress, state, table
from recorder.cli.sources import open_spool
from recorder.spool.verify import verify as verify_spool

if TYPE_CHECKING:
    from pathlib import Path

    from recorder.spool.findings import LaneCheck, SpoolCheck


@click.command()
@click.argument("directory", metavar="SPOOL", type=options.DIRECTORY)
@options.as_json
def verify(directory: Path, as_json: bool) -> None:
    """Read every record in SPOOL, and check lengths, checksums, places and sequence numbers.

    SPOOL is a spool or the recorder's directory around it; nothing in it is changed. Per lane: rows
    held; rows lost, as the recording itself accounts for; rows missing, which nothing accounts
    for; torn bytes, which a power cut leaves at the very end and which cost nothing committed;
    damaged stretches. Exit code 1: something is damaged or missing.
    """
    spool = open_spool(directory)
    with progress("reading") as show:
        found = verify_spool(spool.directory, show)
    if as_json:
        print_json(found.to_dict())
    else:
        _print(found)
    raise SystemExit(0 if found.is_sound else 1)


def _print(found: SpoolCheck) -> None:
    numbers = ("rows", "lost", "missing", "torn", "damaged")
    shown = table("session", "lane", *numbers, "verdict", right=numbers)
    for session in found.sessions:
        for lane in session.lanes:
            shown.add_row(session.id[:8], lane.lane, *_numbers(lane), _verdict(lane.is_sound))
        if not session.lanes:
            shown.add_row(session.id[:8], "-", *["-"] * len(numbers), _verdict(session.is_sound))
    out = console()
    out.print(shown)
    for text in _problems(found):
        out.print(Text(text, style="red"))
    for one in found.sessions:
        if one.given_up:
            told = f"{words.count(one.given_up)} samples given up since it ended"
            out.print(f"{one.id[:8]}: {told}; its state stays {one.state}")
    for text in found.unknown:
        out.print(Text(f"{text}: not the recorder's; left alone", style="yellow"))
    count = f"{len(found.sessions)} session{'s' * (len(found.sessions) != 1)}"
    out.print(
        f"{count}, {words.size(found.bytes)} read:",
        Text("sound", "bold green") if found.is_sound else Text("NOT sound", "bold red"),
    )


def _verdict(is_sound: bool) -> Text:
    return state("sound" if is_sound else "damaged")


def _numbers(lane: LaneCheck) -> list[str]:
    return [
        words.count(lane.rows),
        words.count(lane.lost_ring + lane.evicted + lane.torn),
        words.count(lane.missing),
        words.size(lane.torn_bytes) if lane.torn_bytes else "-",
        words.count(lane.damaged_records),
    ]


def _problems(found: SpoolCheck) -> list[str]:
    problems = list(found.problems)
    for session in found.sessions:
        problems += session.problems
        for lane in session.lanes:
            problems += lane.problems
    return problems
