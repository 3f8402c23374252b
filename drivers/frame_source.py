"""Frames over a UNIX socket: the world's camera model, or anything that speaks alike.

The protocol is in `drivers.sim.frame_wire`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from drivers import camera
from drivers.base import BadSampleError, Device, DeviceAbsentError, DeviceLostError, Driver, Sample
from drivers.sim.frame_wire import END, START, WHOLE_S, FrameClient

if TYPE_CHECKING:
    from collections.abc import Sequence

UNIX = "unix:"


class FrameSource(Driver):
    """JPEG pictures of a frame source.

    Args:
        device: ``unix:PATH`` of its socket.
        rate_hz: frames per second that it gives; it cannot be told.
    """

    kind = "frame_source"
    ontology = "CompressedImage"
    rate_tolerance = 0.01
    fields = camera.FIELDS
    blob = camera.BLOB

    def __init__(self, *, device: str, rate_hz: float = 10) -> None:
        if not device.startswith(UNIX):
            raise ValueError(f"device is {device!r}, allowed is {UNIX}PATH")
        self.device = device
        self.rate_hz = rate_hz
        self._client: FrameClient | None = None
        self._lost = camera.Lost()
        self._next: int | None = None  # number of the next frame

    def open(self) -> Device:
        """Connect and start the stream."""
        try:
            self._client = FrameClient(self.device[len(UNIX) :])
            self._client.order(START)
        except OSError as error:
            raise DeviceAbsentError(f"frame source {self.device}: {error}") from error
        self._lost, self._next = camera.Lost(), None
        return Device(model="frame source", interface={"socket": self.device})

    def read(self, timeout_s: float) -> Sample | None:
        """Wait for the next frame."""
        if not self._opened().wait(timeout_s):
            return None
        sample = self._frame()
        if sample is None:
            raise DeviceLostError(f"{self.device}: ended its stream unasked")
        return sample

    def finish(self) -> Sequence[Sample]:
        """End the stream and return the frames that were on their way."""
        try:
            self._opened().order(END)
        except OSError as error:
            raise DeviceLostError(f"{self.device}: {error}") from error
        samples: list[Sample] = []
        deadline_s = time.monotonic() + WHOLE_S
        while time.monotonic() < deadline_s:
            try:
                sample = self._frame()
            except BadSampleError:  # its number is missing in the recording, which counts it
                continue
            if sample is None:
                return samples
            samples.append(sample)
        raise DeviceLostError(f"{self.device}: does not end its stream")

    def close(self) -> None:
        """Disconnect; the stream itself goes on unless it was ended."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _opened(self) -> FrameClient:
        if self._client is None:
            raise DeviceLostError(f"{self.device}: is not open")
        return self._client

    def _frame(self) -> Sample | None:
        """Receive one frame, or None for the end mark."""
        try:
            frame = self._opened().receive()
        except OSError as error:  # broken, or silent in the middle of a frame
            raise DeviceLostError(f"{self.device}: {error}") from error
        if frame is None:
            return None
        self._lost.sensor += 0 if self._next is None else frame.number - self._next
        self._next = frame.number + 1
        shot = camera.Shot(frame.number, frame.boot_ns, frame.size)
        return camera.sample(shot, frame.picture, self._lost)
