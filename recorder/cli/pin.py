"""`recorder pin` and `recorder unpin`: what is kept whatever the disk needs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from recorder.cli import options, words
from recorder.cli.sources import open_spool
from recorder.command import ask
from recorder.configfile import load
from recorder.errors import SpoolError
from recorder.spool import pinning
from recorder.spool.quota import LEARN_BYTES, Room

if TYPE_CHECKING:
    from pathlib import Path

    from recorder.config import Config


@click.command()
@click.argument("session_id", metavar="ID")
@click.option("--from", "from_s", type=float, help="Seconds from its start.  [default: its start]")
@click.option("--to", "to_s", type=float, help="Seconds from its start.  [default: its end]")
@options.config
def pin(session_id: str, from_s: float | None, to_s: float | None, config_file: Path) -> None:
    """Keep recording ID (its first characters are enough), or a stretch of it, on this disk.

    What is pinned is never given up for space, not even when the server holds it. All pins together
    may hold spool.pin_share of the disk; a pin beyond that is refused. A recording that goes on
    growing is held from its oldest part up to that share.
    """
    asked = {"start": session_id, "from_s": from_s, "to_s": to_s}
    found = _order(load(config_file), "pin", asked)
    click.echo(
        f"{found['id']}: pinned, {words.size(found['session_bytes'])} so far; pins hold"
        f" {words.size(found['pinned_bytes'])} of {words.size(found['cap_bytes'])}"
    )
    if found["is_growing"]:
        left = words.size(found["cap_bytes"] - found["pinned_bytes"])
        click.echo(
            f"It is still being recorded: {left} more will be held; what comes behind that is kept"
            " only while there is room (`recorder spool` tells)."
        )


@click.command()
@click.argument("session_id", metavar="ID")
@options.config
def unpin(session_id: str, config_file: Path) -> None:
    """Take every pin of recording ID back: it may be given up again when space is needed."""
    found = _order(load(config_file), "unpin", {"start": session_id})
    click.echo(f"{found['id']}: not pinned any more, {words.size(found['session_bytes'])}")


def _order(config: Config, name: str, asked: dict[str, Any]) -> dict[str, Any]:
    """Have it done by the process that writes the spool; if there is none, do it here."""
    spool = open_spool(config.spool.directory)
    try:
        lock = spool.hold()
    except SpoolError:
        return ask(config.command_socket, name, **asked)
    try:
        room = Room(spool, config)
        while not room.stock.is_complete:
            room.stock.learn(LEARN_BYTES)
        done: dict[str, Any] = getattr(pinning, name)(room, None, **asked)
        return done
    finally:
        os.close(lock)
