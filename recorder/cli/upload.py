"""`recorder upload`: what waits in the spool, sent by hand; or the uploader's process."""

from __future__ import annotations

import dataclasses
import importlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from recorder.cli import options, words
from recorder.cli.console import console, print_json
from recorder.cli.processes import become
from recorder.cli.record import losses
from recorder.configfile import check_files, load
from recorder.upload import wake

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from recorder.config import Config
    from recorder.upload.compare import Compared
    from recorder.uploader import Summary

#: Runs of samples that are named one by one; `--json` tells all.
_MOST_RUNS = 5


@click.command()
@click.argument("session_id", metavar="[ID]", default="")
@options.config
@click.option(
    "--server",
    help="Send there, such as grpc://host:6726.  [default: from the configuration]",
    show_default=False,
)
@click.option("--once", "way", flag_value="once", default=True, help="Send, and end: the default.")
@click.option(
    "--serve",
    "way",
    flag_value="serve",
    help="Become the upload process, as systemd starts it, and go on.",
)
@click.option(
    "--now", "way", flag_value="now", help="Wake the upload process that runs, and do no more."
)
@click.option(
    "--verify-all",
    "way",
    flag_value="verify",
    help="Send nothing: read back all that the server got, or all of ID, and compare it row by row"
    " with what the spool still holds.",
)
@click.option(
    "--over-cap",
    is_flag=True,
    help="Send ID although the month's bytes are used up; with --now: let the process that runs.",
)
@click.option(
    "--anew",
    is_flag=True,
    help="Send all of ID that the spool still holds: another server got it, or some of it, or this"
    " one has lost some since. Where it still has all, nothing is sent.",
)
@options.as_json
def upload(config_file: Path, way: str, as_json: bool, **asked: Any) -> None:  # noqa: ANN401 - click gives options by name
    """Send every finished recording that waits in the spool to the server, and end.

    With ID (its first characters are enough) only that one. What the server refused before is tried
    again. It may be interrupted and started anew as often as needed: nothing is sent twice. Exit
    code 1: something could not be sent, or is not on the server as it was sent.
    """
    server, session_id = asked["server"], asked["session_id"]
    if (asked["over_cap"] or asked["anew"]) and not session_id:
        raise click.UsageError("--over-cap and --anew need the ID of a recording")
    if asked["anew"] and way != "once":
        raise click.UsageError("--anew sends at once: neither --now, --serve nor --verify-all")
    config = load(config_file, {"upload": {"server": server}} if server is not None else None)
    if way == "serve":  # it tells by itself what is wrong with these files, and looks again
        become(config, "recorder.uploader")
    check_files(config)
    if way == "now":
        _wake(config, session_id if asked["over_cap"] else "")
        return
    ok = _verify(config, session_id, as_json) if way == "verify" else _send(config, asked, as_json)
    raise SystemExit(0 if ok else 1)


def _wake(config: Config, over_cap: str) -> None:
    order = (wake.OVER_CAP, over_cap) if over_cap else (wake.NOW,)
    wake.tell(config.spool.run_dir / wake.SOCKET, *order)


def _send(config: Config, asked: dict[str, Any], as_json: bool) -> bool:
    uploader = importlib.import_module("recorder.uploader")  # pyarrow is not for `become`
    with _progress("sending") as bar:
        session_id, anew = asked["session_id"], asked["session_id"] if asked["anew"] else ""
        wish = uploader.Asked(session_id, anew=anew, over_cap=asked["over_cap"])
        summary = uploader.upload_once(config, _shown(bar), wish)
    if as_json:
        print_json(dataclasses.asdict(summary))
    else:
        _print(summary)
    return not summary.parked


def _verify(config: Config, session_id: str, as_json: bool) -> bool:
    uploader = importlib.import_module("recorder.uploader")
    with _progress("reading back") as bar:
        task = bar.add_task("", total=None, rows="")
        found = uploader.verify_all(config, lambda size: bar.advance(task, size), session_id)
    if as_json:
        print_json({key: dataclasses.asdict(one) for key, one in found.items()})
    else:
        _print_compared(found)
    return not any(one.wrong for one in found.values())


@contextmanager
def _progress(what: str) -> Iterator[Progress]:
    err = Console(stderr=True)
    columns = (
        TextColumn(what),
        BarColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[rows]}"),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        yield bar


def _shown(bar: Progress) -> Callable[[dict[str, Any]], None]:
    """Return what turns a backlog that shrinks into a bar that grows."""
    task = bar.add_task("", total=None, rows="")
    most_bytes = 0

    def tell(facts: dict[str, Any]) -> None:
        nonlocal most_bytes
        most_bytes = max(most_bytes, facts["backlog_bytes"])
        left_bytes = max(0, facts["backlog_bytes"] - facts["way_bytes"])
        rows = f"{words.count(facts['backlog_rows'])} samples left"
        bar.update(task, completed=most_bytes - left_bytes, total=most_bytes, rows=rows)

    return tell


def _print(summary: Summary) -> None:
    out = console()
    for session_id, server in summary.before.items():
        out.print(f"{session_id}: was delivered before{f' (to {server})' if server else ''}")
    for session_id in summary.done:
        out.print(Text(f"{session_id}: on the server", "green"))
        for lane, causes in summary.lacking.get(session_id, {}).items():
            out.print(Text(f"  {lane}: without samples of the spool: {losses(causes)}", "yellow"))
    for session_id, reason in summary.parked.items():
        out.print(Text(f"{session_id}: refused: {reason}", "red"))
    if not summary.done and not summary.parked:
        out.print("Nothing waits to be sent.")


def _print_compared(found: dict[str, Compared]) -> None:
    out = console()
    for session_id, one in found.items():
        rows = f"{words.count(one.rows)} rows compared"
        if one.digest_rows:
            rows += f", {words.count(one.digest_rows)} more by their digest"
        if one.unknown_rows:
            rows += f", {words.count(one.unknown_rows)} not: nobody kept their digest"
        good = f"{session_id}: {one.sequence}: {rows}"
        out.print(Text(f"{good}, all as sent", "green") if not one.wrong else good)
        for topic, runs in one.gone.items():
            out.print(Text(f"  {topic}: {_gone(runs)}", "dim"))
        for wrong in one.wrong:
            out.print(Text(f"  {wrong}", "red"))
    if not found:
        out.print("Nothing was sent to this server.")


def _gone(runs: list[tuple[int, int]]) -> str:
    rows = sum(last - first + 1 for first, last in runs)
    named = [f"{first} to {last}" if first < last else f"{first}" for first, last in runs]
    more = f" and {len(runs) - _MOST_RUNS} more runs" if len(runs) > _MOST_RUNS else ""
    numbers = ", ".join(named[:_MOST_RUNS]) + more
    return f"the spool does not give {words.count(rows)} samples any more: {numbers}"
