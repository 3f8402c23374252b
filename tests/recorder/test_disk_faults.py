"""What the spool's process does when its disk fails: real file systems on real block devices."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.recorder.building import Machine, assert_sound, lane_numbers, machine, wait_until
from tests.recorder.test_spooler import grows, sessions

IMAGE_BYTES = 64 << 20


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
        with self.image.open("wb") as file:
            file.truncate(IMAGE_BYTES)
        run("mkfs.ext4", "-q", "-F", "-J", "size=4", self.image)
        self.mount()
        self.unmount()

    def mount(self) -> None:
        run("mount", "-o", "loop,errors=remount-ro", self.image, self.place)

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
