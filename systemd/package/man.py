"""Write a manual page for the program and each of its commands into the folder that is named."""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import click
from click_man.core import write_man_pages

from recorder import __version__
from recorder.cli import recorder

#: What needs more than an installation has.
ABSENT = {"demo"}


def main(folder: Path) -> None:
    """Write them, compressed as Debian wants them."""
    context = click.Context(recorder, info_name="recorder")
    found = {
        name: recorder.get_command(context, name)
        for name in recorder.list_commands(context)
        if name not in ABSENT
    }
    # The commands are loaded when they are called; the pages need all of them at once.
    whole = click.Group("recorder", dict(found), params=recorder.params, help=recorder.help)
    whole.epilog = recorder.epilog
    write_man_pages("recorder", whole, version=__version__, target_dir=str(folder))
    for page in folder.glob("*.1"):
        page.with_suffix(".1.gz").write_bytes(gzip.compress(page.read_bytes(), mtime=0))
        page.unlink()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
