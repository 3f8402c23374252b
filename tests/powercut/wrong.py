"""Deliberately wrong builds of the recorder, each a small change made in a running process.

The campaign has to catch every one of them: a campaign that cannot is worth nothing.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from recorder.ring import RingReader
from recorder.spool.recording import Recording
from recorder.spool.recover import contents
from recorder.spool.segment import SegmentReader
from recorder.spool.segment_writer import SegmentWriter
from recorder.spool.volume import Volume
from tests.crash.wrong import valid_anywhere

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from recorder.spool.counts import Counts


def _nothing(*_: Any) -> None:
    return


def acknowledge_before_sync() -> None:
    """Take everything as durable that was written."""
    Volume.make_durable = _nothing  # type: ignore[assignment, method-assign] # the point


def free_before_commit() -> None:
    """Give the rings their space back as soon as what they hold is appended."""
    real = Recording.take

    def take(self: Recording, ring: RingReader, base: Counts | None) -> None:
        real(self, ring, base)
        ring.free(ring.position)

    Recording.take = take  # type: ignore[method-assign] # that is the point


def no_sync_of_directories() -> None:
    """Trust that a file is there because its bytes are."""
    real = Volume.make_durable

    def make_durable(self: Volume, files: Sequence[int], _: Collection[Path]) -> None:
        real(self, files, ())

    Volume.make_durable = make_durable  # type: ignore[assignment, method-assign] # the point
    for name, module in list(sys.modules.items()):
        if name.startswith("recorder.") and hasattr(module, "sync_directory"):
            vars(module)["sync_directory"] = _nothing


def no_check_of_epoch_and_position() -> None:
    """Take every record for one of this segment whose checksum matches."""

    SegmentReader._valid_at = valid_anywhere  # type: ignore[method-assign] # that is the point


def no_cut_at_the_watermark() -> None:
    """Append what the rings hold behind what a dead process left, durable or not."""
    real = SegmentWriter.reopen

    def reopen(path: Path, end_bytes: int, rows: int) -> SegmentWriter:
        behind = contents(path).end_bytes
        cut, os.ftruncate = os.ftruncate, _nothing
        try:
            made = real(path, end_bytes, rows)
        finally:
            os.ftruncate = cut
        made.end_bytes = max(end_bytes, behind)
        return made

    SegmentWriter.reopen = staticmethod(reopen)  # type: ignore[method-assign] # that is the point


BUILDS: dict[str, Callable[[], None]] = {
    "none": lambda: None,
    "acknowledge-before-sync": acknowledge_before_sync,
    "free-before-commit": free_before_commit,
    "no-sync-of-directories": no_sync_of_directories,
    "no-check-of-epoch-and-position": no_check_of_epoch_and_position,
    "no-cut-at-the-watermark": no_cut_at_the_watermark,
}


def build(name: str) -> None:
    """Make this process a wrong build.

    Args:
        name: one of `BUILDS`; ``none`` leaves the right one.
    """
    BUILDS[name]()
