"""Keeping the upload process small: for a process that does nothing else, before its first work."""

from __future__ import annotations

import ctypes
import sys
from importlib.abc import MetaPathFinder

import pyarrow as pa

# Of mallopt(3): blocks from this size on are mapped on their own and go back to the system at once.
_M_MMAP_THRESHOLD, _MMAP_THRESHOLD_BYTES = -3, 128 * 1024


class _NoPandas(MetaPathFinder):
    """Finds nothing, and says of pandas that it is not installed."""

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError("pandas is not for the upload process", name=fullname)


def keep_small() -> None:
    """Tune the allocators, and forbid pandas.

    Where pandas is installed pyarrow imports it with the first scalar, which costs 45 MB (measured
    with pyarrow 26) and serves nothing here.
    """
    ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD_BYTES)
    pa.set_memory_pool(pa.system_memory_pool())
    sys.meta_path.insert(0, _NoPandas())
