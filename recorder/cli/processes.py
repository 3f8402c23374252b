"""The processes that systemd starts: read the configuration, then become the process itself.

The long-running process is a new program image with the resolved settings as its last argument, so
that it carries neither a validator nor this command line in its memory. Where the settings are kept
none of this is needed (`recorder.start`).
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NoReturn

import click

from recorder.cli import options
from recorder.configfile import load, read, resolve
from recorder.devices import handed_over, is_shipped
from recorder.kept import forget, keep

if TYPE_CHECKING:
    from pathlib import Path

    from recorder.config import Config

#: Exit code where the configuration has no such lane, or no input of the supply, by which its unit
#: is not started again: EX_CONFIG of sysexits.h.
NO_LANE_EXIT_CODE = 78


def become(config: Config, module: str, *arguments: str) -> NoReturn:
    """Replace this program by a process of the recorder; returns only by an OSError."""
    command = [sys.executable, "-m", module, *arguments, handed_over(config)]
    os.execv(sys.executable, command)


@click.command()
@click.argument("name")
@options.config
def lane(name: str, config_file: Path) -> None:
    """Become the process of one sensor: NAME is that of a lane in the configuration."""
    config = load(config_file)
    names = _lanes(config)
    if name not in names:
        click.echo(f"no lane {name!r}; lanes are {', '.join(names)}", err=True)
        raise SystemExit(NO_LANE_EXIT_CODE)
    become(config, "recorder.lane", name)


@click.command()
@options.config
def web(config_file: Path) -> None:
    """Become the process of the status page."""
    become(load(config_file), "recorder.web")


@click.command()
@options.config
def power(config_file: Path) -> None:
    """Become the process that watches ignition and supply, as the table [power] says."""
    config = load(config_file)
    if not config.power.inputs:
        click.echo("the configuration's table [power] names no input", err=True)
        raise SystemExit(NO_LANE_EXIT_CODE)
    become(config, "recorder.power")


@click.command()
@options.config
def settings(config_file: Path) -> None:
    """Resolve the configuration once, so that the processes start faster.

    They start with what is kept while the configuration is as it was, and else read it themselves.
    With a driver of your own they always do: it may change whenever you like.
    """
    file = config_file.absolute()
    text = read(file)
    config = resolve(file, text)
    own = [one.driver for one in config.lanes if not is_shipped(one.driver)]
    if own:
        forget()
        click.echo(f"nothing is kept: {own[0]} is a driver of your own")
    else:
        commands = [[*one, "--config", str(file)] for one in _commands(config)]
        keep(file, text, commands, handed_over(config))


def _lanes(config: Config) -> list[str]:
    """Return the names of the lanes that have a process of their own."""
    return [one.name for one in config.lanes if not one.filled_by]


def _commands(config: Config) -> list[list[str]]:
    """Return what may be started by a configuration, and the keeping itself."""
    lanes = [["lane", name] for name in _lanes(config)]
    power = [["power"]] if config.power.inputs else []
    return [["settings"], *lanes, *power, ["spool", "--serve"], ["upload", "--serve"], ["web"]]
