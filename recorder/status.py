"""Life signs: what each process says of itself, as a small JSON file that others may read.

A life sign is replaced as a whole (written beside, then renamed), lies in memory (``run_dir``) and
is never synced: it speaks of now, and the recording speaks of the rest. Where that memory is full,
another program's doing perhaps, the last one grows old and nobody dies of it.
"""

from __future__ import annotations

import errno
import json
import logging
import os
from pathlib import Path
from typing import Any

from recorder.clock import boot_id, boot_ns

log = logging.getLogger(__name__)

_FOLDER = "status"
#: Processes whose sign could not be written the last time.
_silent: set[str] = set()


def publish(run_dir: Path, process: str, facts: dict[str, Any]) -> None:
    """Replace the life sign of a process.

    Args:
        run_dir: the recorder's directory in memory.
        process: ``lane-<name>``, ``spool``, ``upload``.
        facts: what it says; `pid`, `boot_id` and `boot_ns` are added.
    """
    folder = run_dir / _FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f".{process}.{os.getpid()}"
    when = {"pid": os.getpid(), "boot_id": boot_id().hex(), "boot_ns": boot_ns()}
    try:
        draft.write_text(json.dumps({**when, **facts}))
        draft.replace(folder / f"{process}.json")
    except OSError as error:
        draft.unlink(missing_ok=True)
        if error.errno != errno.ENOSPC:
            raise
        if process not in _silent:
            log.warning("no life sign can be written: %s", error)
        _silent.add(process)
    else:
        _silent.discard(process)


def read(run_dir: Path, process: str) -> dict[str, Any] | None:
    """Return the last life sign of a process, or None if it never gave one."""
    try:
        found: dict[str, Any] = json.loads((run_dir / _FOLDER / f"{process}.json").read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return found


def all_signs(run_dir: Path) -> dict[str, dict[str, Any]]:
    """Return the last life sign of every process that ever gave one, by name."""
    names = sorted(path.stem for path in (run_dir / _FOLDER).glob("*.json"))
    return {name: sign for name in names if (sign := read(run_dir, name)) is not None}
