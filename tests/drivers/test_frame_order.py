from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from drivers.frame_order import FrameOrder
from drivers.sim.usb_buffers import UsbBuffers

SENT, DAMAGED, LOST = "sent", "damaged", "lost"
WRAP = 1 << 32


def played(fates: Sequence[str], buffers: int) -> list[int]:
    """Return the numbers of a camera's frames in the order in which libcamera gives them."""
    queue: UsbBuffers[Any] = UsbBuffers(buffers)
    given: list[Any] = []
    for number, fate in enumerate(fates):
        if fate != LOST:
            frame: Any = number
            given += queue.fill(frame if fate == SENT else None)
    return given


def in_order(sequences: Sequence[int], buffers: int) -> list[tuple[int, int]]:
    order: FrameOrder[int] = FrameOrder(buffers)
    found = [one for sequence in sequences for one in order.put(sequence, sequence)]
    return [*found, *order.rest()]


@given(
    st.lists(st.sampled_from((SENT, SENT, SENT, DAMAGED, LOST)), max_size=200),
    st.integers(min_value=1, max_value=8),
)
def test_whatever_is_damaged_frames_come_in_their_order_and_none_is_missing(fates, buffers):
    sequences = played(fates, buffers)
    assert in_order(sequences, buffers) == [(one, one) for one in sorted(sequences)]


def test_the_model_gives_a_frame_behind_those_that_its_buffer_held_up():
    assert played([SENT, DAMAGED, SENT, SENT, SENT, SENT], 4) == [0, 5, 2, 3, 4]


def test_a_frame_that_is_missing_alone_holds_the_next_one_until_there_is_a_newer_one():
    order: FrameOrder[str] = FrameOrder(6)
    assert list(order.put(0, "a")) == [(0, "a")]
    assert list(order.put(2, "c")) == []
    assert list(order.put(3, "d")) == [(2, "c"), (3, "d")]


def test_where_more_are_missing_they_are_held_no_longer_than_these_may_come():
    order: FrameOrder[str] = FrameOrder(3)
    assert list(order.put(0, "a")) == [(0, "a")]
    assert list(order.put(4, "e")) == []
    assert list(order.put(5, "f")) == []
    assert list(order.put(6, "g")) == [(4, "e"), (5, "f"), (6, "g")]


def test_a_count_that_begins_anew_takes_the_held_frames_along():
    order: FrameOrder[str] = FrameOrder(4)
    found = [(0, "a"), (1, "b"), (3, "d")]
    assert [one for number, text in found for one in order.put(number, text)] == found[:2]
    assert list(order.put(0, "anew")) == [(3, "d"), (4, "anew")]


def test_the_count_goes_round():
    order: FrameOrder[str] = FrameOrder(4)
    come = [(WRAP - 2, "a"), (0, "c"), (WRAP - 1, "b"), (1, "d")]
    found = [one for sequence, text in come for one in order.put(sequence, text)]
    assert found == [(0, "a"), (1, "b"), (2, "c"), (3, "d")]
