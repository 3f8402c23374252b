"""A device for the command line's tests, in a module that imports nothing but the contract."""

from __future__ import annotations

import struct
import time
from collections.abc import Sequence

from drivers.base import Device, DeviceAbsentError, Driver, Field, Sample, boot_ns


class Counting(Driver):
    """A device that counts, or is silent, or is not there."""

    kind = "counting"
    ontology = "Integer64"
    rate_tolerance = 0.01
    fields = (Field("data", "<i8", "1"),)

    def __init__(self, *, device: str = "here", rate_hz: float = 50.0) -> None:
        self.device = device
        self.rate_hz = rate_hz
        self._next = 0

    def open(self) -> Device:
        if self.device == "nowhere":
            raise DeviceAbsentError("nobody answers at nowhere")
        return Device(vendor="Acme", model="Counter")

    def read(self, timeout_s: float) -> Sample | None:
        period_s = 1 / self.rate_hz
        time.sleep(timeout_s if self.device == "silent" else period_s)  # it is the device's pace
        if self.device == "silent":
            return None
        self._next += 1
        row = struct.pack("<q", self._next)
        return Sample(boot_ns=boot_ns(), rows=1, payload=[row], counter=self._next)

    def finish(self) -> Sequence[Sample]:
        return ()

    def close(self) -> None:
        pass


class Misfit(Counting):
    """Says that it is an IMU, and measures nothing that one does."""

    kind = "misfit"
    ontology = "IMU"
