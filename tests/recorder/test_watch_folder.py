from __future__ import annotations

import select
from pathlib import Path

import pytest

from recorder.watch_folder import AppearanceWatch


@pytest.fixture
def watched(tmp_path: Path):
    watch = AppearanceWatch(str(tmp_path / "dev" / "recorder" / "camera"))
    yield watch
    watch.close()


def is_told(watch: AppearanceWatch) -> bool:
    return bool(select.select([watch], [], [], 0)[0])


def test_a_node_that_appears_is_told(tmp_path: Path) -> None:
    watch = AppearanceWatch(str(tmp_path / "video0"))
    assert not is_told(watch)
    assert not watch.has_appeared()
    (tmp_path / "video0").touch()
    assert is_told(watch)
    assert watch.has_appeared()
    watch.close()


def test_a_link_that_is_moved_into_place_as_udev_does_is_told(tmp_path: Path) -> None:
    watch = AppearanceWatch(str(tmp_path / "gps"))
    (tmp_path / ".#gps").symlink_to("ttyUSB3")
    assert not watch.has_appeared()
    (tmp_path / ".#gps").rename(tmp_path / "gps")
    assert watch.has_appeared()
    watch.close()


def test_a_node_that_gets_its_mode_later_is_told_again(tmp_path: Path) -> None:
    node = tmp_path / "video0"
    watch = AppearanceWatch(str(node))
    node.touch(0o600)
    assert watch.has_appeared()
    assert not watch.has_appeared()
    node.chmod(0o660)
    assert watch.has_appeared()
    watch.close()


def test_what_happens_to_its_neighbours_is_passed_over(tmp_path: Path) -> None:
    watch = AppearanceWatch(str(tmp_path / "video0"))
    (tmp_path / "video1").touch()
    assert is_told(watch)
    assert not watch.has_appeared()
    watch.close()


def test_folders_above_that_are_missing_too_are_waited_for(tmp_path: Path, watched) -> None:
    (tmp_path / "dev").mkdir()
    assert watched.has_appeared()
    (tmp_path / "dev" / "recorder").mkdir()
    assert watched.has_appeared()
    (tmp_path / "dev" / "recorder" / "camera").touch()
    assert watched.has_appeared()


def test_closing_twice_is_fine_and_nothing_is_told_any_more(tmp_path: Path, watched) -> None:
    watched.close()
    watched.close()
    (tmp_path / "dev").mkdir()
    assert not watched.has_appeared()
    assert watched.fileno() == -1
