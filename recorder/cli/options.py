"""Options that several commands have, and the configuration that they name."""

from __future__ import annotations

from pathlib import Path

import click

FILE = click.Path(dir_okay=False, path_type=Path)
EXISTING_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
DIRECTORY = click.Path(file_okay=False, path_type=Path)

config = click.option(
    "--config",
    "config_file",
    type=FILE,
    default=Path("/etc/recorder/recorder.toml"),
    envvar="RECORDER_CONFIG",
    show_envvar=True,
    help="Configuration file (TOML).",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
key_file = click.option(
    "--key-file", type=EXISTING_FILE, help="File with the API key for --server."
)
certificate = click.option(
    "--certificate", type=EXISTING_FILE, help="Root certificates (PEM) for a grpc+tls --server."
)
