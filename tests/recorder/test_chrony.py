"""The feed of chrony: bytes on a socket, and a real chronyd that takes them."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from recorder.chrony import ChronyFeed
from recorder.clock import boot_ns, wall_ns
from tests.recorder.building import wait_until

S = 1_000_000_000
CONF = """
refclock SOCK {folder}/recorder.sock refid GPS poll 0 filter 4 delay 0.001
port 0
cmdport 0
bindcmdaddress {folder}/command.sock
pidfile {folder}/pid
driftfile {folder}/drift
"""


def test_a_sample_is_as_chrony_reads_it_and_one_a_second_is_enough(tmp_path: Path) -> None:
    path = tmp_path / "recorder.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as chrony:
        chrony.bind(str(path))
        chrony.settimeout(5)
        feed = ChronyFeed(path)
        boot = boot_ns()
        feed.send(boot - S // 2, wall_ns(boot) + 7 * S - S // 2)
        feed.send(boot, wall_ns(boot) + 9 * S)
        feed.send(boot + S // 2, wall_ns(boot) + 5 * S + S // 2)
        feed.close()
        found = [struct.unpack("@lldiiii", chrony.recv(100)) for _ in range(2)]
        assert found[1][2] == pytest.approx(5, abs=0.001)
        chrony.setblocking(False)
        with pytest.raises(BlockingIOError):
            chrony.recv(100)
    seconds, micros, ahead_s, pulse, leap, _, magic = found[0]
    assert abs(seconds * S + micros * 1000 - wall_ns(boot) + S // 2) < 10_000_000
    assert ahead_s == pytest.approx(7, abs=0.001)
    assert (pulse, leap, magic) == (0, 0, 0x534F434B)


def test_nobody_who_listens_holds_nothing_up(tmp_path: Path) -> None:
    feed = ChronyFeed(tmp_path / "absent.sock")
    feed.send(boot_ns(), 5 * S)
    feed.close()
    feed.close()


@contextlib.contextmanager
def chronyd(folder: Path) -> Iterator[None]:
    """Run a chronyd that knows no server, listens on no network and never sets the clock."""
    daemon = shutil.which("chronyd", path=f"{os.environ['PATH']}:/usr/sbin")
    if daemon is None or shutil.which("chronyc") is None:
        pytest.skip("no chronyd here (Debian package chrony)")
    config = folder / "chrony.conf"
    config.write_text(CONF.format(folder=folder))
    user = ["-u", "root"] if os.geteuid() == 0 else ["-U"]
    command = [daemon, "-x", "-d", *user, "-f", str(config)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            yield
        finally:
            process.terminate()
            process.wait(10)
            assert process.stderr is not None
            process.stderr.read()


def ask(folder: Path, what: str) -> list[list[str]]:
    command = ["chronyc", "-h", str(folder / "command.sock"), "-c", what]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return [line.split(",") for line in done.stdout.splitlines()]


def test_a_real_chronyd_selects_our_receiver_and_its_offset_agrees(tmp_path: Path) -> None:
    ahead_s = 0.25
    folder = tmp_path / "chrony"
    folder.mkdir(mode=0o700)  # chronyd insists
    with chronyd(folder):
        wait_until((folder / "recorder.sock").exists, 20)
        feed = ChronyFeed(folder / "recorder.sock")

        def selected() -> list[str] | None:
            boot = boot_ns()
            feed.send(boot, wall_ns(boot) + round(ahead_s * S))
            time.sleep(0.2)  # the pace of a receiver
            sources = [one for one in ask(folder, "sources") if one[2] == "GPS"]
            return sources[0] if sources and sources[0][1] == "*" else None

        found = wait_until(selected, 60)
        (tracking,) = ask(folder, "tracking")
        feed.close()
    assert found[0] == "#"  # a reference clock of its own
    assert tracking[1] == "GPS"
    # How far the system's clock is from what chrony takes for true; it may not set it here.
    assert abs(float(tracking[4])) == pytest.approx(ahead_s, abs=0.005)
    assert abs(float(found[8])) == pytest.approx(ahead_s, abs=0.005)
