"""`recorder ground`: the ground station in the foreground."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import click

from recorder.cli import options
from recorder.ground import DEFAULT_PORT
from recorder.ground import run as run_station
from recorder.ground.database import Database
from recorder.ground.keys import PERMISSIONS, Keys
from recorder.service import stop_on_signals


@click.command()
@click.option(
    "--dir",
    "directory",
    type=options.DIRECTORY,
    default=Path("ground"),
    help="Where recordings and catalogue lie; made if it is missing.",
)
@click.option(
    "--host",
    default="127.0.0.1",
    help="Address to listen on; 0.0.0.0 is every network of this machine.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=DEFAULT_PORT,
    help="TCP port; 0 takes a free one.",
)
@click.option("--check-keys", is_flag=True, help="Ask every client for an API key.")
@click.option(
    "--new-key",
    metavar="PERMISSIONS",
    help="Make an API key for --check-keys, print it for the only time, and end."
    " PERMISSIONS are some of read,write,delete.",
)
@click.option("--certificate", type=options.EXISTING_FILE, help="PEM certificate: serve over TLS.")
@click.option("--private-key", type=options.EXISTING_FILE, help="PEM private key of it.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print the URL, or the key, as a JSON object."
)
def ground(
    *,
    directory: Path,
    host: str,
    port: int,
    check_keys: bool,
    new_key: str | None,
    certificate: Path | None,
    private_key: Path | None,
    as_json: bool,
) -> None:
    """Run a ground station: a Mosaico-compatible server for a bench or a depot's laptop.

    The first line printed is the URL to put into the recorder's configuration (upload.server). It
    serves until Ctrl-C or SIGTERM.
    """
    if new_key is not None:
        key = _make_key(directory, new_key.split(","))
        click.echo(json.dumps({"key": key}) if as_json else key)
        return
    if (certificate is None) != (private_key is None):
        raise click.UsageError("--certificate and --private-key belong together")
    tls = None
    if certificate is not None and private_key is not None:
        tls = (certificate.read_bytes(), private_key.read_bytes())

    def ready(url: str) -> None:
        click.echo(json.dumps({"url": url}) if as_json else url)

    asked, stop = stop_on_signals(), threading.Event()

    def pass_on() -> None:
        asked.wait()
        stop.set()

    # A signal's handler must not set an Event that the same thread is waiting for.
    threading.Thread(target=pass_on, daemon=True).start()
    run_station(directory, host, port, stop, check_keys=check_keys, tls=tls, ready=ready)


def _make_key(directory: Path, permissions: list[str]) -> str:
    unknown = set(permissions) - set(PERMISSIONS)
    if unknown:
        raise click.BadParameter(f"--new-key: allowed are some of {','.join(PERMISSIONS)}")
    directory.mkdir(parents=True, exist_ok=True)
    database = Database(directory / "catalogue.sqlite")
    try:
        return Keys(database).create(permissions)
    finally:
        database.close()
