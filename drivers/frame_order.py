"""Puts a USB camera's frames back into the order in which they were taken.

The kernel's uvcvideo lets the buffer of a damaged picture wait behind all others for another one;
libcamera gives buffers back in the order in which it was given them. So a frame comes behind later
ones whenever one was damaged before it. Source: Linux, uvc_queue_buffer_requeue in
drivers/media/usb/uvc/uvc_queue.c; libcamera, PipelineHandler::completeRequest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from drivers.camera import FrameCounter

if TYPE_CHECKING:
    from collections.abc import Iterator

T = TypeVar("T")
_WRAP = 1 << 32
#: So many numbers are missing at least if a frame is still to come behind a later one: its own, and
#: those of two damaged pictures, whose buffers are before its own in both orders.
_FEWEST = 3


class FrameOrder(Generic[T]):
    """Sorts frames by their driver's count, which begins with 0 and has 32 bits.

    Behind a gap a frame is held until what is missing has come, or cannot come any more. What one
    damaged picture held up comes with the frame in its buffer, before any newer one. More of them
    may hold it up for longer, but no more than all buffers but one are ahead of it.

    Args:
        buffers: that the camera has.
    """

    def __init__(self, buffers: int) -> None:
        self._most_ahead = buffers - 1
        self._counter = FrameCounter()
        self._next = 0  # by the driver's count
        self._held: dict[int, T] = {}

    def put(self, sequence: int, frame: T) -> Iterator[tuple[int, T]]:
        """Take a frame; give those whose turn it is, with their numbers.

        Args:
            sequence: the driver's count.
            frame: what is to be sorted.
        """
        if self._ahead(sequence) > _WRAP // 2:
            # The count went back further than buffers can: the stream was begun anew below us.
            yield from self.rest()
            self._next = sequence
        if self._held:
            newest = max(map(self._ahead, self._held))
            missing = newest + 1 - len(self._held)
            if self._ahead(sequence) > newest and missing < _FEWEST:
                yield from self.rest()
        self._held[sequence] = frame
        while self._next in self._held or len(self._held) > self._most_ahead:
            yield self._first()

    def rest(self) -> Iterator[tuple[int, T]]:
        """Give the frames that are held; no other comes any more."""
        while self._held:
            yield self._first()

    def _ahead(self, sequence: int) -> int:
        return (sequence - self._next) % _WRAP

    def _first(self) -> tuple[int, T]:
        sequence = min(self._held, key=self._ahead)
        self._next = (sequence + 1) % _WRAP
        return self._counter.number(sequence), self._held.pop(sequence)
