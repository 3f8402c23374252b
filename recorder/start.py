"""The program ``recorder``: a process at once if its settings are kept, else the command line.

On a box five processes start at the same time, and until they record nothing is recorded. So what
systemd asks for carries neither a command line nor a validator, and is one Python from its first
instant.
"""

from __future__ import annotations

import runpy
import sys

from recorder.kept import recall

#: By its command, the module of each process that systemd starts.
_MODULES = {
    "lane": "recorder.lane",
    "spool": "recorder.spooler",
    "upload": "recorder.uploader",
    "web": "recorder.web",
    "power": "recorder.power",
}


def main() -> None:
    """Run the program; the process's exit code tells how it went."""
    command = sys.argv[1:]
    settings = recall(command) if command and command[0] in (*_MODULES, "settings") else None
    if settings is None:
        from recorder.cli import main as command_line  # noqa: PLC0415 - click, for it alone

        command_line()
    elif command[0] in _MODULES:  # and settings that are kept need not be kept again
        sys.argv[1:] = [*command[1:], settings]
        runpy.run_module(_MODULES[command[0]], run_name="__main__", alter_sys=True)
