from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.bench import loop
from tests.bench.commit import HEADING, Cost
from tests.bench.loop import Counts, LoopDisk
from tests.bench.ways import ALLOCATED, GROWING, KINDS, Dirty, Log, Logs, Stream

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STREAM = Stream("imu", 1000, 8192)
IMAGE_BYTES = 16 << 20

rooted = pytest.mark.skipif(bool(loop.why_not()), reason=loop.why_not() or "a loop device is there")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[LoopDisk]:
    with LoopDisk(tmp_path, IMAGE_BYTES) as one:
        yield one


def written(folder: Path) -> list[bytes]:
    """Return what each of a lane's files holds, without the zeros behind it."""
    names = sorted(
        (one for one in folder.iterdir() if one.name.isdigit()), key=lambda one: one.name
    )
    return [one.read_bytes().rstrip(b"\0") for one in names]


def test_a_row_of_the_table_has_a_cell_below_each_heading() -> None:
    row = Cost(2.0, 2, 2048.0, 1024, 0.003, 0.004).row("growing", "syncfs", None)
    assert row.count("|") == HEADING.splitlines()[0].count("|")
    assert [one.strip() for one in row.split("|")[3:8]] == ["2.00", "2.0", "2.000", "3.00", "4.0"]


def test_what_came_since_is_counted_by_kind() -> None:
    assert Counts(5, 4096, 3).since(Counts(2, 1024, 3)) == Counts(3, 3072, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_lane_of_every_kind_of_file_writes_the_same_bytes(tmp_path: Path, kind: str) -> None:
    log = Log(tmp_path, STREAM, kind)
    for _ in range(10):
        log.write(Dirty(-1))
        log.settle()
    found = written(tmp_path / STREAM.name)
    log.close()
    assert [len(one) for one in found] == [8000, 2000]
    assert found[0][:2000] == found[1]


def test_a_new_file_is_dirty_with_its_folder_and_the_one_before_it(tmp_path: Path) -> None:
    log = Log(tmp_path, STREAM, ALLOCATED)
    for commit in range(9):
        dirty = Dirty(-1)
        log.write(dirty)
        is_new = commit in {0, 8}
        assert dirty.folders == [tmp_path / STREAM.name] * is_new
        assert len(dirty.files) == 1 + (commit == 8)
        log.settle()
    log.close()


def test_one_file_for_all_lanes_takes_what_all_of_them_write(tmp_path: Path) -> None:
    streams = [STREAM, Stream("gps", 10, 4096)]
    with Logs(tmp_path, streams, GROWING, "one file, fdatasync") as logs:
        logs.put()
        logs.commit()
        (found,) = written(tmp_path / "log")
    assert len(found) == 1010
    assert list(tmp_path.iterdir()) == []


@rooted
def test_a_device_counts_the_bytes_and_the_flush_of_a_sync(disk: LoopDisk) -> None:
    before = disk.counts()
    path = disk.mount_point / "file"
    path.write_bytes(os.urandom(1 << 20))
    with path.open("rb") as file:
        os.fsync(file.fileno())
    spent = disk.counts().since(before)
    assert spent.flushes >= 1
    assert 1 << 20 <= spent.written_bytes < 2 << 20


@rooted
def test_a_throttle_is_in_force_until_the_device_is_gone(tmp_path: Path) -> None:
    with LoopDisk(tmp_path, IMAGE_BYTES) as disk:
        disk.throttle(5_000_000)
        assert "5000000" in loop.THROTTLE.read_text()
        disk.throttle(0)
        assert "5000000" not in loop.THROTTLE.read_text()
        disk.throttle(5_000_000)
    assert "5000000" not in loop.THROTTLE.read_text()


@rooted
def test_a_remounted_file_system_has_what_was_written(disk: LoopDisk) -> None:
    (disk.mount_point / "file").write_text("kept")
    disk.remount()
    assert (disk.mount_point / "file").read_text() == "kept"


@rooted
def test_a_disk_that_cannot_be_made_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(loop.DiskError):
        LoopDisk(tmp_path, 1 << 12)
    assert list(tmp_path.iterdir()) == []


@rooted
def test_a_disk_goes_away_though_somebody_has_a_file_of_it_open(tmp_path: Path) -> None:
    with LoopDisk(tmp_path, IMAGE_BYTES) as disk:
        file = (disk.mount_point / "file").open("w")
    assert list(tmp_path.iterdir()) == []
    file.close()
