from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.matroska import MOST_BYTES, Block, Matroska, StreamError

SCALE_NS = 1000
UNKNOWN_LENGTH = b"\x01" + 7 * b"\xff"


def length(size: int) -> bytes:
    """Return a length in as few bytes as it takes; all ones would mean "not known"."""
    width = next(n for n in range(1, 9) if size < (1 << 7 * n) - 1)
    return (size | 1 << 7 * width).to_bytes(width, "big")


def element(identity: bytes, content: bytes) -> bytes:
    return identity + length(len(content)) + content


def stream(frames: list[tuple[int, int, bytes]]) -> bytes:
    """Return a stream of frames: time of their cluster, time after it, bytes."""
    scale = element(b"\x2a\xd7\xb1", SCALE_NS.to_bytes(2, "big"))
    parts = [
        element(b"\x1a\x45\xdf\xa3", b"head of any kind"),
        b"\x18\x53\x80\x67" + UNKNOWN_LENGTH,
        element(b"\x15\x49\xa9\x66", scale + element(b"\xec", bytes(300))),
    ]
    for number, (cluster, after, data) in enumerate(frames):
        block = b"\x81" + after.to_bytes(2, "big", signed=True) + b"\x80" + data
        parts += [
            b"\x1f\x43\xb6\x75" + UNKNOWN_LENGTH,
            element(b"\xe7", cluster.to_bytes(8, "big")),
            element(b"\xa3", block) if number % 2 else element(b"\xa0", element(b"\xa1", block)),
        ]
    return b"".join(parts)


@given(
    st.lists(
        st.tuples(st.integers(0, 2**48), st.integers(-(2**15), 2**15 - 1), st.binary(max_size=400)),
        max_size=6,
    ),
    st.lists(st.integers(1, 90), min_size=1, max_size=30),
)
def test_frames_come_whole_however_the_stream_is_cut(frames, cuts):
    raw = stream(frames)
    parser = Matroska()
    found: list[Block] = []
    begin = turn = 0
    while begin < len(raw):
        size = cuts[turn % len(cuts)]
        found += parser.feed(raw[begin : begin + size])
        begin, turn = begin + size, turn + 1
    assert found == [((at + after) * SCALE_NS, data) for at, after, data in frames]


def test_what_is_no_stream_is_refused():
    with pytest.raises(StreamError, match="more than eight bytes"):
        Matroska().feed(bytes(16))


def test_an_element_that_no_frame_is_long_enough_for_is_refused_before_it_is_gathered():
    with pytest.raises(StreamError, match="an element of"):
        Matroska().feed(b"\xa3" + length(MOST_BYTES + 1))
