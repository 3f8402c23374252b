"""Orders to the recorder that runs here: `recorder start`, `stop`, `new`, `mark` and `set`.

Each is journalled before it is answered: what was said yes to survives a power cut.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import click

from recorder.cli import options
from recorder.cli.console import print_json
from recorder.command import ask
from recorder.configfile import load

#: What `recorder set detail` keeps as it is in JSON. A serial number is a text, and so is what is
#: longer than 64 bits hold.
_PLAIN = re.compile(r"true|false|-?(0|[1-9][0-9]{0,17})(\.[0-9]+)?([eE][+-]?[0-9]+)?")


def _order(config_file: Path, command: str, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    return ask(load(config_file).command_socket, command, **arguments)


@click.command()
@options.config
@options.as_json
def start(config_file: Path, as_json: bool) -> None:
    """Begin a recording; its session is announced, durably, on return.

    Refused while one runs (`recorder new` begins the next one then).
    """
    found = _order(config_file, "start")
    _tell(found, f"{found['id']}: recording", as_json=as_json)


@click.command()
@options.config
@options.as_json
def stop(config_file: Path, as_json: bool) -> None:
    """End the recording that runs; what it holds is on disk on return.

    The lanes go on reading their devices, and older recordings are still uploaded. It stays
    stopped until `recorder start`, a rule, or the next start of the recorder; a process that dies
    and comes back changes nothing.
    """
    found = _order(config_file, "stop")
    _tell(found, f"{found['id']}: recording ended", as_json=as_json)


@click.command()
@options.config
@options.as_json
def new(config_file: Path, as_json: bool) -> None:
    """End the recording that runs and begin the next one, which names it as its predecessor.

    No sample is lost or doubled between the two.
    """
    found = _order(config_file, "new")
    told = f"{found['id']}: recording, behind {found['predecessor']}"
    _tell(found, told, as_json=as_json)


@click.command()
@click.option("--before", "before_s", default=30.0, help="The window begins so many seconds ago.")
@click.option("--after", "after_s", default=60.0, help="It ends so many seconds from now.")
@click.option("--label", default="", help="What it is, for people.")
@click.option("--cause", default="operator", help="Why it is set.")
@options.config
@options.as_json
def mark(
    *,
    before_s: float,
    after_s: float,
    label: str,
    cause: str,
    config_file: Path,
    as_json: bool,
) -> None:
    """Mark this moment of the recording that runs.

    The mark is a row of `recorder/marks` on the server and stands in exports. Its window is pinned
    (see `recorder pin`), and sent as soon as it is over. Exit code 1: it is marked, but its window
    cannot be pinned.
    """
    asked = {"before_s": before_s, "after_s": after_s, "label": label, "cause": cause}
    found = _order(config_file, "mark", **asked)
    _tell(found, f"{found['id']}: marked", as_json=as_json)
    if found["unpinned"]:
        click.echo(f"its window is not kept: {found['unpinned']}", err=True)
        raise SystemExit(1)


@click.group()
def set() -> None:  # the command's name
    """Change what is said of the recording that runs.

    It holds at once, stands in the next sign of life, and goes over to the next session when this
    one is rolled over.
    """


@set.command()
@click.argument("text", metavar="TEXT")
@options.config
@options.as_json
def identifier(text: str, config_file: Path, as_json: bool) -> None:
    """Give the recording that runs another name.

    {vehicle}, {start} (UTC) and {id8} (of its id) in TEXT are filled in; at most 255 characters.
    """
    found = _order(config_file, "set", identifier=text)
    _tell(found, f"{found['id']}: {found['identifier']}", as_json=as_json)


@set.command()
@click.argument("facts", metavar="KEY=VALUE...", nargs=-1, required=True)
@options.config
@options.as_json
def detail(facts: tuple[str, ...], config_file: Path, as_json: bool) -> None:
    """Say facts of the recording that runs, such as route=loop-7 driver=Kim laps=3.

    A value that is a number as JSON writes it, true or false is kept as such, anything else (007,
    or a number of more than 18 digits before its point) as a text.
    """
    details: dict[str, Any] = {}
    for one in facts:
        key, equals, value = one.partition("=")
        if not equals or not key:
            raise click.UsageError(f"{one!r}: must be KEY=VALUE")
        details[key] = _value(value)
    found = _order(config_file, "set", details=details)
    _tell(found, f"{found['id']}: {', '.join(details)} set", as_json=as_json)


def _value(text: str) -> str | int | float | bool:
    if not _PLAIN.fullmatch(text):
        return text
    value: int | float | bool = json.loads(text)
    return value


def _tell(found: dict[str, Any], told: str, *, as_json: bool) -> None:
    if as_json:
        print_json(found)
    else:
        click.echo(told)
