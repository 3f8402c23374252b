"""What the upload process keeps of its memory."""

from __future__ import annotations

import subprocess
import sys

from recorder.upload.memory import BATCHES_BYTES

#: Makes a batch's worth of bytes again and again; tells how many pages the system gave meanwhile.
BATCHES = """
import resource
from recorder.upload.memory import keep_small

keep_small({kept})
batch = bytes(1)
for turn in range(60):
    if turn == 10:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    batch = bytearray(2 << 20)
    batch[:] = bytes(2 << 20)
    del batch
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
PAGES = 2 * (2 << 20) // 4096


def test_the_pages_of_a_batch_are_taken_once_and_not_for_each():
    assert _pages_taken(BATCHES_BYTES) < PAGES
    assert _pages_taken("") > 40 * PAGES  # where nothing is kept, as in a station


def _pages_taken(kept: int | str) -> int:
    script = BATCHES.format(kept=kept)
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, text=True
    )
    return int(told.stdout)
