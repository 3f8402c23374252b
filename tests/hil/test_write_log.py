"""QEMU's log of writes, as bytes."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from hil.cuts.write_log import IS_DISCARD, IS_FLUSH, MAGIC, SECTOR_BYTES, count, entries
from tests.powercut.blocklog import FLUSH, WRITE

if TYPE_CHECKING:
    from pathlib import Path


def log_of(place: Path, *requests: tuple[int, int, bytes]) -> Path:
    """Write a log of requests: sector, flags, data."""
    raw = struct.pack("<QQQI", MAGIC, 1, len(requests), SECTOR_BYTES).ljust(SECTOR_BYTES, b"\0")
    for sector, flags, data in requests:
        head = struct.pack("<QQQQ", sector, len(data) // SECTOR_BYTES, flags, 0)
        raw += head.ljust(SECTOR_BYTES, b"\0") + data
    place.write_bytes(raw + bytes(10 * SECTOR_BYTES))  # the file is longer than what it holds
    return place


def test_writes_and_flushes_come_in_their_order_with_their_places(tmp_path: Path) -> None:
    data = bytes(range(256)) * 4
    log = log_of(tmp_path / "log", (7, 0, data), (0, IS_FLUSH, b""), (3, 0, data[:SECTOR_BYTES]))
    assert count(log) == 3
    assert [(one.kind, one.offset, bytes(one.data)) for one in entries(log)] == [
        (WRITE, 7 * SECTOR_BYTES, data),
        (FLUSH, 0, b""),
        (WRITE, 3 * SECTOR_BYTES, data[:SECTOR_BYTES]),
    ]


def test_what_the_model_of_a_disk_does_not_know_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="flags 4"):
        entries(log_of(tmp_path / "log", (7, IS_DISCARD, b"")))
    (tmp_path / "other").write_bytes(bytes(SECTOR_BYTES))
    with pytest.raises(ValueError, match="no log of writes"):
        entries(tmp_path / "other")
