"""The command line. Each command's module is imported when it is called, and no other."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from drivers.base import DriverError
from recorder import __version__
from recorder.errors import ConfigError, RecorderError

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["main"]

_DEBUG = "recorder.debug"


class _Known(NamedTuple):
    module: str
    summary: str


COMMANDS = {
    "check": _Known("check", "Say what the configuration means, and look at every device once."),
    "run": _Known("live", "Record in the foreground until Ctrl-C."),
    "status": _Known("live", "Show what the recorder that runs here says of itself."),
    "sessions": _Known("sessions", "List the recordings in a spool or on a server."),
    "show": _Known("sessions", "Show everything that is known of one recording."),
    "verify": _Known("verify", "Read every record of a spool and check it."),
    "audit": _Known("audit", "Add a recording's ledger up again from its rows, and compare."),
    "export": _Known("export", "Write a recording as files for a laptop."),
    "spool": _Known("spool", "Show what the spool holds and how long the disk lasts."),
    "pin": _Known("pin", "Keep a recording on this disk, whatever else needs the space."),
    "unpin": _Known("pin", "Take the pins of a recording back."),
    "start": _Known("steer", "Begin a recording, if none runs."),
    "stop": _Known("steer", "End the recording that runs; the processes go on."),
    "new": _Known("steer", "End the recording that runs and begin the next, without a gap."),
    "mark": _Known("steer", "Mark this moment of the recording, and keep what is round it."),
    "set": _Known("steer", "Change the name or the details of the recording that runs."),
    "dependency": _Known("dependency", "Keep what recordings need to be read: calibrations, …"),
    "decode": _Known("decode", "Turn a device's raw log into values."),
    "box": _Known("box", "Show which box this is, and whether its card was copied."),
    "key": _Known("box", "Ask for an API key for this box, and enroll it."),
    "upload": _Known("upload", "Send what waits in the spool to the server."),
    "ground": _Known("ground", "Run a ground station: a small server for recordings."),
    "watch": _Known("watch", "Watch the recordings of a server; abandon what nobody cares for."),
    "replay": _Known("replay", "Replay a recording of a server, merged by time."),
    "demo": _Known("demo", "Record models of three devices and prove that nothing was lost."),
}
#: What systemd starts; each becomes the process itself, without this command line around it.
PROCESSES = {
    "lane": _Known("processes", "Become the process of one sensor."),
    "power": _Known("processes", "Become the process that watches ignition and supply."),
    "settings": _Known("processes", "Resolve the configuration once, for faster starts."),
    "web": _Known("processes", "Become the process of the status page."),
}


class _ToldError(click.ClickException):
    """An error that the user is told in one sentence, or in one line for each problem."""

    exit_code = 1

    def format_message(self) -> str:
        first, *rest = self.message.splitlines()
        return "\n".join([f"{1 + len(rest)} problems", first, *rest]) if rest else first


class _WrongConfigError(_ToldError):
    """What was asked for cannot be meant."""

    exit_code = 2


class _Recorder(click.Group):
    """The command ``recorder``."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS, *PROCESSES]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        known = {**COMMANDS, **PROCESSES}.get(cmd_name)
        if known is None:
            return None
        module = importlib.import_module(f"recorder.cli.{known.module}")
        command: click.Command = getattr(module, cmd_name)
        return _with_debug(command)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, commands in (("Commands", COMMANDS), ("Started by systemd", PROCESSES)):
            with formatter.section(title):
                formatter.write_dl([(name, one.summary) for name, one in commands.items()])

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - as click declares it
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise  # whoever reads our output has enough; click ends quietly
        except (RecorderError, DriverError, OSError) as error:
            if ctx.meta.get(_DEBUG):
                raise
            told = _WrongConfigError if isinstance(error, ConfigError) else _ToldError
            raise told(_sentence(error)) from error


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _with_debug(command: click.Command) -> click.Command:
    if not any(one.name == "debug" for one in command.params):
        command.params.append(_debug_option())
    if isinstance(command, click.Group):
        for one in command.commands.values():
            _with_debug(one)
    return command


def _debug_option() -> click.Option:
    return click.Option(
        ["--debug"],
        is_flag=True,
        expose_value=False,
        callback=_set_debug,
        help="Show where in the program an error arose.",
    )


def _set_debug(ctx: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if wanted:
        ctx.meta[_DEBUG] = True
        sys.excepthook = sys.__excepthook__


def _tell_defect(
    kind: type[BaseException], error: BaseException, _trace: TracebackType | None
) -> None:
    text = f"defect in the recorder: {kind.__name__}: {error}; the same with --debug shows where"
    click.echo(f"Error: {text}", err=True)


@click.group(
    cls=_Recorder,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 100,
        "show_default": True,
    },
    params=[_debug_option()],
    epilog="Exit codes: 0 done; 1 a finding, or not done; 2 wrong use or configuration.",
)
@click.version_option(__version__, prog_name="recorder")
def recorder() -> None:
    """Record a vehicle's sensors so that no power cut costs data, and deliver it exactly once.

    `recorder COMMAND --help` says more of each command.
    """


def main() -> None:
    """Run the command line; the process's exit code tells how it went."""
    sys.excepthook = _tell_defect
    recorder(prog_name="recorder")
