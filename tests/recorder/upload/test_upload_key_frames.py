"""Pictures that need the ones before them: no part begins with one."""

from __future__ import annotations

import dataclasses

import pytest

from drivers.camera import ROW, UNKNOWN
from recorder.spool.reader import Point, read_from
from recorder.upload.plan import LaneWalk, needs_former
from tests.recorder.upload.made import CAMERA, Drive

LINKED = dataclasses.replace(CAMERA, blob="h264")
PICTURE_BYTES = 1000
#: A part of five pictures, more or less.
PART_BYTES = 5 * (PICTURE_BYTES + 200)


@pytest.fixture
def drive(tmp_path):
    made = Drive(tmp_path, [LINKED])
    yield made
    made.recording.close()


def shoot(drive: Drive, keys: list[bool], schema=LINKED) -> None:
    """Acquire pictures, key frames where it says so."""
    for number, is_key in enumerate(keys):
        unknown = (UNKNOWN, 0.0, 0.0, UNKNOWN, 0, 0, 0)
        row = ROW.pack(number, 0, 640, 480, is_key, *unknown)
        at_ns = drive.start_ns + number * 40_000_000
        drive._put(schema, [row, bytes(PICTURE_BYTES)], 1, at_ns)
    drive.commit()


def parts(drive: Drive, most_ns: int = 10**12) -> list[list[bool]]:
    """Plan the whole lane, and return for each part which of its pictures are key frames."""
    folder = drive.spool.session_dir(drive.id) / "camera"
    paths = drive.spool.segments(drive.id, "camera")
    walk = LaneWalk(PART_BYTES, most_ns, [], {})
    drafts = []
    while walk.walk([(path, path.stat().st_size) for path in paths]):
        drafts.append(walk.next_draft())
    drafts.append(walk.next_draft())
    return [
        [
            not needs_former(one)
            for piece in draft.pieces
            for one in read_from([(folder / piece.file, piece.end)], Point(piece.file, piece.begin))
            if one.header.rows
        ]
        for draft in drafts
    ]


def test_a_part_goes_on_up_to_the_next_key_frame(drive):
    shoot(drive, [number % 7 == 0 for number in range(40)])
    found = parts(drive)
    assert len(found) > 3
    assert all(part[0] for part in found)
    assert sum(map(len, found)) == 40


def test_a_part_that_is_long_enough_ends_at_the_next_key_frame_too(drive):
    shoot(drive, [number % 4 == 0 for number in range(20)])
    found = parts(drive, most_ns=50_000_000)
    assert [len(part) for part in found] == 5 * [4]


def test_a_stream_without_key_frames_is_cut_at_twice_the_size(drive):
    shoot(drive, [number == 0 for number in range(40)])
    found = parts(drive)
    assert len(found) > 2
    assert all(len(part) * PICTURE_BYTES < 2 * PART_BYTES + 2 * PICTURE_BYTES for part in found)
    assert sum(map(len, found)) == 40


def test_pictures_that_stand_alone_end_a_part_anywhere(tmp_path):
    made = Drive(tmp_path, [CAMERA])
    shoot(made, [False] * 20, CAMERA)  # a lane whose rows do not say
    found = parts(made)
    made.recording.close()
    assert [len(part) for part in found[:-1]] == [len(found[0])] * (len(found) - 1)
    assert all(all(part) for part in found)
