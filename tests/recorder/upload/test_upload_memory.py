"""What the upload process keeps of its memory."""

from __future__ import annotations

import subprocess
import sys

from recorder.config import to_json
from recorder.demo.stage import Ground
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
#: Uploads everything, as the process is set up; tells its highest RSS in kB.
ALL = """
import sys
from recorder.upload.memory import BATCHES_BYTES, keep_small, share_one_heap

keep_small(BATCHES_BYTES)
share_one_heap()
from pathlib import Path
from recorder.config import from_json
from recorder.uploader import upload_once

assert upload_once(from_json(sys.argv[1])).done
print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
"""
#: What batches on the way take of it: as many when they are read back as when they are sent.
WAY_KB = 8 * 1024


def test_the_pages_of_a_batch_are_taken_once_and_not_for_each():
    assert _pages_taken(BATCHES_BYTES) < PAGES
    assert _pages_taken("") > 40 * PAGES  # where nothing is kept, as in a station


def test_parts_that_are_read_back_take_no_more_memory_than_their_sending(drive, tmp_path):
    drive.tell_time()
    drive.camera(300, 400_000)
    drive.end()
    settings = {"part_bytes": 50 << 20, "part_s": 3600.0}
    highest_kb = []
    for share in (0.0, 1.0):
        with Ground(tmp_path / f"ground-{share}") as ground:  # one as quick as a real one
            highest_kb.append(_highest_kb(drive.config(ground.url, **settings, reread_share=share)))
        (journal,) = drive.config("").upload_dir.glob("[0-9a-f]*-*")
        journal.unlink()  # so it is sent once more
    assert highest_kb[1] < highest_kb[0] + WAY_KB


def _highest_kb(config):
    told = subprocess.run(
        [sys.executable, "-c", ALL, to_json(config)], capture_output=True, check=True, text=True
    )
    return int(told.stdout)


def _pages_taken(kept: int | str) -> int:
    script = BATCHES.format(kept=kept)
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, text=True
    )
    return int(told.stdout)
