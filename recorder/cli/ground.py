"""`recorder ground`: the ground station in the foreground."""

from __future__ import annotations

import contextlib
import json
import threading
from pathlib import Path

import click

from recorder.box.keys import answer_to
from recorder.cli import options, words
from recorder.cli.console import console, print_json, table
from recorder.errors import RecorderError
from recorder.ground import DEFAULT_PORT
from recorder.ground import run as run_station
from recorder.ground.database import Database
from recorder.ground.keys import PERMISSIONS, Keys
from recorder.ground.refusals import UnknownError
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
    "permissions",
    metavar="PERMISSIONS",
    help="Make an API key for --check-keys, print it for the only time, and end."
    " PERMISSIONS are some of read,write,delete.",
)
@click.option(
    "--for",
    "purpose",
    default="",
    show_default=False,
    help="With --new-key: who or what it is for.",
)
@click.option(
    "--for-request",
    "request",
    type=options.EXISTING_FILE,
    help="With --new-key: a box's `recorder key request`; prints the answer, for that box alone.",
)
@click.option("--list-keys", is_flag=True, help="List the API keys, and end; none can be shown.")
@click.option(
    "--revoke-key",
    metavar="FINGERPRINT",
    help="End an API key, named by its last eight characters, for good and at once; and end.",
)
@click.option("--certificate", type=options.EXISTING_FILE, help="PEM certificate: serve over TLS.")
@click.option("--private-key", type=options.EXISTING_FILE, help="PEM private key of it.")
@click.option("--json", "as_json", is_flag=True, help="Print the URL, or the key or keys, as JSON.")
def ground(
    *,
    directory: Path,
    host: str,
    port: int,
    check_keys: bool,
    permissions: str | None,
    purpose: str,
    request: Path | None,
    list_keys: bool,
    revoke_key: str | None,
    certificate: Path | None,
    private_key: Path | None,
    as_json: bool,
) -> None:
    """Run a ground station: a Mosaico-compatible server for a bench or a depot's laptop.

    The first line printed is the URL to put into the recorder's configuration (upload.server). It
    serves until Ctrl-C or SIGTERM. Keys can be made, listed and revoked while it serves.
    """
    about_keys = [permissions is not None, list_keys, revoke_key is not None]
    if sum(about_keys) > 1:
        raise click.UsageError("--new-key, --list-keys and --revoke-key exclude each other")
    if request is not None:
        _answer(directory, permissions, request)
        return
    if any(about_keys):
        _serve_keys(directory, permissions, purpose, revoke_key, as_json=as_json)
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


def _serve_keys(
    directory: Path,
    permissions: str | None,
    purpose: str,
    revoked: str | None,
    *,
    as_json: bool,
) -> None:
    """Make a key, end one, or list them."""
    directory.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(Database(directory / "catalogue.sqlite")) as database:
        keys = Keys(database)
        if permissions is not None:
            key = _make(keys, permissions.split(","), purpose)
            click.echo(json.dumps({"key": key}) if as_json else key)
        elif revoked is not None:
            _revoke(keys, revoked)
        else:
            _print_keys(keys, as_json=as_json)


def _answer(directory: Path, permissions: str | None, file: Path) -> None:
    """Make a key for the box that asks for one, and print the answer."""
    if permissions is None:
        raise click.UsageError("--for-request belongs to --new-key")
    try:
        asked = json.loads(file.read_bytes())
    except ValueError as error:
        raise RecorderError(f"{file}: {error}") from error
    answer_to(asked, "")  # before a key is made for nobody
    directory.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(Database(directory / "catalogue.sqlite")) as database:
        purpose = f"box {asked.get('box')} ({asked.get('vehicle')})"
        key = _make(Keys(database), permissions.split(","), purpose)
    print_json(answer_to(asked, key))


def _make(keys: Keys, permissions: list[str], purpose: str) -> str:
    if set(permissions) - set(PERMISSIONS):
        raise click.BadParameter(f"--new-key: allowed are some of {','.join(PERMISSIONS)}")
    return keys.create(permissions, purpose)


def _revoke(keys: Keys, fingerprint: str) -> None:
    try:
        keys.revoke(fingerprint)
    except UnknownError as error:
        raise RecorderError(f"there is no key {fingerprint}; --list-keys tells which") from error
    click.echo(f"key {fingerprint} is revoked", err=True)


def _print_keys(keys: Keys, *, as_json: bool) -> None:
    names = ("fingerprint", "permissions", "description", "created_at_ns", "revoked_at_ns")
    found = [{name: one[name] for name in names} for one in keys.listed()]
    if as_json:
        print_json(found)
        return
    shown = table("key", "permissions", "for", "made (UTC)", "revoked (UTC)")
    for one in found:
        times = (words.utc(one[name]) or "-" for name in ("created_at_ns", "revoked_at_ns"))
        shown.add_row(f"…{one['fingerprint']}", one["permissions"], one["description"], *times)
    console().print(shown)
