from __future__ import annotations

import itertools
import threading

from hypothesis import given
from hypothesis import strategies as st

from drivers.camera import Shot
from drivers.encoded_frames import MOST_ENCODING, MOST_WAITING, EncodedFrames, Taken

PERIOD_US = 40_000


def stamp_ns(number: int) -> int:
    return (1_000_000 + number * PERIOD_US) * 1000


def expose(frames: EncodedFrames, number: int) -> None:
    frames.expose(stamp_ns(number), Shot(number, 0, (2, 2)))


def put(frames: EncodedFrames, number: int, *, is_key: bool = True) -> None:
    frames.encoded(stamp_ns(number) // 1000, b"picture", is_key=is_key)


def taken_by(frames: EncodedFrames) -> list[Taken]:
    found = []
    while (one := frames.take(0)) is not None:
        found.append(one)
    return found


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["arrives", "sensor", "encoder"]),
            st.booleans(),  # whether the reader takes what there is
            st.booleans(),  # whether it is a key frame
        ),
        max_size=120,
    )
)
def test_every_number_is_a_frame_or_counted_before_the_next_one(fates):
    frames = EncodedFrames()
    found: list[Taken] = []
    expose(frames, 0)
    put(frames, 0)
    for number, (fate, is_taken, is_key) in enumerate(fates, 1):
        if fate != "sensor":
            expose(frames, number)
        if fate == "arrives":
            put(frames, number, is_key=is_key)
        if is_taken:
            found += taken_by(frames)
    found += taken_by(frames)
    for place, one in enumerate(found):
        lost = one.lost
        assert one.shot.number == place + lost.sensor + lost.late + lost.encoder
    steps = itertools.pairwise(found)
    fell_late = [after for before, after in steps if after.lost.late > before.lost.late]
    assert all(one.shot.is_key for one in fell_late)


def test_an_encoder_that_is_behind_takes_no_blame_for_frames_after_its_own():
    frames = EncodedFrames()
    for number in (0, 1, 5):
        expose(frames, number)
    for number in (0, 1):
        put(frames, number)
    assert [vars(one.lost) for one in taken_by(frames)] == 2 * [
        {"sensor": 0, "late": 0, "encoder": 0}
    ]


def test_an_encoder_that_gives_nothing_any_more_holds_no_memory():
    frames = EncodedFrames()
    for number in range(3 * MOST_ENCODING):
        expose(frames, number)
    put(frames, 3 * MOST_ENCODING - 1)
    (one,) = taken_by(frames)
    assert one.lost.encoder == 3 * MOST_ENCODING - 1


def test_a_frame_that_was_given_up_and_comes_after_all_is_passed_over():
    frames = EncodedFrames()
    for number in range(2):
        expose(frames, number)
    put(frames, 1)
    put(frames, 0)
    assert [one.shot.number for one in taken_by(frames)] == [1]


def test_an_encoder_is_asked_for_a_key_frame_when_one_was_lost():
    asked: list[int] = []
    frames = EncodedFrames(lambda: asked.append(1))
    for number in range(MOST_WAITING + 3):
        expose(frames, number)
        put(frames, number, is_key=number == 0)
    assert len(asked) == 3
    assert len(taken_by(frames)) == MOST_WAITING


def test_who_waits_is_woken_by_a_frame():
    frames = EncodedFrames()
    expose(frames, 0)
    later = threading.Timer(0.1, put, (frames, 0))
    later.start()
    assert frames.take(30) is not None
    later.join()
