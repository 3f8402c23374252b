"""The resolved settings, kept so that no process has to resolve them anew when it starts.

To read and check the configuration takes a validator and the code of every driver: more than all
else that a lane does until it is ready, and each process of a box would do it. `recorder settings`
does it once, and keeps what came out in the program's own environment, where another version of the
program finds nothing.

The file is a line with the checksum of what follows (CRC-32, hexadecimal), then JSON:

file        the configuration's path
text        what stood in it
home        of whom it was resolved for: what ``~`` in it means
commands    what may be started by it, each the arguments of the program
settings    what a process is given, see `recorder.devices.handed_over`

A process starts with it only if one of these commands asks for it and the configuration is as it
was; anything else is as if nothing were kept. Who may write the file may say what processes do:
`systemd/recorder-settings.service` alone.
"""

from __future__ import annotations

import json
import os
import sys
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from recorder.durable import replace

if TYPE_CHECKING:
    from collections.abc import Sequence


def recall(command: Sequence[str]) -> str | None:
    """Return the settings for the process that a command asks for; None if they must be resolved.

    Args:
        command: the arguments of the program.
    """
    try:
        checksum, _, body = _place().read_bytes().partition(b"\n")
        if int(checksum, 16) != zlib.crc32(body):
            return None
        kept = json.loads(body)
        text = Path(kept["file"]).read_bytes().decode()
    except (OSError, ValueError):
        return None
    fits = (
        list(command) in kept["commands"]
        and text == kept["text"]
        and os.environ.get("HOME") == kept["home"]
    )
    settings: str | None = kept["settings"] if fits else None
    return settings


def keep(file: Path, text: str, commands: Sequence[Sequence[str]], settings: str) -> None:
    """Keep what a configuration was resolved to.

    Args:
        file: its path, absolute.
        text: what stands in it.
        commands: what may be started by it.
        settings: see `recorder.devices.handed_over`.

    Raises:
        OSError: the program's environment has no place for it, or it is read-only.
    """
    kept = {
        "file": str(file),
        "text": text,
        "home": os.environ.get("HOME"),
        "commands": commands,
        "settings": settings,
    }
    body = json.dumps(kept).encode()
    # As little as the configuration itself may everybody read it.
    replace(_place(), [b"%08x\n" % zlib.crc32(body), body], 0o640)


def forget() -> None:
    """Let every process resolve its settings anew.

    Raises:
        OSError: the program's environment is read-only.
    """
    _place().unlink(missing_ok=True)


def _place() -> Path:
    return Path(sys.prefix, "settings", "kept")
