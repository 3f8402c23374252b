"""`recorder watch`: the recordings of a server, watched from outside."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from recorder.cli import options, words
from recorder.cli.console import print_json
from recorder.cli.sessions import print_seen, server_url
from recorder.errors import RemoteAwayError
from recorder.ground.observe import Address, Observer
from recorder.ground.watch import LEASE_S, Watch
from recorder.service import stop_on_signals

if TYPE_CHECKING:
    from pathlib import Path

    from recorder.ground.seen import Seen
    from recorder.service import Stop

_HOUR_S = 3600
#: What a person should look at.
_FINDINGS = ("stale", "abandoned")


@click.command()
@click.option(
    "--server", metavar="URL", callback=server_url, required=True, help="Where the recordings are."
)
@options.key_file
@options.certificate
@click.option("--once", is_flag=True, help="Look once, list everything, and end.")
@click.option(
    "--interval",
    "interval_s",
    type=click.FloatRange(min=0.1, max=3600),
    default=30.0,
    help="Look so often, in seconds.",
)
@click.option(
    "--lease",
    "lease_h",
    type=click.FloatRange(min=0),
    default=LEASE_S / _HOUR_S,
    help="Abandon nothing that was heard of within so many hours.",
)
@click.option("--abandon", metavar="ID", help="Abandon this recording, and end.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: a list, or a line for a change.")
def watch(
    *,
    server: str,
    key_file: Path | None,
    certificate: Path | None,
    once: bool,
    interval_s: float,
    lease_h: float,
    abandon: str | None,
    as_json: bool,
) -> None:
    """Watch the recordings of a server: print a line when one begins, falls silent or ends.

    A recording is abandoned, which is one note on its sequence and nothing else, if it has been
    silent for longer than the lease and its vehicle has begun a newer one without taking care of
    it; or by hand, with --abandon. Silence alone never ends a recording. Exit code 1 with --once:
    one is stale or abandoned.
    """
    address = Address(server, key_file, certificate)
    if abandon is not None:
        with Observer(address) as observer:
            _print_change(Watch(observer).abandon(abandon), as_json=as_json)
        return
    if once:
        with Observer(address) as observer:
            found = Watch(observer, lease_h * _HOUR_S).look()
        _print_all(found, as_json=as_json)
        raise SystemExit(1 if any(seen.life in _FINDINGS for seen in found) else 0)
    with Observer(address) as observer:
        _go_on(Watch(observer, lease_h * _HOUR_S), interval_s, stop_on_signals(), as_json=as_json)


def _go_on(watching: Watch, interval_s: float, stop: Stop, *, as_json: bool) -> None:
    lives: dict[str, str] = {}
    is_away, is_first = False, True
    while not stop.is_set():
        try:
            found = watching.look()
        except (
            RemoteAwayError
        ) as error:  # we watch on: that a server is away is no news of vehicles
            if not is_away:
                click.echo(f"the server is away: {error}", err=True)
            is_away, found = True, []
        else:
            is_away = False
        for seen in found:
            known, lives[seen.sequence] = lives.get(seen.sequence), seen.life
            if known != seen.life and not (is_first and seen.has_ended):
                _print_change(seen, as_json=as_json)
        is_first = is_first and is_away
        stop.wait(interval_s)


def _print_all(found: list[Seen], *, as_json: bool) -> None:
    if as_json:
        print_json([seen.to_dict() for seen in found])
    elif found:
        print_seen(seen.to_dict() for seen in found)
    else:
        click.echo("No recordings.", err=True)


def _print_change(seen: Seen, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(seen.to_dict(), separators=(",", ":")))
        return
    silent = words.duration(round(seen.silent_s * 1e9))
    click.echo(
        f"{seen.id[:8]} {seen.record['vehicle']}: {seen.life}"
        f" ({seen.record['state']}, heard of {silent} ago)"
    )
