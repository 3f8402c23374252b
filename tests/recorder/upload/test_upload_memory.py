"""What the upload process keeps of its memory."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import tracemalloc

from recorder.clock import boot_id
from recorder.config import Upload, to_json
from recorder.demo.stage import Ground
from recorder.time_model import TimeModel
from recorder.upload.log import UploadLog
from recorder.upload.memory import BATCHES_BYTES
from recorder.upload.parts import SESSION_LOG
from recorder.upload.planner import Planner
from recorder.upload.rows import own_batches
from recorder.upload.source import Source
from tests.known import known

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


def test_what_a_stopped_session_says_of_itself_is_planned_in_the_same_memory_however_much(drive):
    drive.tell_time()
    peaks = []
    for beats in (5, 50, 250):  # the first pays for what is only made once
        drive.recording.close()
        drive.begin()
        for _ in range(beats):
            drive.recording.beat(TimeModel(drive.spool.anchors(boot_id().hex())))
        drive.end()
        peaks.append(_planned_at_most(drive, beats))
    _, few, many = peaks
    assert many < 1.5 * few


def _planned_at_most(drive, beats):
    """Plan the session's heartbeats; return how many bytes Python's objects took at most."""
    source = Source(drive.spool, drive.id)
    log = UploadLog(drive.folder / drive.id)
    tracemalloc.start()
    planner = Planner(source, log, Upload())
    part = dataclasses.replace(known(planner.next_part()).part, batch_bytes=20_000)
    batches = own_batches(part, lambda: planner.own_lines(SESSION_LOG))
    assert sum(batch.num_rows for batch in batches) == part.rows > beats
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    log.close()
    return peak


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
