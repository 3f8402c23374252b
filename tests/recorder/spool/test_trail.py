from __future__ import annotations

import ctypes
import mmap
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from recorder.spool import trail
from tests.recorder.building import lane_numbers, shelf

SEGMENT_BYTES = 256 * 1024
KEPT_SEGMENTS = 3
_LIBC = ctypes.CDLL(None, use_errno=True)


@pytest.fixture
def disk() -> Iterator[Path]:
    """A folder that is not in memory: `/tmp` may be."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        yield Path(folder)


def pages_in_memory(path: Path) -> int:
    """Return how many of a file's pages the kernel holds."""
    size_bytes = path.stat().st_size
    found = (ctypes.c_ubyte * -(-size_bytes // mmap.PAGESIZE))()
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        first = ctypes.c_char.from_buffer(mapped)
        at = ctypes.c_void_p(ctypes.addressof(first))
        code = _LIBC.mincore(at, ctypes.c_size_t(size_bytes), found)
        del first
    assert code == 0, os.strerror(ctypes.get_errno())
    return sum(one & 1 for one in found)


def test_memory_holds_the_newest_segments_and_no_more(
    disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trail, "KEPT_BYTES", KEPT_SEGMENTS * SEGMENT_BYTES)
    with shelf(disk / "shelf", segment_bytes=SEGMENT_BYTES) as one:
        while len(one.segments()) < 10:
            one.producer.put(400)
            one.commit()
        held = [pages_in_memory(path) for path in one.segments()]
        spool, produced = one.spool.directory, one.ledger.stored
    assert held[: -KEPT_SEGMENTS - 1] == [0] * (len(held) - KEPT_SEGMENTS - 1)
    assert all(held[-KEPT_SEGMENTS:])
    assert lane_numbers(spool, "imu") == list(range(produced))


def test_what_was_given_up_meanwhile_is_no_error(
    disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trail, "KEPT_BYTES", 1)
    one = trail.Trail()
    one.add(disk / "given-up.seg", 2)
    kept = disk / "kept.seg"
    kept.write_bytes(bytes(64 * 1024))
    with kept.open("rb") as file:
        os.fsync(file.fileno())
    assert pages_in_memory(kept)
    one.add(kept, 64 * 1024)
    assert not pages_in_memory(kept)
