"""Commands on a box under test, whatever the way to it is."""

from __future__ import annotations

import base64
import io
import shlex
import subprocess
import tarfile
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

POLL_S, PATIENCE_S = 0.1, 60.0
#: A tree that is taken out of a box comes through its commands' output.
COPY_S = 600.0


class Said(NamedTuple):
    """What became of a command.

    Args:
        code: its exit code, 0 if all went well.
        said: both its outputs as one, without the space at its ends.
    """

    code: int
    said: str


class Shell:
    """Runs commands on a box as root. Subclasses tell how they get there."""

    def reach(self) -> Sequence[str]:
        """Return the words before a shell command that bring it to the box; empty: not there."""
        raise NotImplementedError

    def last_words(self) -> str:
        """Return what is known of a box that cannot be reached."""
        return "it cannot be reached"

    def try_(self, command: str, given: str = "", patience_s: float = PATIENCE_S * 5) -> Said:
        """Run a shell command; what is `given` is its input."""
        words = self.reach()
        if not words:
            return Said(255, self.last_words())
        done = subprocess.run(
            [*words, command],
            input=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=patience_s,
            check=False,
        )
        return Said(done.returncode, done.stdout.strip())

    def run(self, command: str, patience_s: float = PATIENCE_S * 5) -> str:
        """Run a shell command that must succeed, and return what it said."""
        code, said = self.try_(command, patience_s=patience_s)
        assert code == 0, f"{command}: {code}\n{said}"
        return said

    def until(self, command: str, patience_s: float = PATIENCE_S) -> str:
        """Run a command again and again until it succeeds, and return what it said then."""
        deadline_s = time.monotonic() + patience_s
        while True:
            code, said = self.try_(command)
            if code == 0:
                return said
            assert time.monotonic() < deadline_s, f"{command}: not within {patience_s} s:\n{said}"
            time.sleep(POLL_S)

    def put(self, text: str, path: str) -> None:
        """Write a file."""
        place = shlex.quote(path)
        code, said = self.try_(f"mkdir -p $(dirname {place}) && cat > {place}", text)
        assert code == 0, said

    def take(self, folder: str, place: Path) -> None:
        """Copy a folder of the box into one of this machine, by way of an archive."""
        archive = base64.b64decode(self.run(f"tar -C {folder} -cz . | base64 -w 0", COPY_S))
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            tar.extractall(place, filter="data")
