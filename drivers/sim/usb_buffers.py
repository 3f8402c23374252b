"""The buffers of a USB camera between the kernel and libcamera."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class UsbBuffers(Generic[T]):
    """The order in which a USB camera's frames come through the kernel's uvcvideo and libcamera.

    The kernel fills the buffer again that a damaged picture was in, behind all others that wait;
    libcamera gives them back in the order in which it was given them, and keeps what is early.

    Args:
        count: how many there are.
    """

    def __init__(self, count: int) -> None:
        self._empty, self._asked = deque(range(count)), deque(range(count))
        self._filled: dict[int, T] = {}

    def fill(self, request: T | None) -> list[T]:
        """Take a frame, or None for a damaged one; return those that libcamera gives then."""
        buffer = self._empty.popleft()
        if request is None:
            self._empty.append(buffer)
            return []
        self._filled[buffer] = request
        given = []
        while self._asked[0] in self._filled:
            buffer = self._asked.popleft()
            given.append(self._filled.pop(buffer))
            self._asked.append(buffer)
            self._empty.append(buffer)
        return given
