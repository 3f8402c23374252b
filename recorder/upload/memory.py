"""Keeping the upload process small and quick, whatever waits in the spool."""

from __future__ import annotations

import ctypes
import os
import sys
from importlib.abc import MetaPathFinder

# Of mallopt(3): blocks from this size on are mapped on their own and go back to the system at once;
# so much that is free at the heap's end stays there; and how many heaps there are at most.
_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD, _M_ARENA_MAX = -3, -1, -8
_LEAST_BYTES = 128 * 1024
#: What a process reads into and packs batches in, again and again: some MiB, as blobs of a batch.
BATCHES_BYTES = 8 * 1024 * 1024

_HEAVY = ("numpy", "pandas")


class _NotInstalled(MetaPathFinder):
    """Finds nothing, and says of what is heavy that it is not installed."""

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        if fullname in _HEAVY:
            raise ModuleNotFoundError(f"{fullname} is not for this process", name=fullname)


def keep_small(kept_bytes: int = _LEAST_BYTES) -> None:
    """Tune the allocators, and forbid numpy and pandas; for a process, before Arrow is loaded.

    Memory that goes back to the system after each batch comes back page by page, cleared: of what
    it cost to upload pictures that was 40 % (measured, `docs/upload.md`). So the uploader keeps as
    much as its batches need.

    Where they are installed pyarrow imports numpy with itself and pandas with the first scalar,
    which costs 12 and 45 MB (measured with pyarrow 26) and serves nothing here.

    Args:
        kept_bytes: blocks up to this size, and so much free memory, are kept for the next block.
    """
    libc = ctypes.CDLL(None)
    libc.mallopt(_M_MMAP_THRESHOLD, kept_bytes)
    libc.mallopt(_M_TRIM_THRESHOLD, kept_bytes)
    os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"
    sys.meta_path.insert(0, _NotInstalled())


def share_one_heap() -> None:
    """Let all threads of the process take memory from one heap; before there is a second one.

    Else gRPC's threads get heaps of their own: what one of them kept free the next could not use,
    and each part that was read back left some more MiB behind (measured).
    """
    ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def give_back() -> None:
    """Give free memory back to the system that the allocator keeps for the next time."""
    ctypes.CDLL(None).malloc_trim(0)
