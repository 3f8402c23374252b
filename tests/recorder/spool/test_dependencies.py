from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from recorder.errors import DamagedError, SpoolError
from recorder.spool.dependencies import MOST_BYTES, Dependencies
from tests.recorder.building import full_disk

CONTENT = bytes(range(256)) * 300


def kept(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.rglob("*") if path.is_file())


def test_a_content_lies_under_its_digest_once_however_often_it_is_added(tmp_path: Path) -> None:
    store = Dependencies(tmp_path / "dependencies")
    digest = hashlib.sha256(CONTENT).hexdigest()
    assert store.add("calibration", CONTENT) == f"sha256:{digest}"
    before = (tmp_path / "dependencies" / "calibration" / digest).stat()
    assert store.add("calibration", CONTENT) == f"sha256:{digest}"
    after = (tmp_path / "dependencies" / "calibration" / digest).stat()
    assert kept(tmp_path) == [digest]
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    found, content = store.get("calibration", digest[:6])
    assert (found.id, found.size_bytes, content) == (f"sha256:{digest}", len(CONTENT), CONTENT)


@pytest.mark.parametrize("at", [0, 1000, len(CONTENT) - 1])
def test_one_wrong_bit_is_never_given_out_and_adding_it_again_mends_it(
    tmp_path: Path, at: int
) -> None:
    store = Dependencies(tmp_path)
    found = store.add("mounting", CONTENT)
    path = tmp_path / "mounting" / found[7:]
    raw = bytearray(CONTENT)
    raw[at] ^= 1
    path.write_bytes(raw)
    with pytest.raises(DamagedError, match="add it again"):
        store.get("mounting", found)
    store.add("mounting", CONTENT)
    assert store.get("mounting", found)[1] == CONTENT


def test_what_is_named_and_not_there_is_missing(tmp_path: Path) -> None:
    store = Dependencies(tmp_path)
    there = store.add("calibration", b"x")
    other = f"sha256:{'0' * 64}"
    named = {"calibration": [there, other], "mounting": [there], "Odd type": ["free words"]}
    assert store.missing(named) == {
        "calibration": [other],
        "mounting": [there],  # of another type it is another dependency
        "Odd type": ["free words"],
    }
    assert store.missing({"calibration": [there]}) == {}


@pytest.mark.parametrize("raw", [b"", CONTENT[:-1], b"~" + CONTENT[1:], CONTENT + b"~", None])
def test_a_content_that_is_damaged_is_missing_until_it_is_added_again(
    tmp_path: Path, raw: bytes | None
) -> None:
    store = Dependencies(tmp_path)
    found = store.add("calibration", CONTENT)
    path = tmp_path / "calibration" / found[7:]
    named = {"calibration": [found]}
    assert store.missing(named) == {}
    path.unlink()
    if raw is None:
        path.mkdir()
        assert store.missing(named) == named
        path.rmdir()
    else:
        path.write_bytes(raw)
        assert store.missing(named) == named
    store.add("calibration", CONTENT)
    assert store.missing(named) == {}


@pytest.mark.parametrize("kind", ["", "../x", "A", "a/b", ".hidden", "x" * 65])
def test_a_type_is_never_a_path(tmp_path: Path, kind: str) -> None:
    with pytest.raises(SpoolError, match="must be of a-z"):
        Dependencies(tmp_path / "store").add(kind, b"x")
    assert kept(tmp_path) == []


def test_one_that_is_too_large_or_that_the_disk_does_not_take_leaves_nothing(
    tmp_path: Path,
) -> None:
    store = Dependencies(tmp_path)
    with pytest.raises(SpoolError, match="at most"):
        store.add("calibration", bytes(MOST_BYTES + 1))
    with full_disk(1000), pytest.raises(OSError, match="too large"):
        store.add("calibration", CONTENT)
    assert kept(tmp_path) == []
    assert store.all() == []


def test_an_id_that_fits_none_or_several_is_refused(tmp_path: Path) -> None:
    store = Dependencies(tmp_path)
    for number in range(40):
        store.add("calibration", b"%d" % number)
    with pytest.raises(SpoolError, match="several dependencies begin"):
        store.get("calibration", "")
    with pytest.raises(SpoolError, match="no dependency begins"):
        store.get("mounting", "")
