"""Keeping the upload process small, whatever waits in the spool."""

from __future__ import annotations

import ctypes
import mmap
import sys
from importlib.abc import MetaPathFinder
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterator

    from recorder.spool.reader import Stored

# Of mallopt(3): blocks from this size on are mapped on their own and go back to the system at once.
_M_MMAP_THRESHOLD, _MMAP_THRESHOLD_BYTES = -3, 128 * 1024

#: So much of a segment stays in memory behind the record that is being read.
_KEPT_BYTES = 1024 * 1024


class _NoPandas(MetaPathFinder):
    """Finds nothing, and says of pandas that it is not installed."""

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError("pandas is not for the upload process", name=fullname)


def keep_small() -> None:
    """Tune the allocators, and forbid pandas; for a process that does nothing else, at its start.

    Where pandas is installed pyarrow imports it with the first scalar, which costs 45 MB (measured
    with pyarrow 26) and serves nothing here.
    """
    ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD_BYTES)
    pa.set_memory_pool(pa.system_memory_pool())
    sys.meta_path.insert(0, _NoPandas())


def light(records: Iterator[Stored]) -> Iterator[Stored]:
    """Pass records on, and let go of the pages of their segments that were read.

    A segment is mapped as a whole. What was read of it would count as this process's memory until
    it is closed: 16 MB more at the highest (measured). The pages stay in the system's cache.
    """
    file, kept_from = "", 0
    for one in records:
        if one.file != file:
            file, kept_from = one.file, one.begin - one.begin % mmap.PAGESIZE
        memory = one.payload.obj
        yield one
        read_bytes = one.begin - kept_from
        if read_bytes > _KEPT_BYTES and isinstance(memory, mmap.mmap):
            whole_bytes = read_bytes - read_bytes % mmap.PAGESIZE
            memory.madvise(mmap.MADV_DONTNEED, kept_from, whole_bytes)
            kept_from += whole_bytes
