"""The recorder that runs here: `recorder run` and `recorder status`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from rich.text import Text

from recorder import status as life
from recorder.cli import options, words
from recorder.cli.console import console, print_json, state, table
from recorder.cli.record import losses, quality, rows
from recorder.clock import boot_ns
from recorder.configfile import check_files, load
from recorder.configfile.place import check_place
from recorder.runner import run as run_recorder
from recorder.service import set_up_log, stop_on_signals

if TYPE_CHECKING:
    from pathlib import Path

#: Every process gives a life sign each second or commit.
SILENT_S = 5.0


@click.command()
@options.config
def run(config_file: Path) -> None:
    """Record in the foreground until Ctrl-C or SIGTERM.

    Starts the same processes as systemd does, and restarts what dies. At the end the last batch is
    made durable, the session is closed, and what was recorded is uploaded for at most
    upload.drain_s seconds; a second Ctrl-C leaves the rest for the next time. Exit code 1:
    something still waits to be uploaded, or a process did not end as it should.
    """
    config = load(config_file)
    check_files(config)
    check_place(config)
    set_up_log("run")
    raise SystemExit(run_recorder(config, stop_on_signals()))


@click.command()
@options.config
@click.option(
    "--run-dir",
    type=options.DIRECTORY,
    help="Where the life signs are.  [default: from the configuration]",
    show_default=False,
)
@options.as_json
def status(config_file: Path, run_dir: Path | None, as_json: bool) -> None:
    """Show what each process of the recorder that runs here says of itself.

    Exit code 1: nothing runs, a process has been silent for more than 5 s, or the disk does not
    take what is recorded.
    """
    signs = life.all_signs(run_dir or load(config_file).spool.run_dir)
    now = boot_ns()
    for sign in signs.values():
        sign["age_s"] = round((now - sign["boot_ns"]) / 1e9, 1)
        sign["silent"] = sign["age_s"] > SILENT_S
    if as_json:
        print_json(signs)
    elif signs:
        _print(signs)
    else:
        click.echo("No recorder runs here.", err=True)
    is_wrong = any(one["silent"] or one.get("trouble") for one in signs.values())
    raise SystemExit(0 if signs and not is_wrong else 1)


def _print(signs: dict[str, dict[str, Any]]) -> None:
    session = signs.get("spool", {}).get("session")
    shown = table("process", "state", "age", "rate", "samples", "lost", right=("age", "samples"))
    for name, sign in signs.items():
        said = f"silent, was {sign['state']}" if sign["silent"] else _state(sign)
        lost = losses({f"lost_{cause}": n for cause, n in sign.get("losses", {}).items()})
        shown.add_row(
            name.replace("lane-", "lane "),
            state(said),
            words.duration(round(sign["age_s"] * 1e9)),
            _rate(sign, session),
            words.count(sign.get("samples")),
            Text(lost, style="" if lost == "-" else "yellow"),
        )
    out = console()
    if session is None:
        out.print("No session is being recorded.")
    else:
        since = words.utc(session["start_utc_ns"])
        out.print(f"session {session['id']}: {session['state']}")
        out.print(
            f"since {since or 'a time that is not known yet'},"
            f" {words.duration(session['duration_ns'])}, quality {quality(session)}"
            if rows(session)
            else "its first sample is awaited"
        )
    out.print(shown)


def _state(sign: dict[str, Any]) -> str:
    waiting, error = sign.get("backlog_rows"), sign.get("error")
    backlog = f", {words.count(waiting)} samples to send" if waiting else ""
    if waiting and sign["state"] == "idle":
        backlog += " when a part is full or the session ends"
    return f"{sign['state']}{backlog}" + (f": {error}" if error else "")


def _rate(sign: dict[str, Any], session: dict[str, Any] | None) -> str:
    """Return the mean measured rate of a lane in this session, and what was promised."""
    if "rate_hz" not in sign:
        return "-"
    for lane in session["lanes"] if session else ():
        if lane["name"] == sign["lane"] and lane["stored"] > 1:
            span_s = (lane["last_boot_ns"] - lane["first_boot_ns"]) / 1e9
            promised = f" of {sign['rate_hz']:g}" if sign["rate_hz"] else ""
            return f"{(lane['stored'] - 1) / span_s:.2f}{promised} Hz"
    return f"- of {sign['rate_hz']:g} Hz" if sign["rate_hz"] else "-"
