from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.powercut.blocklog import FLUSH, WRITE, Entry
from tests.powercut.replay import SECTOR_BYTES, Replay

SECTORS = 64
OLD, NEW, NEWER = b"\0", b"\1", b"\2"


def write(first: int, sectors: int, byte: bytes) -> Entry:
    return Entry(WRITE, first * SECTOR_BYTES, memoryview(byte * sectors * SECTOR_BYTES), 0)


FLUSHED = [write(0, 32, NEW), Entry(FLUSH, 0, memoryview(b""), 0)]
CACHED = [write(16, 8, NEWER), write(32, 32, NEWER)]


def disks(
    folder: Path, at: int, cuts: int, entries: Sequence[Entry] = (*FLUSHED, *CACHED)
) -> list[list[int]]:
    """Return what each sector holds after cuts at one place; none is mixed from two writes."""
    base = folder / "base.img"
    base.write_bytes(OLD * SECTORS * SECTOR_BYTES)
    found: list[list[int]] = []
    for seed in range(cuts):
        replay = Replay(base, entries, folder / "medium.img")
        replay.cut(at, random.Random(seed), folder / "crash.img")
        replay.close()
        raw = (folder / "crash.img").read_bytes()
        sectors = [raw[at : at + SECTOR_BYTES] for at in range(0, len(raw), SECTOR_BYTES)]
        assert all(len(set(one)) == 1 for one in sectors)
        found.append([one[0] for one in sectors])
    return found


def test_what_was_flushed_before_the_cut_is_there(tmp_path):
    for disk in disks(tmp_path, len(FLUSHED + CACHED), 50):
        assert all(disk[:16])
        assert all(disk[24:32])


def test_what_was_flushed_after_the_cut_may_be_missing(tmp_path):
    assert any(0 in disk[:32] for disk in disks(tmp_path, 1, 50))


def test_nothing_behind_the_cut_is_there(tmp_path):
    for disk in disks(tmp_path, len(FLUSHED), 20):
        assert disk == [1] * 32 + [0] * 32


@pytest.mark.parametrize("kept", [(False, False), (False, True), (True, False), (True, True)])
def test_any_part_of_what_was_not_flushed_may_be_there(tmp_path, kept):
    found = {
        (disk[16:24] == [2] * 8, disk[32:] == [2] * 32)
        for disk in disks(tmp_path, len(FLUSHED + CACHED), 100)
    }
    assert kept in found


def test_a_write_may_be_torn_between_two_sectors(tmp_path):
    found = disks(tmp_path, len(FLUSHED + CACHED), 100)
    assert any({0, 2} == set(disk[32:]) for disk in found)


def test_the_superblock_of_the_file_system_is_not_torn(tmp_path):
    for disk in disks(tmp_path, 1, 50, [write(2, 8, NEW)]):
        assert disk[2] == disk[3]
