"""What a lane's samples say of UTC: to chrony each time, and into the recording as anchors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recorder.clock import ANCHOR_PERIOD_NS, anchor_now

if TYPE_CHECKING:
    from pathlib import Path

    from drivers.base import Sample
    from recorder.chrony import ChronyFeed


class UtcTeller:
    """Passes on what one device knows of the time.

    Args:
        chrony_socket: of chrony's reference clock; None: chrony is not told.
    """

    def __init__(self, chrony_socket: Path | None) -> None:
        self._feed = _feed(chrony_socket)
        self._next_anchor_ns = 0
        self._told_source = ""

    def anchor(self, sample: Sample) -> bytes | None:
        """Tell what a sample knows; return an anchor if one is due, as a record holds it."""
        if sample.utc_ns is None:
            return None
        if self._feed is not None:
            self._feed.send(sample.boot_ns, sample.utc_ns)
        # A second pulse that comes vouches at once for what was only the receiver's word.
        is_better = sample.utc_source == "pps" != self._told_source
        if sample.boot_ns < self._next_anchor_ns and not is_better:
            return None
        self._next_anchor_ns = sample.boot_ns + ANCHOR_PERIOD_NS
        self._told_source = sample.utc_source
        bound_ns = sample.utc_uncertainty_ns
        return anchor_now(sample.boot_ns, sample.utc_ns, bound_ns, sample.utc_source).pack()

    def close(self) -> None:
        """Let go of the socket; may be called twice."""
        if self._feed is not None:
            self._feed.close()


def _feed(path: Path | None) -> ChronyFeed | None:
    if path is None:
        return None
    from recorder.chrony import ChronyFeed  # noqa: PLC0415 - half a megabyte, for chrony alone

    return ChronyFeed(path)
