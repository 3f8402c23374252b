"""Settings that are kept: who starts with them, and when they are as good as none."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from recorder import kept, status
from recorder.cli import recorder
from recorder.config import from_json
from recorder.configfile import load
from recorder.devices import handed_over
from tests.recorder.building import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from click.testing import Result

ROOT = Path(__file__).parents[2]
ENDS_S = 30
OWN = "tests.recorder.counting_device:Counting"
CONFIG = """
[spool]
directory = "data"
run_dir = "{run_dir}"
free_floor_bytes = 0
[upload]
mode = "off"
[[lanes]]
name = "imu"
driver = "{driver}"
{options}
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration, and a program's environment with a place for what is kept."""
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    (tmp_path / "settings").mkdir()
    return written(tmp_path / "recorder.toml")


def written(file: Path, run_dir: str = "run", driver: str = "mpu6050") -> Path:
    options = "" if driver == OWN else f'device = "unix:{file.parent}/none"'
    file.write_text(CONFIG.format(run_dir=run_dir, driver=driver, options=options))
    return file


def keep(file: Path) -> Result:
    result = CliRunner().invoke(recorder, ["settings", "--config", str(file)])
    assert result.exit_code == 0, result.output
    return result


def command(file: Path, *words: str) -> list[str]:
    return [*words, "--config", str(file)]


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start the program as an installed one; whatever still runs is killed."""
    begin = f"import sys; sys.prefix = {str(tmp_path)!r}; from recorder.start import main; main()"
    processes: list[subprocess.Popen[str]] = []

    def start(words: list[str]) -> subprocess.Popen[str]:
        python = [sys.executable, "-c", begin, *words]
        process = subprocess.Popen(python, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def is_one_python(process: subprocess.Popen[str]) -> bool:
    """Tell whether a process still is the program that it was started as."""
    return b"-c" in Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")


def ends(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    assert process.wait(ENDS_S) == 0


def test_every_process_that_a_configuration_has_gets_what_it_resolves_to(file: Path) -> None:
    keep(file)
    for words in (["lane", "imu"], ["spool", "--serve"], ["upload", "--serve"], ["web"]):
        settings = kept.recall(command(file, *words))
        assert settings is not None
        assert settings == handed_over(load(file))
        (lane,) = from_json(settings).lanes
        assert dataclasses.replace(lane, declared=None) == load(file).lanes[0]


@pytest.mark.parametrize(
    "words", [["lane", "gps"], ["power"], ["spool"], ["lane"], ["lane", "imu", "--help"], []]
)
def test_what_a_configuration_does_not_start_gets_nothing(file: Path, words: list[str]) -> None:
    keep(file)
    assert kept.recall(command(file, *words)) is None
    assert kept.recall(words) is None


def test_the_supplys_process_gets_it_where_an_input_is_named(file: Path) -> None:
    file.write_text(file.read_text() + '[power]\nlow = "file:/sys/x"\n')
    keep(file)
    assert kept.recall(command(file, "power")) is not None


def test_a_configuration_that_is_not_as_it_was_is_resolved_anew(file: Path) -> None:
    keep(file)
    spool = command(file, "spool", "--serve")
    text = file.read_text()
    for other in (text + "\n", text[:-1], text.replace("run", "ran"), ""):
        file.write_text(other)
        assert kept.recall(spool) is None
    file.write_text(text)
    assert kept.recall(spool) is not None
    twin = file.with_name("twin.toml")
    twin.write_text(text)
    assert kept.recall(command(twin, "spool", "--serve")) is None
    file.unlink()
    assert kept.recall(spool) is None


def test_whoever_has_another_home_resolves_by_himself(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(file)
    monkeypatch.setenv("HOME", "/elsewhere")
    assert kept.recall(command(file, "web")) is None


def test_a_driver_of_ones_own_may_change_whenever_it_likes(file: Path) -> None:
    keep(file)
    assert kept.recall(command(file, "lane", "imu")) is not None
    written(file, driver=OWN)
    assert "driver of your own" in keep(file).output
    assert list((file.parent / "settings").iterdir()) == []


def test_what_is_torn_or_rotten_is_as_good_as_nothing(file: Path) -> None:
    keep(file)
    place = file.parent / "settings/kept"
    whole = place.read_bytes()
    spool = command(file, "spool", "--serve")
    for size in range(len(whole)):
        place.write_bytes(whole[:size])
        assert kept.recall(spool) is None, size
        rotten = bytearray(whole)
        rotten[size] ^= 1
        place.write_bytes(rotten)
        assert kept.recall(spool) is None, size
    place.write_bytes(whole)
    assert kept.recall(spool) is not None
    place.unlink()
    assert kept.recall(spool) is None


def test_who_may_not_read_the_configuration_may_not_read_what_it_says(file: Path) -> None:
    keep(file)
    assert (file.parent / "settings/kept").stat().st_mode & 0o777 == 0o640


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to the superuser")
def test_a_system_that_is_read_only_says_so(file: Path) -> None:
    (file.parent / "settings").chmod(0o500)
    result = CliRunner().invoke(recorder, ["settings", "--config", str(file)])
    assert result.exit_code == 1
    assert "Permission denied" in result.output


def test_a_process_is_one_python_and_takes_a_changed_configuration_when_it_starts_next(
    file: Path, started: Callable[..., subprocess.Popen[str]]
) -> None:
    folder = file.parent
    keep(file)
    for words, name in ((["lane", "imu"], "lane-imu"), (["spool", "--serve"], "spool")):
        for run_dir, is_kept in (("run", True), ("other", False)):
            written(file, run_dir)
            process = started(command(file, *words))
            wait_until(partial(status.read, folder / run_dir, name))
            sign = status.read(folder / run_dir, name)
            assert sign is not None
            assert sign["pid"] == process.pid
            assert is_one_python(process) is is_kept
            mapped = Path(f"/proc/{process.pid}/maps").read_text()
            assert "pydantic" not in mapped
            ends(process)


def test_what_is_wrong_with_a_changed_configuration_is_told(
    file: Path, started: Callable[..., subprocess.Popen[str]]
) -> None:
    keep(file)
    file.write_text(file.read_text() + "[web]\nprt = 1\n")
    process = started(command(file, "lane", "imu"))
    _, said = process.communicate(timeout=ENDS_S)
    assert process.returncode == 2
    assert "web.prt: unknown key" in said


def test_what_is_kept_already_is_not_kept_again(
    file: Path, started: Callable[..., subprocess.Popen[str]]
) -> None:
    keep(file)
    place = file.parent / "settings/kept"
    first = place.stat().st_ino
    assert started(command(file, "settings")).wait(ENDS_S) == 0
    assert place.stat().st_ino == first
    written(file, "other")
    assert started(command(file, "settings")).wait(ENDS_S) == 0
    _, _, body = place.read_bytes().partition(b"\n")
    assert json.loads(body)["text"] == file.read_text()
