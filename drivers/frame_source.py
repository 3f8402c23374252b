"""Frames over a UNIX socket: the client of the world's camera model, and of anything alike.

The protocol, little-endian. The client sends single bytes: ``S`` starts the stream (one that runs
goes on with its numbers), ``E`` ends it. The source sends frames:

    offset  size
         0     8  running number of the frame; it goes on over starts and clients
         8     8  CLOCK_BOOTTIME of the exposure in ns
        16     2  width in pixels
        18     2  height in pixels
        20     4  length n of the picture; 0 marks the end that ``E`` asked for
        24     n  the picture, a JPEG file
"""

from __future__ import annotations

import select
import socket
import struct
import time
from typing import TYPE_CHECKING

from drivers import camera
from drivers.base import BadSampleError, Device, DeviceAbsentError, DeviceLostError, Driver, Sample

if TYPE_CHECKING:
    from collections.abc import Sequence

START, END = b"S", b"E"
HEADER = struct.Struct("<QqHHI")
UNIX = "unix:"
#: A frame that has begun to come is complete within this time, and so is the end of a stream.
WHOLE_S = 2.0
MOST_BYTES = 16 << 20


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
        self._socket: socket.socket | None = None

    def open(self) -> Device:
        """Connect and start the stream."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(WHOLE_S)
        try:
            self._socket.connect(self.device[len(UNIX) :])
            self._socket.sendall(START)
        except OSError as error:
            raise DeviceAbsentError(f"frame source {self.device}: {error}") from error
        return Device(model="frame source", interface={"socket": self.device})

    def read(self, timeout_s: float) -> Sample | None:
        """Wait for the next frame."""
        if not select.select([self._opened()], [], [], timeout_s)[0]:
            return None
        sample = self._frame()
        if sample is None:
            raise DeviceLostError(f"{self.device}: ended its stream unasked")
        return sample

    def finish(self) -> Sequence[Sample]:
        """End the stream and return the frames that were on their way."""
        self._send_end()
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
        connection, self._socket = self._socket, None
        if connection is not None:
            connection.close()

    def _opened(self) -> socket.socket:
        if self._socket is None:
            raise DeviceLostError(f"{self.device}: is not open")
        return self._socket

    def _send_end(self) -> None:
        try:
            self._opened().sendall(END)
        except OSError as error:
            raise DeviceLostError(f"{self.device}: {error}") from error

    def _frame(self) -> Sample | None:
        """Receive one frame, or None for the end mark."""
        head = self._receive(HEADER.size)
        number, boot_ns, width, height, size_bytes = HEADER.unpack(head)
        if size_bytes > MOST_BYTES:
            raise DeviceLostError(f"{self.device}: frame of {size_bytes} bytes: out of step")
        if size_bytes == 0:
            return None
        return camera.sample(number, boot_ns, width, height, self._receive(size_bytes))

    def _receive(self, size_bytes: int) -> memoryview:
        """Receive so many bytes into memory of their own."""
        data = memoryview(bytearray(size_bytes))
        got = 0
        try:
            while got < size_bytes:
                part = self._opened().recv_into(data[got:])
                if part == 0:
                    raise DeviceLostError(f"{self.device}: has hung up")
                got += part
        except OSError as error:  # broken, or silent in the middle of a frame
            raise DeviceLostError(f"{self.device}: {error}") from error
        return data
