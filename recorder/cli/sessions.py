"""Recordings in a spool or on a server: `recorder sessions` and `recorder show`."""

from __future__ import annotations

import functools
import importlib
from typing import TYPE_CHECKING, Any

import click

from recorder.cli import options, words
from recorder.cli.console import console, print_json, state, table
from recorder.cli.record import print_list, print_whole, quality, rows
from recorder.cli.sources import from_spool, open_spool
from recorder.configfile import load
from recorder.configfile.rules import is_server
from recorder.errors import RecorderError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    Records = list[dict[str, Any]]

_DAY_S = 86_400


def server_url(_ctx: click.Context, option: click.Parameter, url: str | None) -> str | None:
    """Check a server's URL."""
    if url is not None and not is_server(url):
        told = f"{option.opts[0]} {url!r}: must be grpc://host:port or grpc+tls://host:port"
        raise click.BadParameter(told)
    return url


def _source(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that say where to look, and hand it what gets the records.

    That takes how many days ago a recording on a server may have ended, None for any number.
    """

    @options.config
    @click.option(
        "--spool",
        type=options.DIRECTORY,
        help="A spool, or the recorder's directory around it.  [default: from the configuration]",
        show_default=False,
    )
    @click.option(
        "--server",
        metavar="URL",
        callback=server_url,
        help="A server instead, such as grpc://host:6726.",
    )
    @options.key_file
    @options.certificate
    @functools.wraps(command)
    def found(
        config_file: Path,
        spool: Path | None,
        server: str | None,
        key_file: Path | None,
        certificate: Path | None,
        **rest: Any,  # noqa: ANN401 - the command's own options
    ) -> None:
        if server is not None and spool is not None:
            raise click.UsageError("--spool and --server exclude each other")

        def records(ended_within_days: float | None = None) -> Records:
            if server is not None:
                return _from_server(server, key_file, certificate, ended_within_days)
            return from_spool(open_spool(spool or load(config_file).spool.directory))

        command(records=records, **rest)

    return found


def _from_server(
    url: str, key_file: Path | None, certificate: Path | None, ended_within_days: float | None
) -> Records:
    observe = importlib.import_module("recorder.ground.observe")  # 50 MB that a spool can spare
    within_s = None if ended_within_days is None else ended_within_days * _DAY_S
    with observe.Observer(observe.Address(url, key_file, certificate)) as observer:
        found = [seen.to_dict() for seen in observer.recordings(within_s)]
    return sorted(found, key=lambda one: one["start_utc_ns"] or 0)


@click.command()
@_source
@click.option(
    "--ended-within",
    "days",
    type=click.FloatRange(min=0),
    help="Of those on a server that have ended, only what came in within so many days."
    "  [default: all]",
    show_default=False,
)
@options.as_json
def sessions(records: Callable[..., Records], days: float | None, as_json: bool) -> None:
    """List the recordings in a spool or on a server, oldest first.

    Of one on a server it is told whether it is live (recorded, and heard of), stale (recorded, and
    three of the promised signs of life are missing), draining (no longer recorded; the rest waits
    on the vehicle), ended, or abandoned (see `recorder watch`).
    """
    found = records(days)
    if as_json:
        print_json(found)
    elif not found:
        click.echo("No recordings.", err=True)
    elif "life" in found[0]:
        print_seen(found)
    else:
        print_list(found)


def print_seen(records: Iterable[dict[str, Any]]) -> None:
    """Print one line for each recording of a server."""
    shown = table(
        "id", "vehicle", "life", "heard of", "state", "start (UTC)", "duration", "quality", "rows",
        right=("duration", "rows"),
    )  # fmt: skip
    for one in records:
        shown.add_row(
            one["id"][:8],
            one["vehicle"],
            state(one["life"]),
            f"{words.duration(round(one['silent_s'] * 1e9))} ago",
            state(one["state"]),
            (words.utc(one["start_utc_ns"]) or "-")[:19].replace("T", " "),
            words.duration(one["duration_ns"]),
            quality(one),
            words.count(rows(one)),
        )
    console().print(shown)


@click.command()
@click.argument("session_id", metavar="ID")
@_source
@options.as_json
def show(session_id: str, records: Callable[..., Records], as_json: bool) -> None:
    """Show everything that is known of the recording ID (its first characters are enough).

    Samples are counted per lane: expected by the device's own time, acquired, stored durably,
    delivered to the server, still pending there, and lost, each to a cause.
    """
    found = [one for one in records() if one["id"].startswith(session_id)]
    if len(found) != 1:
        what = f"{len(found)} recordings begin" if found else "no recording begins"
        raise RecorderError(f"{what} with {session_id!r}; `recorder sessions` lists them")
    if as_json:
        print_json(found[0])
    else:
        print_whole(found[0])
