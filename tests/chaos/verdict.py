"""What is wrong, in words and counts; and the lines of journals, read by no recorder code."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Verdict:
    """What is wrong; the counts are rows.

    Args:
        problems: in words.
        rows: that were compared and right.
        lost: that the spool holds and the server does not.
        doubled: that the server holds more than once.
        foreign: that the server holds and nobody recorded, or with other values.
    """

    problems: list[str] = field(default_factory=list)
    rows: int = 0
    lost: int = 0
    doubled: int = 0
    foreign: int = 0

    def demand(self, is_right: object, problem: str) -> None:
        if not is_right:
            self.problems.append(problem)


def lines(path: Path) -> list[dict[str, Any]]:
    """Return the entries of a journal: lines that begin with the CRC-32 of their text."""
    found: list[dict[str, Any]] = []
    for line in path.read_bytes().split(b"\n") if path.exists() else ():
        if line[:9] == b"%08x " % zlib.crc32(line[9:]):
            found.append(json.loads(line[9:]))
    return found


def upload_journal(data: Path, session_id: str) -> list[dict[str, Any]]:
    """Return what the uploader wrote down of a session, for whichever server."""
    paths = [one for one in (data / "upload").rglob(f"*{session_id}*") if one.is_file()]
    return [entry for path in sorted(paths) for entry in lines(path)]
