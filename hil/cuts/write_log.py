"""What QEMU's blklogwrites driver wrote down of a disk: every write and flush, in order.

Little-endian, in sectors: a head (magic, version, entries, sector size), then for each entry a
sector with its own head (sector, sectors, flags, length of data) and its data. Source: QEMU,
block/blklogwrites.c; the format is that of Linux' dm-log-writes.
"""

from __future__ import annotations

import mmap
import struct
from typing import TYPE_CHECKING

from tests.powercut.blocklog import FLUSH, WRITE, Entry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAGIC, VERSION = 0x6A736677736872, 1
SECTOR_BYTES = 512
IS_FLUSH, IS_FUA, IS_DISCARD = 1, 2, 4
_HEAD, _ENTRY = struct.Struct("<QQQI"), struct.Struct("<QQQQ")


def arguments(disk: Path, log: Path, serial: str) -> list[str]:
    """Return QEMU's arguments for a disk whose writes are logged.

    Args:
        disk: the image, raw; it holds everything as it is written.
        log: empty and large enough; the file may be sparse.
        serial: the guest finds the disk under ``/dev/disk/by-id/virtio-`` and this.
    """
    where = "driver=raw,node-name={},file.driver=file,file.filename={}"
    logged = (
        "driver=blklogwrites,node-name=logged,file=disk,log=log"
        f",log-sector-size={SECTOR_BYTES},log-super-update-interval=1"
    )
    nodes = (where.format("disk", disk), where.format("log", log), logged)
    return [
        *(part for node in nodes for part in ("-blockdev", node)),
        *("-device", f"virtio-blk-pci,drive=logged,serial={serial}"),
    ]


def count(log: Path) -> int:
    """Return how many entries a log has by now."""
    with log.open("rb") as file:
        found: int = _HEAD.unpack(file.read(_HEAD.size))[2]
    return found


def entries(log: Path) -> list[Entry]:
    """Return everything that the disk was told; the data lies in the mapped log.

    Raises:
        ValueError: it is no such log, or holds what a virtio disk is never told.
    """
    return list(_parsed(log))


def _parsed(log: Path) -> Iterator[Entry]:
    with log.open("rb") as file:
        view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    magic, version, in_all, sector_bytes = _HEAD.unpack_from(view)
    if (magic, version, sector_bytes) != (MAGIC, VERSION, SECTOR_BYTES):
        raise ValueError(f"{log}: no log of writes")
    at = SECTOR_BYTES
    for _ in range(in_all):
        sector, sectors, flags, _ = _ENTRY.unpack_from(view, at)
        at += SECTOR_BYTES
        if flags & (IS_DISCARD | IS_FUA):
            raise ValueError(f"{log}: an entry with flags {flags}")
        size_bytes = sectors * SECTOR_BYTES
        if flags & IS_FLUSH:
            yield Entry(FLUSH, 0, view[:0], 0)
        if size_bytes:
            yield Entry(WRITE, sector * SECTOR_BYTES, view[at : at + size_bytes], 0)
        at += size_bytes
