"""Frames on their way from a camera's threads to the reader, and where some were lost.

A frame is exposed, then comes out of an encoder (in the same order, some missing), then is taken.
For each frame that is taken its number is the first one's, plus the frames taken before it, plus
what `Lost` says of those before it: nothing is lost without a count.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from drivers.camera import Lost, Shot

if TYPE_CHECKING:
    from collections.abc import Callable

#: Encoded frames that may wait for the reader: half a second at 30 frames a second.
MOST_WAITING = 16
#: Frames that may be in an encoder: picamera2's has 16 buffers.
MOST_ENCODING = 32


class _Exposed(NamedTuple):
    stamp_us: int
    shot: Shot
    lost_sensor: int


class Taken(NamedTuple):
    """A frame, and what was lost before it."""

    shot: Shot
    picture: memoryview | bytes
    lost: Lost


class EncodedFrames:
    """The way from the camera to the reader.

    Args:
        ask_for_key: tells the encoder that the next frame must be a key frame.
    """

    def __init__(self, ask_for_key: Callable[[], None] | None = None) -> None:
        # The camera's thread calls `expose`, the encoder's `encoded`, the lane's `take`; the
        # condition protects everything below.
        self._changed = threading.Condition()
        self._ask_for_key = ask_for_key or (lambda: None)
        self._exposed: deque[_Exposed] = deque()
        self._waiting: deque[Taken] = deque()
        self._lost = Lost()
        self._next: int | None = None
        self._needs_key = True

    def expose(self, stamp_ns: int, shot: Shot) -> None:
        """Take note of a frame that the sensor gave.

        Args:
            stamp_ns: the sensor's own time of it.
            shot: what is known of it; numbers that are missing are frames that the sensor lost.
        """
        with self._changed:
            self._lost.sensor += 0 if self._next is None else shot.number - self._next
            self._next = shot.number + 1
            # In us as picamera2 reckons them, which is all that an encoder keeps.
            self._exposed.append(_Exposed(int(stamp_ns / 1000), shot, self._lost.sensor))
            if len(self._exposed) > MOST_ENCODING:
                self._exposed.popleft()
                self._lost.encoder += 1

    def encoded(self, stamp_us: int, picture: memoryview | bytes, *, is_key: bool) -> None:
        """Take a frame that came out of the encoder.

        Frames that were exposed before it and did not come are lost; so is one that finds too
        many waiting, and after it all up to the next key frame, which cannot be shown without it.

        Args:
            stamp_us: the time that the encoder was given with it.
            picture: it becomes the queue's.
            is_key: whether it can be shown alone.
        """
        with self._changed:
            while self._exposed and self._exposed[0].stamp_us < stamp_us:
                self._exposed.popleft()
                self._lost.encoder += 1
            if not self._exposed or self._exposed[0].stamp_us != stamp_us:
                return  # a second part of a frame, or one that was given up: it is counted already
            one = self._exposed.popleft()
            if len(self._waiting) >= MOST_WAITING or (self._needs_key and not is_key):
                self._lost.late += 1
                self._needs_key = True
                self._ask_for_key()
                return
            self._needs_key = False
            lost = Lost(one.lost_sensor, self._lost.late, self._lost.encoder)
            shot = dataclasses.replace(one.shot, is_key=is_key)
            self._waiting.append(Taken(shot, picture, lost))
            self._changed.notify()

    def take(self, timeout_s: float) -> Taken | None:
        """Wait for the next frame, so long at most."""
        deadline_s = time.monotonic() + timeout_s
        with self._changed:
            while not self._waiting:
                left_s = deadline_s - time.monotonic()
                if left_s <= 0:
                    return None
                self._changed.wait(left_s)
            return self._waiting.popleft()
