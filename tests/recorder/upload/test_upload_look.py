"""A look at a session under recording: what it sees, and that it does not grow with the session."""

from __future__ import annotations

from pathlib import Path

import pytest

from recorder import status
from recorder.clock import boot_ns
from recorder.service import Stop
from recorder.spool.watermark import Watermark
from recorder.upload.source import Source
from recorder.uploader import Uploader
from tests.known import known


def look(drive):
    """Return what an uploader sees, and the durable length of each lane's open segment."""
    water = known(Watermark.read(drive.folder / "run" / "watermark"))
    source = Source(drive.spool, drive.id)
    source.look(water)
    return source, dict(water.ends.values())


def test_the_size_is_that_of_the_files_as_far_as_they_are_durable(drive):
    drive.camera(10)
    drive.imu(5)
    drive.commit()
    drive.recording.settle()
    source, ends = look(drive)
    paths = [*drive.spool.segments(drive.id, "camera"), *drive.spool.segments(drive.id, "imu")]
    assert len(paths) > len(ends) == 2
    assert source.size_bytes() == sum(ends.get(one.name) or one.stat().st_size for one in paths)
    drive.end()
    source.look(None)
    assert source.size_bytes() == sum(one.stat().st_size for one in paths)


def test_entries_are_those_of_the_journal_whenever_it_is_looked_at(drive):
    drive.commit()
    source, _ = look(drive)
    for _ in range(3):
        drive.camera(4)
        drive.beat()
        assert list(source.entries) == drive.spool.entries(drive.id)
    source.let_go()
    assert list(source.entries) == drive.spool.entries(drive.id)


@pytest.fixture
def uploader(drive, station):
    drive.recording.close()
    drive.begin(10)
    drive.tell_time()
    drive.beat()
    made = Uploader(drive.config(station.url, mode="live", part_bytes=64 << 20), Stop())
    yield made
    made.close()


def test_a_look_asks_the_disk_as_often_whether_there_are_few_segments_or_many(
    drive, uploader, monkeypatch
):
    asked: list[Path] = []
    stat = Path.stat

    def counted(path, **options):
        asked.append(path)
        return stat(path, **options)

    def questions():
        """Let two more segments be made, of three pictures each, and looked at."""
        drive.camera(6)
        drive.commit()
        uploader.work()
        asked.clear()
        drive.camera(6)
        drive.commit()
        uploader.work()
        uploader.rest()
        return len(asked)

    monkeypatch.setattr(Path, "stat", counted)
    few = questions()
    drive.camera(120)
    assert len(drive.spool.segments(drive.id, "camera")) > 40
    assert questions() < few + 10


def test_an_uploader_that_waits_is_alive_and_says_which_look_it_speaks_of(drive, station):
    config = drive.config(station.url)
    uploader = Uploader(config, Stop())
    uploader.backlog.look()
    began_ns = boot_ns()
    uploader.say("parked", "the server refuses the key")
    uploader.close()
    sign = known(status.read(config.spool.run_dir, "upload"))
    assert sign["looked_boot_ns"] < began_ns < sign["boot_ns"]
