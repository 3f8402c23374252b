"""The processes that systemd starts: read the configuration, then become the process itself.

The long-running process is a new program image with the resolved settings as its last argument, so
that it carries neither a validator nor this command line in its memory.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NoReturn

import click

from recorder.cli import options
from recorder.configfile import load
from recorder.devices import handed_over

if TYPE_CHECKING:
    from pathlib import Path

    from recorder.config import Config


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
    names = [one.name for one in config.lanes if not one.filled_by]
    if name not in names:
        raise click.BadParameter(f"no lane {name!r}; lanes are {', '.join(names)}")
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
        raise click.UsageError("the configuration's table [power] names no input")
    become(config, "recorder.power")
