from __future__ import annotations

import errno
import os
import random
from pathlib import Path

import pytest

from tests.crash.disk import Disk
from tests.crash.faults import Cut


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for name in ("disk", "run"):
        (tmp_path / name).mkdir()
    return tmp_path / "disk", tmp_path / "run"


def write(path: Path, data: bytes, *, is_synced: bool) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(file, data)
    if is_synced:
        os.fdatasync(file)
    os.close(file)


def sync(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY)
    os.fsync(file)
    os.close(file)


def fates(folders: tuple[Path, Path], *, is_synced: bool, is_named: bool) -> set[bytes | None]:
    """Return what many power cuts leave of a file of 9000 bytes."""
    found: set[bytes | None] = set()
    for seed in range(60):
        root = folders[0] / str(seed)
        root.mkdir()
        with Disk(root, folders[1], random.Random(seed), is_own=False) as disk:
            write(root / "file", b"x" * 9000, is_synced=is_synced)
            if is_named:
                sync(root)
            disk.crash()
        path = root / "file"
        found.add(path.read_bytes() if path.exists() else None)
    return found


def test_what_was_synced_with_its_name_is_always_there(folders: tuple[Path, Path]) -> None:
    assert fates(folders, is_synced=True, is_named=True) == {b"x" * 9000}


def test_a_synced_file_without_its_name_is_there_or_not(folders: tuple[Path, Path]) -> None:
    assert fates(folders, is_synced=True, is_named=False) == {b"x" * 9000, None}


def test_unsynced_bytes_come_in_every_shape(folders: tuple[Path, Path]) -> None:
    found = fates(folders, is_synced=False, is_named=True)
    assert b"x" * 9000 in found
    assert b"" in found
    assert any(one and one.startswith(b"\0" * 512) and b"x" in one for one in found)
    assert any(one is not None and len(one) % 512 not in (0, 9000 % 512) for one in found)


def test_a_rename_is_done_or_not_and_never_half(folders: tuple[Path, Path]) -> None:
    seen = set()
    for seed in range(30):
        root = folders[0] / str(seed)
        root.mkdir()
        with Disk(root, folders[1], random.Random(seed), is_own=False) as disk:
            write(root / "old", b"x", is_synced=True)
            sync(root)
            (root / "old").rename(root / "new")
            disk.crash()
        seen.add(tuple(sorted(path.name for path in root.iterdir())))
    assert seen == {("old",), ("new",)}


def test_after_a_sync_that_failed_a_later_one_proves_nothing(folders: tuple[Path, Path]) -> None:
    root, memory = folders
    with Disk(root, memory, random.Random(1), is_own=False) as disk:
        file = os.open(root / "file", os.O_WRONLY | os.O_CREAT)
        os.write(file, b"x" * 100)
        disk.faults.sync_errors = 1
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            os.fsync(file)
        os.fsync(file)
        sync(root)
        os.close(file)
        assert (root / "file").read_bytes() == b"x" * 100
        disk.crash()
    assert (root / "file").read_bytes().strip(b"\0") == b""


def test_a_full_disk_takes_what_fits_and_then_nothing(folders: tuple[Path, Path]) -> None:
    root, memory = folders
    with Disk(root, memory, random.Random(1), is_own=False) as disk:
        disk.faults.capacity_bytes = 8192
        file = os.open(root / "file", os.O_WRONLY | os.O_CREAT)
        assert os.write(file, bytes(10_000)) == 8192
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            os.write(file, b"x")
        os.close(file)


def test_a_process_ends_at_the_change_that_was_chosen(folders: tuple[Path, Path]) -> None:
    root, memory = folders
    with Disk(root, memory, random.Random(1), is_own=False) as disk:
        disk.faults.steps_left = 2
        (root / "one").mkdir()
        (root / "two").mkdir()
        with pytest.raises(Cut):
            (root / "three").mkdir()
        with pytest.raises(Cut):
            (root / "four").mkdir()
    assert sorted(path.name for path in root.iterdir()) == ["one", "two"]
