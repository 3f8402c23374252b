"""A recording that begins without a fix, on real processes and with shortened seconds."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from pathlib import Path

from tests.clock.late_fix import record


def received(chrony: socket.socket) -> Iterator[float]:
    """Yield how far each sample says that the system's clock is behind, in s."""
    while True:
        try:
            yield struct.unpack("@lldiiii", chrony.recv(100))[2]
        except BlockingIOError:
            return


def test_data_from_before_the_first_fix_get_right_times_while_it_is_uploaded_live(
    tmp_path: Path,
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as chrony:
        chrony.bind(str(tmp_path / "chrony.sock"))
        chrony.setblocking(False)
        parts = record(tmp_path, seconds=9, no_fix_s=4)
        fed = list(received(chrony))
    assert {one.source for one in parts} == {"gps"}
    assert all(one.is_true for one in parts)
    early = sum(one.early for one in parts if "/imu" in one.topic)
    assert early > 100
    # No worse than the receiver's own bound and a few seconds of drift.
    assert max(one.bound_ns or 1 << 62 for one in parts) < 110_000_000
    # From the first fix on chrony was told, once a second, and each time the same.
    assert 2 <= len(fed) <= 8
    assert max(fed) - min(fed) < 0.5
