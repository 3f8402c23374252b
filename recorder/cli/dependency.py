"""`recorder dependency`: what recordings need to be read, kept by its content."""

from __future__ import annotations

import base64
import dataclasses
import importlib
import os
from typing import TYPE_CHECKING, Any

import click

from recorder.cli import options, words
from recorder.cli.console import console, print_json, table
from recorder.cli.sessions import server_url
from recorder.command import ask
from recorder.configfile import load
from recorder.errors import SpoolError
from recorder.spool.dependencies import Dependencies, content_of
from recorder.spool.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from recorder.config import Config
    from recorder.mosaico import MosaicoClient


def _server_options(command: Callable[..., None]) -> Callable[..., None]:
    server = click.option(
        "--server", metavar="URL", callback=server_url, help="Of a server instead of this machine."
    )
    return server(options.key_file(options.certificate(command)))


@click.group()
def dependency() -> None:
    """Keep what recordings need to be read: calibrations, mountings, and the like.

    Each content is kept once, under its digest, whatever the number of recordings that name it, and
    uploaded once to each server. The configuration and the software's versions are kept by
    themselves.
    """


@dependency.command()
@click.argument("kind", metavar="TYPE")
@click.argument("file", type=options.EXISTING_FILE)
@options.config
@options.as_json
def add(kind: str, file: Path, config_file: Path, as_json: bool) -> None:
    """Keep FILE as a dependency of TYPE, such as calibration or mounting; at most 4 MiB.

    Prints its id. The recording that runs names it from now on; others do if their configuration
    has the id, or the file's path, under session.dependencies.
    """
    found = _add(load(config_file), kind, content_of(file))
    if as_json:
        print_json(found)
        return
    click.echo(found["id"])
    if found["session"]:
        click.echo(f"named by the recording that runs, {found['session']}", err=True)


def _add(config: Config, kind: str, content: bytes) -> dict[str, Any]:
    """Have it done by the process that writes the spool; if there is none, do it here."""
    try:
        lock = Spool.make_beside(config.spool_dir).hold()
    except SpoolError:
        told = base64.b64encode(content).decode()
        return ask(config.command_socket, "depend", kind=kind, content=told)
    try:
        return {"id": Dependencies(config.dependencies_dir).add(kind, content), "session": ""}
    finally:
        os.close(lock)


@dependency.command("list")
@options.config
@_server_options
@options.as_json
def list_(
    *,
    config_file: Path,
    server: str | None,
    key_file: Path | None,
    certificate: Path | None,
    as_json: bool,
) -> None:
    """List what is kept here, or on a server."""
    if server is None:
        found = Dependencies(load(config_file).dependencies_dir).all()
    else:
        remote = importlib.import_module("recorder.upload.dependencies")
        with _connected(server, key_file, certificate) as client:
            found = remote.on_server(client)
    if as_json:
        print_json([dataclasses.asdict(one) for one in found])
        return
    shown = table("type", "id", "size", right=("size",))
    for one in found:
        shown.add_row(one.kind, one.id, words.size(one.size_bytes))
    console().print(shown)


@dependency.command()
@click.argument("what", metavar="TYPE:ID")
@click.option("-o", "--output", type=options.FILE, help="Write it there.  [default: stdout]")
@options.config
@_server_options
def get(
    *,
    what: str,
    output: Path | None,
    config_file: Path,
    server: str | None,
    key_file: Path | None,
    certificate: Path | None,
) -> None:
    """Fetch a dependency back, from here or from a server; its digest is verified.

    ID is sha256:… as `list` shows it; the first characters of the digest are enough.
    """
    kind, colon, start = what.partition(":")
    if not colon or not kind or not start:
        raise click.UsageError(f"{what!r}: must be TYPE:ID")
    if server is None:
        _, content = Dependencies(load(config_file).dependencies_dir).get(kind, start)
    else:
        remote = importlib.import_module("recorder.upload.dependencies")
        with _connected(server, key_file, certificate) as client:
            _, content = remote.fetch(client, kind, start)
    if output is None:
        click.echo(content, nl=False)
    else:
        output.write_bytes(content)


def _connected(url: str, key_file: Path | None, certificate: Path | None) -> MosaicoClient:
    observe = importlib.import_module("recorder.ground.observe")  # 50 MB that a spool can spare
    client: MosaicoClient = observe.Address(url, key_file, certificate).connect()
    return client
