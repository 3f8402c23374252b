"""A system clock that a test can move, for the processes that it starts; see ``wall.c``."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest

_TOLD = struct.Struct("<qqq")


class Wall:
    """The preloaded library and the file that it reads.

    Args:
        folder: where both lie. The test is skipped where there is no C compiler.
    """

    def __init__(self, folder: Path) -> None:
        compiler = shutil.which("gcc") or shutil.which("cc")
        if compiler is None:
            pytest.skip("no C compiler: the system's clock of a process cannot be moved")
        library, self._file = folder / "wall.so", folder / "clock"
        source = Path(__file__).with_name("wall.c")
        command = [compiler, "-shared", "-fPIC", "-O2", "-o", str(library), str(source)]
        subprocess.run(command, check=True)
        self.set()
        self.environment = {"LD_PRELOAD": str(library), "CLOCK_FILE": str(self._file)}

    def set(self, ahead_ns: int = 0, *, is_synchronised: bool = False, most_us: int = 0) -> None:
        """Move the clock of every process that was started with `environment`, at once."""
        told = _TOLD.pack(ahead_ns, is_synchronised, most_us)
        if self._file.exists():
            with self._file.open("r+b") as file:  # in place: it is mapped
                file.write(told)
        else:
            self._file.write_bytes(told)
