"""What every process of the recorder does around its own work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from recorder import config
from recorder.service import Leash
from tests.recorder.building import ROOT, wait_until

#: A process that says who it is, and how it ended.
CHILD = """
import os, sys
from pathlib import Path
from recorder.service import entry
def main(config, stop):
    Path(sys.argv[1]).write_text(f"{os.getpid()} {Path('/proc/self/comm').read_text()}")
    Path(sys.argv[2]).write_text("asked" if stop.wait(30) else "late")
entry("tied", main)
"""
#: Its parent: ties two to itself, says when it did, and waits to be killed.
PARENT = """
import os, subprocess, sys, time
from recorder.service import Leash
leash = Leash()
for command in (sys.argv[1:6], sys.argv[6:]):
    subprocess.Popen([sys.executable, "-c", *command], pass_fds=leash.fds,
                     env={**os.environ, **leash.environment})
time.sleep(60)
"""


def child(folder: Path, name: str) -> list[str]:
    settings = config.to_json(config.Config(lanes=[config.Lane(name="imu", driver="none")]))
    return [CHILD, str(folder / f"{name}.here"), str(folder / f"{name}.end"), "", settings]


def has(path: Path) -> bool:
    return path.exists() and bool(path.read_text())


def test_processes_on_a_leash_are_told_to_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PARENT, *child(tmp_path, "one"), *child(tmp_path, "two")]
    with subprocess.Popen(command, cwd=ROOT) as parent:
        wait_until(lambda: has(tmp_path / "one.here") and has(tmp_path / "two.here"))
        assert not has(tmp_path / "one.end")
        parent.kill()
    wait_until(lambda: has(tmp_path / "one.end") and has(tmp_path / "two.end"))
    assert [(tmp_path / f"{one}.end").read_text() for one in ("one", "two")] == ["asked"] * 2


def test_a_process_whose_parent_is_gone_before_it_asks_ends_at_once(tmp_path: Path) -> None:
    leash = Leash()
    environment = {**os.environ, **leash.environment}
    stopped = f"import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)\n{CHILD}"
    command = [sys.executable, "-c", stopped, *child(tmp_path, "one")[1:]]
    with subprocess.Popen(command, cwd=ROOT, env=environment, pass_fds=leash.fds) as process:
        os.waitpid(process.pid, os.WUNTRACED)  # it has not asked yet
        leash.close()
        leash.close()
        process.send_signal(signal.SIGCONT)
        assert process.wait(20) == 0
    assert (tmp_path / "one.end").read_text() == "asked"


def test_a_process_bears_the_name_that_people_look_for(tmp_path: Path) -> None:
    command = [sys.executable, "-c", *child(tmp_path, "one")]
    with subprocess.Popen(command, cwd=ROOT) as process:
        wait_until(lambda: has(tmp_path / "one.here"))
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert (tmp_path / "one.here").read_text() == f"{process.pid} rec-tied\n"
