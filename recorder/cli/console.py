"""Where commands print: tables and sentences, or JSON, to stdout; progress to stderr."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click
from rich import box
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import ConsoleOptions, RenderableType

#: The control characters of ISO 646 and 8859, but for the ends of lines and tabs.
_CONTROLS = dict.fromkeys(
    (*range(9), *range(11, 32), *range(127, 160)), "\N{REPLACEMENT CHARACTER}"
)
#: A pipe has no width; what is cut off there could not be found again.
_PIPE_COLUMNS = 160
_LOOKS = {
    "closed": "green", "open": "cyan", "running": "green", "present": "green", "sound": "green",
    "truncated": "yellow", "waiting": "yellow", "optional": "yellow",
    "failed": "red", "abandoned": "red", "absent": "red", "silent": "red", "stuck": "red",
    "damaged": "red",
}  # fmt: skip


class _PlainConsole(Console):
    """What it prints may have been written by anybody, on any server: it steers no terminal."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        for one in super().render(renderable, options):
            yield one if one.control else Segment(one.text.translate(_CONTROLS), one.style)


def console() -> Console:
    """Return the console on stdout; brackets are what somebody wrote, and no markup."""
    width = None if sys.stdout.isatty() else _PIPE_COLUMNS
    return _PlainConsole(highlight=False, markup=False, emoji=False, width=width)


def print_json(facts: Any) -> None:  # noqa: ANN401 - JSON
    """Print one JSON value."""
    click.echo(json.dumps(facts, indent=2, default=str))


def table(*columns: str, right: tuple[str, ...] = (), title: str = "") -> Table:
    """Return an empty table.

    Args:
        columns: headings.
        right: those of them whose cells are numbers.
        title: what stands above it.
    """
    made = Table(
        box=box.SIMPLE_HEAD, title=title or None, title_justify="left", title_style="bold",
        pad_edge=False, header_style="bold",
    )  # fmt: skip
    for name in columns:
        made.add_column(name, justify="right" if name in right else "left", overflow="fold")
    return made


def state(word: str) -> Text:
    """Return a state in its colour."""
    return Text(word, style=_LOOKS.get(word.split(maxsplit=1)[0] if word else "", ""))


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show how far a long work is, on a terminal.

    Args:
        what: is going on.

    Yields:
        A function that takes the bytes done and the bytes in all.
    """
    err = Console(stderr=True)
    columns = (TextColumn(what), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task(what, total=None)

        def show(done_bytes: int, all_bytes: int) -> None:
            bar.update(task, completed=done_bytes, total=all_bytes)

        yield show
