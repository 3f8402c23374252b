"""Recordings in a spool or on a server: `recorder sessions` and `recorder show`."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import click

from recorder.cli import options
from recorder.cli.console import print_json
from recorder.cli.record import print_list, print_whole
from recorder.cli.sources import from_server, from_spool, open_spool
from recorder.configfile import load
from recorder.configfile.rules import is_server
from recorder.errors import RecorderError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Records = list[dict[str, Any]]


def _source(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that say where to look, and hand it the records there."""

    @options.config
    @click.option(
        "--spool",
        type=options.DIRECTORY,
        help="A spool, or the recorder's directory around it.  [default: from the configuration]",
        show_default=False,
    )
    @click.option("--server", help="A server instead, such as grpc://host:6726.")
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
        if server is not None:
            if not is_server(server):
                raise click.BadParameter(
                    f"--server {server!r}: must be grpc://host:port or grpc+tls://host:port"
                )
            command(records=from_server(server, key_file, certificate), **rest)
        else:
            place = spool or load(config_file).spool.directory
            command(records=from_spool(open_spool(place)), **rest)

    return found


@click.command()
@_source
@options.as_json
def sessions(records: Records, as_json: bool) -> None:
    """List the recordings in a spool or on a server, oldest first."""
    if as_json:
        print_json(records)
    elif records:
        print_list(records)
    else:
        click.echo("No recordings.", err=True)


@click.command()
@click.argument("session_id", metavar="ID")
@_source
@options.as_json
def show(session_id: str, records: Records, as_json: bool) -> None:
    """Show everything that is known of the recording ID (its first characters are enough).

    Samples are counted per lane: expected by the device's own time, acquired, stored durably,
    delivered to the server, still pending there, and lost, each to a cause.
    """
    found = [one for one in records if one["id"].startswith(session_id)]
    if len(found) != 1:
        what = f"{len(found)} recordings begin" if found else "no recording begins"
        raise RecorderError(f"{what} with {session_id!r}; `recorder sessions` lists them")
    if as_json:
        print_json(found[0])
    else:
        print_whole(found[0])
