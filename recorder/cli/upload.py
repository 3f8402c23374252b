"""`recorder upload`: what waits in the spool, sent by hand; or the uploader's process."""

from __future__ import annotations

import dataclasses
import importlib
from typing import TYPE_CHECKING, Any

import click
from rich.text import Text

from recorder.cli import options
from recorder.cli.console import console, print_json, progress
from recorder.cli.processes import become
from recorder.configfile import check_files, load

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from recorder.uploader import Summary


@click.command()
@options.config
@click.option(
    "--server",
    help="Send there, such as grpc://host:6726.  [default: from the configuration]",
    show_default=False,
)
@click.option(
    "--serve", is_flag=True, help="Become the upload process, as systemd starts it, and go on."
)
@options.as_json
def upload(config_file: Path, server: str | None, serve: bool, as_json: bool) -> None:
    """Send every finished recording that waits in the spool to the server, and end.

    What the server refused before is tried again. It may be interrupted and started anew as often
    as needed: nothing is sent twice. Exit code 1: something could not be sent.
    """
    config = load(config_file, {"upload": {"server": server}} if server is not None else None)
    check_files(config)
    if serve:
        become(config, "recorder.uploader")
    uploader = importlib.import_module("recorder.uploader")  # pyarrow is not for `become`
    with progress("sending") as show:
        summary = uploader.upload_once(config, _bar(show))
    if as_json:
        print_json(dataclasses.asdict(summary))
    else:
        _print(summary)
    raise SystemExit(1 if summary.parked else 0)


def _bar(show: Callable[[int, int], None]) -> Callable[[dict[str, Any]], None]:
    """Return what turns a backlog that shrinks into a bar that grows."""
    most_bytes = 0

    def tell(facts: dict[str, Any]) -> None:
        nonlocal most_bytes
        most_bytes = max(most_bytes, facts["backlog_bytes"])
        show(most_bytes - facts["backlog_bytes"], most_bytes)

    return tell


def _print(summary: Summary) -> None:
    out = console()
    for session_id, server in summary.before.items():
        out.print(f"{session_id}: was delivered before{f' (to {server})' if server else ''}")
    for session_id in summary.done:
        out.print(Text(f"{session_id}: on the server", "green"))
    for session_id, reason in summary.parked.items():
        out.print(Text(f"{session_id}: refused: {reason}", "red"))
    if not summary.done and not summary.parked:
        out.print("Nothing waits to be sent.")
