"""How large the batches are that the server gets: each is a file there."""

from __future__ import annotations

import pyarrow as pa
import pytest

from recorder.config import MIB
from recorder.upload.log import UploadLog
from recorder.upload.planner import Planner
from recorder.upload.rows import Extent, lane_batches
from recorder.upload.source import Source
from recorder.upload.state import Sizes
from tests.known import known

FRAME_BYTES, ROUNDS = 300_000, 8


def batches(drive, folder):
    """Return size and rows of the batches of the session's first part, as they are sent."""
    source = Source(drive.spool, drive.id)
    log = UploadLog(folder / "journal")
    settings = drive.config("grpc://none:1", part_bytes=256 * MIB).upload
    part = known(Planner(source, log, settings).next_part()).part
    log.close()
    made = Extent(Sizes()).over(lane_batches(part, source.folder(part.lane)))
    return [(pa.ipc.get_record_batch_size(one), one.num_rows) for one in made]


@pytest.mark.parametrize(("lane", "many"), [("imu", 600), ("camera", 5)], ids=["imu", "camera"])
@pytest.mark.parametrize("is_committed_often", [True, False])
def test_batches_are_of_1_to_8_mib_however_often_was_committed(
    drive, tmp_path, lane, many, is_committed_often
):
    drive.tell_time()
    size = (FRAME_BYTES,) if lane == "camera" else ()
    for _ in range(ROUNDS):
        getattr(drive, lane)(many, *size)
        if is_committed_often:
            drive.recording.commit()
    drive.end()
    *full, (_, last_rows) = batches(drive, tmp_path)
    assert len(full) >= 2
    assert all(MIB <= size_bytes <= 8 * MIB for size_bytes, _ in full)
    assert len({rows for _, rows in full}) == 1
    assert sum(rows for _, rows in full) + last_rows == len(drive.rows[lane])
