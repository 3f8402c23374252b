from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from recorder.partition import is_mount
from recorder.spool import volume
from recorder.spool.spool import Spool
from recorder.spool.volume import Volume, allocate


def test_a_folder_of_a_shared_file_system_is_not_the_recorders_own(tmp_path: Path) -> None:
    (tmp_path / "data" / "spool").mkdir(parents=True)
    one = Volume(tmp_path / "data" / "spool")
    assert not one.is_own
    one.close()
    one.close()


def test_where_a_file_system_is_mounted_is_told_from_where_it_goes_on(tmp_path: Path) -> None:
    assert is_mount(Path("/proc"))
    assert not is_mount(tmp_path)
    assert not is_mount(Path("/"))


@pytest.mark.parametrize("is_written", [True, False])
def test_blocks_that_are_taken_at_once_read_as_zeros(tmp_path: Path, *, is_written: bool) -> None:
    path = tmp_path / "file"
    with path.open("wb") as file:
        allocate(file.fileno(), 100_000, is_written=is_written)
    assert path.read_bytes() == bytes(100_000)
    assert path.stat().st_blocks * 512 >= 100_000


def test_a_file_system_that_cannot_take_blocks_lets_the_file_grow(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    try:
        allocate(write_end, 4096, is_written=True)  # ESPIPE: only a help, and no error
        with pytest.raises(OSError, match="Bad file") as caught:
            allocate(10_000, 4096, is_written=True)
        assert caught.value.errno == errno.EBADF
    finally:
        os.close(read_end)
        os.close(write_end)


def test_an_error_of_a_sync_is_raised_and_not_passed_over(tmp_path: Path) -> None:
    one = Volume(tmp_path)
    read_end, write_end = os.pipe()
    with pytest.raises(OSError, match="Invalid argument"):
        one.make_durable([write_end], ())  # a pipe cannot be synced
    os.close(read_end)
    os.close(write_end)
    with pytest.raises(OSError, match="Bad file"):
        volume.syncfs(10_000)
    one.close()


def test_a_spool_that_is_dropped_unclosed_leaves_no_descriptor_open(tmp_path: Path) -> None:
    # The chaos campaign's first finding: whoever wrote into one spool after the other ran out of
    # descriptors, for each kept its directory open until the process ended.
    Spool.make(tmp_path / "spool")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        assert Spool.current(tmp_path / "spool").volume.directory == tmp_path / "spool"
    assert len(list(Path("/proc/self/fd").iterdir())) == before
