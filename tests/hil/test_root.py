"""What the bench keeps for its next run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING

import pytest

from hil import root

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT = Path(__file__).parents[2]
#: Another run: it says what it found made, and what it made, and then uses it until it is told.
OTHER = """
import pathlib, sys
from hil import root
def make(place):
    print("making", flush=True)
    sys.stdin.readline()
    (place / "made").touch()
print(root.keep("thing", sys.argv[1], make), flush=True)
sys.stdin.readline()
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    held: list[IO[bytes]] = []
    monkeypatch.setattr(root, "CACHE", tmp_path)
    monkeypatch.setattr(root, "_HELD", held)
    yield tmp_path
    for one in held:
        one.close()


def other(cache: Path, key: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", OTHER, key],
        cwd=PROJECT,
        env={**os.environ, "RECORDER_HIL_CACHE": str(cache)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def told(one: subprocess.Popen[str]) -> str:
    assert one.stdout is not None
    return one.stdout.readline().strip()


def tell(one: subprocess.Popen[str]) -> None:
    assert one.stdin is not None
    one.stdin.write("\n")
    one.stdin.flush()


def end(one: subprocess.Popen[str]) -> None:
    one.communicate("\n", timeout=60)
    assert one.returncode == 0


def made(place: Path) -> None:
    (place / "made").touch()


def refused(place: Path) -> None:
    raise AssertionError(f"{place} is there and is made again")


def fails(place: Path) -> None:
    (place / "half").touch()
    raise OSError("the disk is full")


def test_a_thing_is_made_once_and_found_again(cache: Path) -> None:
    place = root.keep("thing", "a", made)
    assert place == cache / "thing-a"
    assert root.keep("thing", "a", refused) == place


def test_what_was_not_made_to_its_end_is_made_anew(cache: Path) -> None:
    with pytest.raises(OSError, match="full"):
        root.keep("thing", "a", fails)
    place = root.keep("thing", "a", made)
    assert [one.name for one in place.iterdir()] == ["made"]


def test_a_thing_that_somebody_removed_is_made_anew(cache: Path) -> None:
    root.keep("thing", "a", made)
    root._HELD.pop().close()
    shutil.rmtree(cache / "thing-a")
    assert (root.keep("thing", "a", made) / "made").exists()
    assert root.keep("thing", "a", refused)


def test_of_each_kind_the_last_ones_stay(cache: Path) -> None:
    (cache / "thing-of-old").mkdir()
    root.keep("other", "x", made)
    for key in "abcde":
        root.keep("thing", key, made)
        root._HELD.pop().close()
    left = sorted(one.name for one in cache.iterdir())
    kept = [f"thing-{key}" for key in "cde"]
    assert left == sorted(["other-x", "other-x.lock", *kept, *(f"{one}.lock" for one in kept)])


def test_what_another_run_uses_is_not_removed(cache: Path) -> None:
    with other(cache, "a") as its:
        assert told(its) == "making"
        tell(its)
        assert told(its) == str(cache / "thing-a")
        for key in "bcde":
            root.keep("thing", key, made)
            root._HELD.pop().close()
        assert (cache / "thing-a/made").exists()
        assert not (cache / "thing-b").exists()
        end(its)


def test_two_runs_that_want_the_same_thing_make_it_once(cache: Path) -> None:
    with other(cache, "a") as first:
        assert told(first) == "making"
        with other(cache, "a") as second:
            tell(first)
            assert told(first) == str(cache / "thing-a")
            assert told(second) == str(cache / "thing-a")
            end(first)
            end(second)
