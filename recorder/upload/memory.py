"""Keeping the upload process small, whatever waits in the spool."""

from __future__ import annotations

import ctypes
import os
import sys
from importlib.abc import MetaPathFinder

# Of mallopt(3): blocks from this size on are mapped on their own and go back to the system at once.
_M_MMAP_THRESHOLD, _MMAP_THRESHOLD_BYTES = -3, 128 * 1024

_HEAVY = ("numpy", "pandas")


class _NotInstalled(MetaPathFinder):
    """Finds nothing, and says of what is heavy that it is not installed."""

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        if fullname in _HEAVY:
            raise ModuleNotFoundError(f"{fullname} is not for this process", name=fullname)


def keep_small() -> None:
    """Tune the allocators, and forbid numpy and pandas; for a process, before Arrow is loaded.

    Where they are installed pyarrow imports numpy with itself and pandas with the first scalar,
    which costs 12 and 45 MB (measured with pyarrow 26) and serves nothing here.
    """
    ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD_BYTES)
    os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"
    sys.meta_path.insert(0, _NotInstalled())


def give_back() -> None:
    """Give free memory back to the system that the allocator keeps for the next time."""
    ctypes.CDLL(None).malloc_trim(0)
