"""Recordings in a spool or on a server: `recorder sessions` and `recorder show`."""

from __future__ import annotations

import functools
import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from recorder.cli import lineage, options, words
from recorder.cli.console import console, print_json, state, table
from recorder.cli.record import print_list, print_whole, quality, rows
from recorder.cli.sources import from_spool, open_spool
from recorder.configfile import load
from recorder.configfile.rules import is_server
from recorder.errors import ConfigError, RecorderError
from recorder.replaced import note

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from recorder.ground.observe import Observer

    Records = list[dict[str, Any]]
    Places = list[tuple[str, Callable[[], Records]]]

_DAY_S = 86_400


@dataclass(frozen=True)
class Place:
    """Where recordings are looked for.

    Args:
        name: ``spool``, or the server's URL.
        records: gives the records of all; takes how many days ago a recording on a server may have
            ended, None or nothing for any number.
        whole: gives one of them with its `marks` (`recorder.spool.marks`), which a server is asked
            for one by one.
        elsewhere: gives the other places that may know a recording, by name.
    """

    name: str
    records: Callable[..., Records]
    whole: Callable[[dict[str, Any]], dict[str, Any]]
    elsewhere: Callable[[], Places]


def server_url(_ctx: click.Context, option: click.Parameter, url: str | None) -> str | None:
    """Check a server's URL."""
    if url is not None and not is_server(url):
        told = f"{option.opts[0]} {url!r}: must be grpc://host:port or grpc+tls://host:port"
        raise click.BadParameter(told)
    return url


def _source(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that say where to look, and hand it that place."""

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

        def whole(record: dict[str, Any]) -> dict[str, Any]:
            if server is None:
                return record
            return {**record, "marks": _marks(server, key_file, certificate, record["sequence"])}

        elsewhere = functools.partial(_elsewhere, config_file, spool, server)
        command(place=Place(server or "spool", records, whole, elsewhere), **rest)

    return found


def _from_server(
    url: str, key_file: Path | None, certificate: Path | None, ended_within_days: float | None
) -> Records:
    """Return what a server shows of all sequences of all recordings."""
    within_s = None if ended_within_days is None else ended_within_days * _DAY_S
    with _observer(url, key_file, certificate) as observer:
        found = [seen.to_dict() for seen in observer.recordings(within_s)]
    return sorted(found, key=lambda one: one["start_utc_ns"] or 0)


def _that_count(found: Records) -> Records:
    """Leave out sequences of a recording that do not count beside another."""
    return [one for one in found if one.get("counts", True)]


def _marks(url: str, key_file: Path | None, certificate: Path | None, sequence: str) -> Records:
    with _observer(url, key_file, certificate) as observer:
        return observer.marks(sequence)


def _observer(url: str, key_file: Path | None, certificate: Path | None) -> Observer:
    observe = importlib.import_module("recorder.ground.observe")  # 50 MB that a spool can spare
    found: Observer = observe.Observer(observe.Address(url, key_file, certificate))
    return found


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
@click.option(
    "--all",
    "is_all",
    is_flag=True,
    help="List also what does not count on a server: a sequence that was replaced by one that was"
    " sent anew, or one that replaces another and is not whole yet.",
)
@options.as_json
def sessions(place: Place, days: float | None, is_all: bool, as_json: bool) -> None:
    """List the recordings in a spool or on a server, oldest first.

    Of one on a server it is told whether it is live (recorded, and heard of), stale (recorded, and
    three of the promised signs of life are missing), draining (no longer recorded; the rest waits
    on the vehicle), ended, or abandoned (see `recorder watch`). Of one that was sent anew only the
    sequence that counts is listed: the new one, once it is whole, and until then what is being sent
    is named.
    """
    known = place.records(days)
    found = known if is_all else _that_count(known)
    if len(found) < len(known):
        left = f"{len(known) - len(found)} that were sent anew, or are being"
        click.echo(f"not listed: {left}; --all lists them too", err=True)
    for one in found:
        if told := note(one.get("sequence", ""), one.get("sent_anew_as", "")):
            click.echo(f"note: {told}", err=True)
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


def _elsewhere(config_file: Path, spool: Path | None, server: str | None) -> Places:
    """Return the other places that may know a recording: the spool here, or its server.

    One that cannot be asked is told on stderr and knows nothing.
    """
    try:
        config = load(config_file)
    except ConfigError:
        if spool is None and server is None:
            raise
        return []  # a spool or a server was named, and there is no other place
    upload = config.upload
    places: Places = []
    if server is not None:
        places.append(("spool", lambda: from_spool(open_spool(config.spool.directory))))
    elif upload.server:
        key, roots = upload.key_file, upload.certificate
        places.append(
            (upload.server, lambda: _that_count(_from_server(upload.server, key, roots, None)))
        )
    return [(name, functools.partial(_asked, name, records)) for name, records in places]


def _asked(name: str, records: Callable[[], Records]) -> Records:
    try:
        return records()
    except (RecorderError, OSError, click.BadParameter) as error:
        click.echo(f"{name} is not asked: {error}", err=True)
        return []


@click.command()
@click.argument("session_id", metavar="ID")
@_source
@click.option(
    "--sources",
    "is_tree",
    is_flag=True,
    help="Show what it comes from, as a tree over the spool and the server.",
)
@options.as_json
def show(session_id: str, place: Place, is_tree: bool, as_json: bool) -> None:
    """Show everything that is known of the recording ID (its first characters are enough).

    Samples are counted per lane: expected by the device's own time, acquired, stored durably,
    delivered to the server, still pending there, and lost, each to a cause. With --sources, exit
    code 1: a source is missing, or comes from itself.
    """
    known = _that_count(place.records())
    found = [one for one in known if one["id"].startswith(session_id)]
    if len(found) != 1:
        what = f"{len(found)} recordings begin" if found else "no recording begins"
        raise RecorderError(f"{what} with {session_id!r}; `recorder sessions` lists them")
    if is_tree:
        here = (place.name, lambda: known)
        _show_tree(
            lineage.walk(found[0]["id"], lineage.finder([here, *place.elsewhere()])), as_json
        )
    elif as_json:
        print_json(place.whole(found[0]))
    else:
        print_whole(place.whole(found[0]))


def _show_tree(tree: lineage.Node, as_json: bool) -> None:
    if as_json:
        print_json(tree.to_dict())
    else:
        lineage.print_tree(tree)
    raise SystemExit(0 if tree.is_whole else 1)
