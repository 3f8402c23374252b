"""A pipeline of GStreamer in a process of its own, and the frames that come out of it.

In a process of its own: a camera's service that hangs (NVIDIA's does, after an unclean end) hangs
there, where it can be killed. No queue in it is leaky: what it cannot pass on waits, and a camera
that finds no room leaves frames out, which shows in the times of those that follow.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import subprocess
import time
from collections import deque
from typing import TYPE_CHECKING

from drivers.base import DeviceAbsentError, DeviceLostError
from drivers.matroska import Block, Matroska, StreamError

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Encoded frames that may wait in the pipeline.
QUEUE_FRAMES = 16
PIPE_BYTES = 1 << 20
END_S = 2.0
MOST_WORDS = 2000
#: The kernel ends it with this process: a camera is free again when its lane was killed.
_COMMAND = ("setpriv", "--pdeathsig", "KILL", "gst-launch-1.0", "-q", "-e")


class GstStream:
    """A running pipeline.

    Args:
        elements: of the pipeline up to the encoder, as ``gst-launch-1.0`` takes them.

    Raises:
        DeviceAbsentError: GStreamer's tools are not installed.
    """

    def __init__(self, elements: Sequence[str]) -> None:
        self._frames: deque[Block] = deque()
        self._stream = Matroska()
        self._words = b""
        self._video, theirs = os.pipe2(os.O_CLOEXEC)
        fcntl.fcntl(self._video, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        behind = [
            *("!", "queue", f"max-size-buffers={QUEUE_FRAMES}", "max-size-bytes=0"),
            *("max-size-time=0", "leaky=no"),
            # Times in us, and each frame in a cluster of its own, so that none is rounded.
            *("!", "matroskamux", "streamable=true", "timecodescale=1000"),
            *("min-cluster-duration=0", "!", "fdsink", "sync=false", f"fd={theirs}"),
        ]
        try:
            self._process = subprocess.Popen(
                [*_COMMAND, *elements, *behind],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=[theirs],
            )
        except OSError as error:
            os.close(self._video)
            raise DeviceAbsentError(
                f"GStreamer cannot be started ({error}): sudo apt install gstreamer1.0-tools"
                " gstreamer1.0-plugins-good"
            ) from error
        finally:
            os.close(theirs)
        assert self._process.stdout is not None
        self._told = self._process.stdout.fileno()
        os.set_blocking(self._video, False)
        os.set_blocking(self._told, False)

    @property
    def words(self) -> str:
        """What the pipeline said last, in one line."""
        lines = self._words.decode(errors="replace").splitlines()
        said = [one.strip() for one in lines if one.strip() and "Additional debug" not in one]
        return " / ".join(said[:4]) or "it said nothing"

    def take(self, timeout_s: float) -> Block | None:
        """Wait for the next frame, so long at most.

        Raises:
            DeviceLostError: the pipeline has ended, or gives no Matroska; with its last words.
        """
        deadline_s = time.monotonic() + timeout_s
        while not self._frames:
            left_s = deadline_s - time.monotonic()
            ready = select.select([self._video, self._told], [], [], max(left_s, 0))[0]
            self._listen()
            if self._video in ready:
                self._receive()
            elif left_s <= 0:
                return None
        return self._frames.popleft()

    def ask_to_end(self) -> None:
        """Let the pipeline pass on what it holds, and then end; `take` fails when it has."""
        self._process.send_signal(signal.SIGINT)

    def close(self) -> None:
        """End the pipeline, whatever it does; may be called twice."""
        if self._video < 0:
            return
        self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # held in the kernel: not ours to end
            self._process.wait(END_S)
        os.close(self._video)
        self._video = -1
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _receive(self) -> None:
        data = os.read(self._video, PIPE_BYTES)
        if not data:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(END_S)
            self._listen()
            raise DeviceLostError(f"the pipeline has ended: {self.words}")
        try:
            self._frames += self._stream.feed(data)
        except StreamError as error:
            raise DeviceLostError(f"the pipeline gives no frames: {error}") from error

    def _listen(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while said := os.read(self._told, MOST_WORDS):
                self._words = (self._words + said)[-MOST_WORDS:]
