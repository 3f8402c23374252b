"""What somebody put where a lane's segments belong: it is kept and named, and recording goes on."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import tempfile
import uuid
from pathlib import Path

import pytest

from recorder.spool.spool import Spool
from recorder.spool.verify import verify
from recorder.spooler import Spooler
from tests.recorder.building import Machine, Producer, lane_numbers, schema, shelf

NOBODY = 65_534


def replace_by_a_file(lane_dir: Path) -> None:
    shutil.rmtree(lane_dir)
    lane_dir.write_text("somebody's")


def assert_kept_and_named(one: Machine, caplog: pytest.LogCaptureFixture) -> None:
    (kept,) = one.spool.glob("sessions/*/imu-strange-1")
    assert kept.read_text() == "somebody's"
    assert f"{kept.parent / 'imu'}: not the recorder's; moved to imu-strange-1" in caplog.text
    assert verify(one.spool).unknown == [str(kept)]


@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_file_in_the_place_of_a_lanes_folder_stops_no_recording(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, is_restarted: bool
) -> None:
    one = Machine(tmp_path, segment_bytes=2000)
    one.config.rings_dir.mkdir(parents=True)
    with contextlib.ExitStack() as opened, caplog.at_level(logging.WARNING):
        producer = opened.enter_context(
            contextlib.closing(Producer(one.config.rings_dir, schema()))
        )
        spooler = opened.enter_context(contextlib.closing(Spooler(one.config)))
        for _ in range(3):
            producer.put(30)
            spooler.commit()
        (folder,) = one.spool.glob("sessions/*/imu")
        replace_by_a_file(folder)
        if is_restarted:
            spooler.close()
            spooler = opened.enter_context(contextlib.closing(Spooler(one.config)))
        for _ in range(3):
            producer.put(30)
            spooler.commit()
        assert spooler.recording is not None
        assert spooler.recording.session.lanes[0].imbalances() == []
        assert one.sign("spool")["trouble"] == ""
    stored = lane_numbers(one.spool, "imu")
    # While it ran, what came before the next segment went with the folder that was removed.
    assert stored == list(range(90 if is_restarted else stored[0], 180))
    assert stored[0] <= 120
    assert_kept_and_named(one, caplog)


def test_a_link_leads_to_another_disk_perhaps_and_nothing_is_written_through_it(
    tmp_path: Path,
) -> None:
    one, elsewhere = Machine(tmp_path), tmp_path / "elsewhere"
    elsewhere.mkdir()
    one.spool.mkdir(parents=True)
    (one.spool / "sessions").symlink_to(elsewhere)
    with contextlib.closing(Spooler(one.config)) as spooler:
        spooler.commit()
        assert spooler.recording is not None
        folder = one.spool / "sessions" / spooler.recording.session.id
    assert list(elsewhere.iterdir()) == []
    assert (one.spool / "sessions-strange-1").readlink() == elsewhere
    # Nor is what a link in the recorder's place leads to taken for a session.
    folder.rename(elsewhere / folder.name)
    folder.symlink_to(elsewhere / folder.name)
    assert Spool(one.spool).session_ids() == []
    assert str(folder) in verify(one.spool).unknown


def test_a_file_in_the_place_of_a_sealed_lanes_folder_keeps_nothing_from_being_given_up(
    tmp_path: Path,
) -> None:
    with shelf(tmp_path / "data", boot=uuid.uuid4().hex, segment_bytes=2000) as old:
        for _ in range(5):
            old.producer.put(30)
            old.commit()
        first = old.segments()[0]
        tombstone = {"entry": "evicted", "lane": "imu", "file": first.name, "rows": 30}
        old.recording.bury({**tombstone, "delivered": False})
        old.recording.commit()
        folder = first.parent
    replace_by_a_file(folder)
    one = Machine(tmp_path, max_bytes=1)  # all that is sealed has to go
    with contextlib.closing(Spooler(one.config)) as spooler:
        for _ in range(3):
            spooler.commit()
    assert folder.read_text() == "somebody's"
    ended, _ = (Spool(one.spool).session(each) for each in Spool(one.spool).session_ids())
    assert ended.lanes[0].imbalances() == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize("is_orphan", [False, True])
@pytest.mark.parametrize("kind", ["*", "journal", "imu", "closed"])
def test_an_old_session_that_somebody_else_owns_keeps_no_other_from_being_recorded(
    caplog: pytest.LogCaptureFixture, kind: str, is_orphan: bool
) -> None:
    # Not in pytest's own folder, which is root's alone.
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        directory = Path(name)
        one = Machine(directory, max_bytes=1)  # all that is sealed has to go
        boot = uuid.uuid4().hex if is_orphan else ""
        with shelf(directory / "old", spool=one.spool, boot=boot, segment_bytes=2000) as old:
            old.leave(is_orphan=is_orphan)
            folder = old.spool.session_dir(old.recording.session.id)
            kept = old.segments()[0]
        one.config.rings_dir.mkdir(parents=True)
        for path in (directory, *directory.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
        for path in (folder, *folder.rglob("*")) if kind in "*closed" else (folder / kind,):
            os.chown(path, 0, 0)
            path.chmod(0o700 if kind in ("closed", path.name) else 0o755)
        os.seteuid(NOBODY)
        try:
            with contextlib.closing(Spooler(one.config)) as spooler:
                producer = Producer(one.config.rings_dir, schema())
                for _ in range(5):
                    producer.put(30)
                    spooler.commit()
                producer.close()
                assert one.sign("spool")["trouble"] == ""
                assert one.stored() == 150
        finally:
            os.seteuid(0)
        assert kept.exists()
        if kind in {"journal", "closed"}:
            assert str(folder) in caplog.text
