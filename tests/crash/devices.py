"""Devices at full rate that count by the clock, whoever listens; their numbers are the truth.

What they counted while nobody had them open is gone; while they are open they keep what nobody
reads, and give it at the end. Nothing here is imported that a lane's process would not carry
anyway.
"""

from __future__ import annotations

import random
import struct
import time
from collections.abc import Sequence

from drivers.base import Device, Driver, Field, Sample, boot_ns

ROW = struct.Struct("<QQ")
#: A second field that follows from the first: a row that is mixed from two shows.
TWIST = 0x9E3779B97F4A7C15
PICTURE_BYTES = 300_000
_PERIOD = 65_521
_NOISE = random.Random(1).randbytes(PICTURE_BYTES + _PERIOD)


def row(number: int) -> bytes:
    """Return the row that carries a number."""
    return ROW.pack(number, number * TWIST % 2**64)


def picture(number: int) -> memoryview:
    """Return the picture of a number; neighbours differ in every byte's place."""
    begin = number % _PERIOD
    return memoryview(_NOISE)[begin : begin + PICTURE_BYTES]


class Counter(Driver):
    """Gives its numbers in bursts; number n is due n periods after the origin."""

    kind = "counter"
    ontology = "Numbered"
    fields = (Field("number", "<u8", "1"), Field("twisted", "<u8", "1"))
    rate_tolerance = 0.01

    def __init__(
        self, *, rate_hz: float = 10.0, origin_boot_ns: int = 0, burst_rows: int = 1
    ) -> None:
        self.rate_hz = rate_hz
        self._origin_ns = origin_boot_ns
        self._period_ns = round(1e9 / rate_hz)
        self._burst_rows = burst_rows
        self._next = 0

    def open(self) -> Device:
        self._next = (boot_ns() - self._origin_ns) // self._period_ns + 1
        return Device(model="counter")

    def read(self, timeout_s: float) -> Sample | None:
        first, count = self._next, self._burst_rows
        last_ns = self._origin_ns + (first + count - 1) * self._period_ns
        wait_s = (last_ns - boot_ns()) / 1e9
        time.sleep(max(min(wait_s, timeout_s), 0))
        return None if wait_s > timeout_s else self._sample()

    def _sample(self) -> Sample:
        first, count = self._next, self._burst_rows
        self._next += count
        at_ns = self._origin_ns + first * self._period_ns
        period_ns = self._period_ns if count > 1 else 0
        return Sample(at_ns, count, self._payload(first, count), period_ns, counter=first)

    def _payload(self, first: int, count: int) -> list[bytes | memoryview]:
        return [b"".join(map(row, range(first, first + count)))]

    def finish(self) -> Sequence[Sample]:
        # As many as there are now: a machine that is slow enough never catches up with the clock.
        due = (boot_ns() - self._origin_ns) // self._period_ns + 1 - self._next
        return [self._sample() for _ in range(due // self._burst_rows)]

    def close(self) -> None:
        return


class Camera(Counter):
    """The same with a picture behind each row."""

    kind = "camera-counter"
    blob = "jpeg"

    def _payload(self, first: int, count: int) -> list[bytes | memoryview]:
        return [*super()._payload(first, count), picture(first)]
