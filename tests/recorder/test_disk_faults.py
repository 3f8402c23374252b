"""What the spool's process does when its disk fails: real file systems on real block devices."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from recorder import partition
from recorder.configfile.place import spool_problems
from recorder.spool.verify import verify
from recorder.spooler import Spooler
from tests.recorder.building import (
    Machine,
    Producer,
    assert_sound,
    lane_numbers,
    machine,
    schema,
    shelf,
    wait_until,
)
from tests.recorder.test_spooler import grows, sessions

IMAGE_BYTES, BLOCK_BYTES = 64 << 20, 4096


def run(*words: str | Path) -> None:
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"{' '.join(map(str, words))}: {done.stderr.strip()}")


class Card:
    """An ext4 image in a memory file system of its own, mounted by way of a loop device."""

    def __init__(self, directory: Path) -> None:
        self.place, self.image = directory / "mnt", directory / "memory" / "card.img"

    def make(self) -> None:
        self.place.mkdir()
        self.image.parent.mkdir()
        run("mount", "-t", "tmpfs", "-o", "size=100m", "none", self.image.parent)
        self.format()
        self.mount()
        self.unmount()

    def format(self, *options: str) -> None:
        with self.image.open("wb") as file:
            file.truncate(IMAGE_BYTES)
        run("mkfs.ext4", "-q", "-F", "-b", str(BLOCK_BYTES), "-J", "size=4", *options, self.image)

    def mount(self, errors: str = "remount-ro") -> None:
        run("mount", "-o", f"loop,errors={errors}", self.image, self.place)

    def unmount(self) -> None:
        run("umount", self.place)

    def make_read_only(self) -> None:
        """Let the file system find an error in itself, as after damage: it refuses all writing."""
        device = self.place.stat().st_dev
        name = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").resolve().name
        Path(f"/sys/fs/ext4/{name}/trigger_fs_error").write_text("the test's doing")

    def repair(self) -> None:
        """Unmount, check and mount again; nobody may hold a file of it open."""
        run("umount", self.place)
        subprocess.run(["e2fsck", "-p", self.image], check=False, capture_output=True)
        self.mount()

    def damage(self, path: Path) -> None:
        """Let what the file system knows of a file or folder not verify any more."""
        inside = Path("/", path.relative_to(self.place))
        self.unmount()
        tell = ["debugfs", "-R", f"imap {inside}", str(self.image)]
        told = subprocess.run(tell, check=True, capture_output=True, text=True).stdout
        found = re.search(r"located at block (\d+), offset (0x[0-9a-f]+)", told)
        assert found, told
        with self.image.open("r+b") as file:
            file.seek(int(found[1]) * BLOCK_BYTES + int(found[2], 16) + 4)
            file.write(b"\xff")
        self.mount("continue")  # what a file system does that was made without a word about it

    def fail_writes(self, *, is_failing: bool) -> None:
        """Let the device refuse every block that was never written: its memory is used up."""
        filler = self.image.parent / "filler"
        filler.unlink(missing_ok=True)
        with filler.open("wb") as file, contextlib.suppress(OSError):
            while is_failing:
                file.write(bytes(1 << 20))
                file.flush()

    def close(self) -> None:
        for place in (self.place, self.image.parent):
            subprocess.run(["umount", place], check=False, capture_output=True)


@pytest.fixture
def card(tmp_path: Path) -> Iterator[Card]:
    one = Card(tmp_path)
    try:
        try:
            one.make()
        except OSError as error:
            pytest.skip(f"no disk can be made here: {error}")
        yield one
    finally:
        one.close()


def trouble(one: Machine) -> str:
    return str(one.sign("spool").get("trouble", ""))


def assert_all_is_there(one: Machine) -> None:
    """End the recording; every number from the first to the last is stored once, in order."""
    one.end("lane")
    one.end("spool")
    account = sessions(one)[-1].lanes[0]
    found = lane_numbers(one.spool, "imu")
    assert account.imbalances() == []
    assert len(found) == len(set(found)) == account.stored
    assert account.stored + account.lost_ring == account.acquired
    assert found == sorted(found)
    assert_sound(one.spool)


def test_a_file_system_that_turns_read_only_is_waited_for_and_the_session_goes_on(
    tmp_path: Path, card: Card
) -> None:
    card.mount()
    with machine(tmp_path, data=card.place, ring_bytes=1 << 20) as one:
        one.start("spool")
        one.start("lane")
        grows(one)
        card.make_read_only()
        wait_until(lambda: "Read-only" in trouble(one))
        card.repair()
        wait_until(lambda: not trouble(one))
        grows(one)
        assert one.processes["spool"].poll() is None
        assert_all_is_there(one)
        assert len(sessions(one)) == 1
        assert sessions(one)[0].lanes[0].lost_ring == 0


def test_after_a_failed_sync_everything_is_written_again_into_a_new_segment(
    tmp_path: Path, card: Card
) -> None:
    card.mount()
    with machine(tmp_path, data=card.place, ring_bytes=1 << 20, segment_bytes=16 << 20) as one:
        one.start("spool")
        one.start("lane")
        grows(one)
        before = len(list(one.spool.glob("sessions/*/imu/*.seg")))
        card.fail_writes(is_failing=True)
        wait_until(lambda: trouble(one))
        card.fail_writes(is_failing=False)
        card.repair()
        wait_until(lambda: not trouble(one))
        grows(one)
        assert one.processes["spool"].poll() is None
        assert_all_is_there(one)
        assert len(sessions(one)) == 1
        assert sessions(one)[0].lanes[0].lost_ring == 0
        assert len(list(one.spool.glob("sessions/*/imu/*.seg"))) == before + 1


def test_nothing_is_written_under_a_mount_point_that_fstab_names(
    tmp_path: Path, card: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "fstab"
    table.write_text(f"# <where>\nLABEL=recorder {card.place}/ ext4 noatime,nofail 0 0\n")
    monkeypatch.setattr(partition, "FSTAB", table)
    one = Machine(tmp_path, data=card.place)
    (problem,) = spool_problems(one.config)
    assert f"is not mounted ({table} names {card.place})" in problem
    one.config.rings_dir.mkdir(parents=True)
    with contextlib.closing(Spooler(one.config)) as spooler:
        spooler.commit()
        assert "not mounted" in trouble(one)
        assert list(card.place.iterdir()) == []
        card.mount()
        spooler.commit()
        assert spooler.recording is not None
    assert not spool_problems(one.config)


def test_nothing_is_written_under_a_mount_point_and_recording_starts_when_it_is_mounted(
    tmp_path: Path, card: Card
) -> None:
    card.mount()
    (card.place / "recordings").touch()
    card.unmount()
    with machine(tmp_path, data=card.place, marker="recordings", ring_bytes=1 << 20) as one:
        one.start("spool")
        one.start("lane")
        wait_until(lambda: "not mounted" in trouble(one))
        wait_until(lambda: one.sign("lane-imu").get("samples", 0) > 100)
        assert list(card.place.iterdir()) == []
        card.mount()
        grows(one)
        assert not trouble(one)
        assert_all_is_there(one)
        account = sessions(one)[0].lanes[0]
        assert (account.stored, account.lost_ring) == (account.acquired, 0)


def put(one: Machine, producer: Producer, spooler: Spooler, times: int) -> None:
    for _ in range(times):
        producer.put(30)
        spooler.commit()


@pytest.mark.parametrize("place", ["", "journal", "imu", "imu/*.seg"])
@pytest.mark.parametrize("is_orphan", [False, True])
def test_an_old_session_that_the_file_system_lost_keeps_no_other_from_being_recorded(
    tmp_path: Path, card: Card, place: str, is_orphan: bool, caplog: pytest.LogCaptureFixture
) -> None:
    card.mount()
    boot = uuid.uuid4().hex if is_orphan else ""
    with shelf(tmp_path / "old", spool=card.place / "spool", boot=boot, segment_bytes=2000) as old:
        old.leave(is_orphan=is_orphan)
        folder = old.spool.session_dir(old.recording.session.id)
        hit = next(folder.glob(place)) if place else folder
        session_id = old.recording.session.id
    card.damage(hit)
    one = Machine(tmp_path, data=card.place)
    one.config.rings_dir.mkdir(parents=True)
    with contextlib.ExitStack() as opened:
        ring = Producer(one.config.rings_dir, schema())
        opened.callback(ring.close)
        spooler = opened.enter_context(contextlib.closing(Spooler(one.config)))
        put(one, ring, spooler, 3)
        assert trouble(one) == ""
        assert one.stored() == 90
        assert spooler.recording is not None
        assert spooler.recording.session.id != session_id
    if is_orphan or place in {"", "journal"}:
        assert str(hit) in caplog.text
    found = verify(one.spool)
    problems = [*found.problems, *(text for each in found.sessions for text in each.problems)]
    assert any(str(hit) in text for text in problems)


def test_a_disk_that_takes_no_more_files_gets_room_like_one_without_blocks(
    tmp_path: Path, card: Card
) -> None:
    card.format("-N", "128")
    card.mount()
    one = Machine(tmp_path, data=card.place, segment_bytes=2000)
    one.config.rings_dir.mkdir(parents=True)
    with contextlib.ExitStack() as opened:
        ring = Producer(one.config.rings_dir, schema(), 1 << 20)
        opened.callback(ring.close)
        spooler = opened.enter_context(contextlib.closing(Spooler(one.config)))
        put(one, ring, spooler, 30)
        with contextlib.suppress(OSError):
            for number in itertools.count():
                (card.place / f"small-{number}").touch()
        put(one, ring, spooler, 60)
        spooler.commit()
        assert trouble(one) == ""
        assert spooler.recording is not None
        account = spooler.recording.session.lanes[0]
        assert (account.stored, account.lost_ring) == (90 * 30, 0)
        assert 0 < account.lost_evicted < account.stored  # the oldest went for the newest
        entries = spooler.archive.spool.entries(spooler.recording.session.id)
        files = [each["file"] for each in entries if each["entry"] == "segment"]
        assert len(files) == len(set(files))
