"""What a disk holds after the power was cut: the model of a device with a volatile write cache.

Of all that the disk was told before the cut, everything before the last flush is on the medium. Of
what came later any part may be: each run of at most `RUN_BYTES` is dropped with `DROPPED`, and of
those that stay, a share of `TORN` ends, or begins, at some sector within. Some cuts keep instead a
strict prefix: a device that writes in order and dies in the midst of the last write.

One write is never torn: that of ext4's superblock, which lies in two sectors. A disk that parts
them cannot be mounted before e2fsck was there ("invalid superblock checksum"), whatever was
recorded on it.

Not in the model: bits that rot, writes that go astray, and erase blocks that take their neighbours
with them.
"""

from __future__ import annotations

import mmap
import shutil
from typing import TYPE_CHECKING

from tests.powercut.blocklog import FLUSH, WRITE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from random import Random

    from tests.powercut.blocklog import Entry

SECTOR_BYTES = 512
RUN_BYTES = 32 * 1024
DROPPED, TORN, IN_ORDER = 0.5, 0.3, 0.2
#: Between the superblock's two sectors.
_WITHIN_SUPERBLOCK = 1024 + SECTOR_BYTES


class Replay:
    """Makes images of one logged disk as they were at cuts, from the earliest to the latest.

    Args:
        base: the image at the log's beginning.
        entries: the log.
        durable: a file for the medium as flushes left it; overwritten.
    """

    def __init__(self, base: Path, entries: Sequence[Entry], durable: Path) -> None:
        self._entries = entries
        shutil.copyfile(base, durable)
        with durable.open("r+b") as file:
            self._medium = mmap.mmap(file.fileno(), 0)
        self._flushed = 0

    def cut(self, at: int, chance: Random, image: Path) -> None:
        """Write the image of a disk whose power was cut.

        Args:
            at: how many entries of the log came before the cut; never less than at the last call.
            chance: decides what the cache brought to the medium.
            image: where to; a file that is there and as large is overwritten in place.
        """
        self._advance(at)
        _same_size(image, len(self._medium))
        with image.open("r+b") as file, mmap.mmap(file.fileno(), 0) as disk:
            disk[:] = self._medium[:]
            volatile = [one for one in self._entries[self._flushed : at] if one.kind == WRITE]
            if chance.random() < IN_ORDER:
                _write_in_order(disk, volatile, chance)
            else:
                _write_some(disk, volatile, chance)

    def _advance(self, at: int) -> None:
        flushed = self._flushed
        for index in range(flushed, at):
            if self._entries[index].kind == FLUSH:
                flushed = index + 1
        for one in self._entries[self._flushed : flushed]:
            self._medium[one.offset : one.offset + len(one.data)] = one.data
        self._flushed = flushed

    def close(self) -> None:
        """Let go of the medium."""
        self._medium.close()


def _same_size(image: Path, size_bytes: int) -> None:
    with image.open("ab") as file:
        file.truncate(size_bytes)


def _write_in_order(disk: mmap.mmap, writes: list[Entry], chance: Random) -> None:
    for number, one in enumerate(writes, 1):
        kept = len(one.data)
        if number == len(writes):
            kept = _tear(one.offset, len(one.data), chance)
        disk[one.offset : one.offset + kept] = one.data[:kept]


def _write_some(disk: mmap.mmap, writes: list[Entry], chance: Random) -> None:
    for one in writes:
        for begin in range(0, len(one.data), RUN_BYTES):
            if chance.random() < DROPPED:
                continue
            run = one.data[begin : begin + RUN_BYTES]
            first, last = _kept(one.offset + begin, len(run), chance)
            at = one.offset + begin
            disk[at + first : at + last] = run[first:last]


def _kept(offset: int, size_bytes: int, chance: Random) -> tuple[int, int]:
    """Return which part of a run comes to the medium."""
    if chance.random() >= TORN:
        return 0, size_bytes
    where = _tear(offset, size_bytes, chance)
    return (0, where) if chance.random() < 0.5 else (where, size_bytes)


def _tear(offset: int, size_bytes: int, chance: Random) -> int:
    """Return where a write is torn: behind some of its sectors, in bytes."""
    where = chance.randint(0, size_bytes // SECTOR_BYTES) * SECTOR_BYTES
    return where - SECTOR_BYTES if offset + where == _WITHIN_SUPERBLOCK else where
