"""What every driver is made of: `Driver`, `Sample`, `Field`, the errors and the boot clock.

A driver is a declaration (fields, units, rates) and one blocking `read`. It has no thread, no
file, no retry, no log and no knowledge of the recorder; the lane that runs it opens it again when
it fails and books every loss.

    DriverError
    ├── DeviceAbsentError    nothing there: the lane retries, slower and slower
    │   └── StillLookingError   … and the next attempt goes on where this one stopped
    ├── WrongDeviceError     another device answers: as absent, and the text says what was found
    ├── DeviceLostError      it was there and broke: the lane closes and opens it again
    │   └── StuckDeviceError only a new process can use it again: the lane's process ends
    └── BadSampleError       one sample unreadable: counted as broken, reading goes on
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

DriverT = TypeVar("DriverT", bound="Driver")

#: Types of a field: byte order (< little, > big), kind and width in bytes, as numpy spells them,
#: with the letter that `struct` uses for each.
TYPES: Mapping[str, str] = {
    "i1": "b", "u1": "B", "i2": "h", "u2": "H", "i4": "i", "u4": "I", "i8": "q", "u8": "Q",
    "f4": "f", "f8": "d",
}  # fmt: skip


class DriverError(Exception):
    """Something is wrong with a device or with what it sent."""


class DeviceAbsentError(DriverError):
    """There is no device: no such file, no acknowledge on the bus, permission denied."""


class StillLookingError(DeviceAbsentError):
    """Nothing was found so far; the next `open` goes on where this one stopped.

    Example: a receiver whose speed is not known, and not all of them have been tried.
    """


class WrongDeviceError(DeviceAbsentError):
    """Another device answers; the message says what was found and what is supported."""


class DeviceLostError(DriverError):
    """The device was there and is gone or stuck: unplugged, bus fault, browned out, stalled."""


class StuckDeviceError(DeviceLostError):
    """The device can only be used again by a new process; its library blocks for ever in this one.

    Example: a camera of libcamera that gives no more frames. From here on `close` must not call
    into the library any more: the process that holds it is about to end at once.
    """


class BadSampleError(DriverError):
    """One sample could not be understood.

    Args:
        message: what was found and what is allowed.
        samples: how many samples it cost, at least 0 (0: nothing of a sample was lost).
    """

    def __init__(self, message: str, samples: int = 1) -> None:
        super().__init__(message)
        self.samples = samples


def boot_ns() -> int:
    """Return CLOCK_BOOTTIME in ns: the one clock of every sample; it never jumps."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


@dataclass(frozen=True)
class Field:
    """One column of a driver's rows, as raw as the device gives it.

    The value in `unit` is ``raw * scale + offset``.

    Args:
        name: dotted path in the topic's ontology (``acceleration.x``) or a plain name.
        type: ``<`` or ``>`` and a key of `TYPES` (``>i2``: what an MPU-6050's FIFO holds).
        unit: unit of the scaled value (``m/s^2``, ``deg``, ``1`` for counts and codes).
        scale: multiplier.
        offset: added after scaling.
        null: raw value that means "not known"; None if there is none. For floats NaN always does.
        least: smallest possible value in `unit`, or None.
        most: largest possible value in `unit`, or None.
    """

    name: str
    type: str
    unit: str
    scale: float = 1.0
    offset: float = 0.0
    null: int | None = None
    least: float | None = None
    most: float | None = None


@dataclass(frozen=True)
class Sample:
    """What one `read` gave: one row, one row and a blob, or a burst of rows as it came.

    Args:
        boot_ns: CLOCK_BOOTTIME of row 0, as near to the hardware as can be known.
        rows: number of rows, at least 1.
        payload: the rows' bytes, back to back, fields in order without padding; for a driver with
            a `blob`, one row and then the blob's bytes. Parts are written one after the other.
        period_ns: row i is at ``boot_ns + i * period_ns``; 0 for a single row.
        counter: the device's own running number of row 0 (frame number, epoch number), or None if
            it has none. It shows exactly what the device lost before this sample.
        gap: the device says that it lost rows before this sample but not how many (FIFO overflow):
            the lane counts them by time.
        utc_ns: UTC of row 0 in ns since 1970 as the device states it, or None.
        utc_uncertainty_ns: bound of the error of `utc_ns` against `boot_ns`.
        utc_source: what `utc_ns` rests on: ``gps``, or ``pps`` if a second pulse tied it to
            `boot_ns`.
    """

    boot_ns: int
    rows: int
    payload: Sequence[bytes | bytearray | memoryview]
    period_ns: int = 0
    counter: int | None = None
    gap: bool = False
    utc_ns: int | None = None
    utc_uncertainty_ns: int = 0
    utc_source: str = "gps"


@dataclass(frozen=True)
class Events:
    """A lane of what comes when it comes: each sample one blob and nothing else.

    Args:
        kind: what fills it, as a driver's `kind`.
        ontology: tag of its topic on the server.
        blob: what the bytes are (``nmea``).
    """

    kind: str
    ontology: str
    blob: str


@dataclass(frozen=True)
class Device:
    """Who a device says it is; goes into the recording when it was opened.

    All texts; empty if the device cannot tell.
    """

    vendor: str = ""
    model: str = ""
    firmware: str = ""
    serial_number: str = ""
    interface: Mapping[str, str] = field(default_factory=dict)


def _nothing() -> None:
    """Nobody waits for a sign."""


class Driver:
    """A sensor. Subclasses declare, and implement `open`, `read`, `finish` and `close`.

    Constructor arguments are keyword-only with plain values: exactly the keys of the lane's table
    in the configuration (`device`, `rate_hz` and what the driver adds). A constructor touches no
    hardware. `fields`, `blob`, `rate_hz` and `rate_tolerance` are final after construction.

    Attributes:
        kind: the name in the configuration, equal to the module's name.
        ontology: tag of the topic on the server: ``GPS``, ``IMU``, ``CompressedImage`` …
        fields: the columns of a row.
        blob: None, or what the bytes behind the row are (``jpeg``).
        rate_hz: the contract: rows per second that the device was told to give.
        rate_tolerance: how far the device's clock may be off, as a fraction.
        beside: None, or a second lane that the device fills, by way of `take_beside`.
        documents: files that are needed to read the recording, by type, which is the name of the
            option that names the file (``calibration``): they go with it as dependencies. The
            driver never opens them.
        still_opening: whoever opens the device may set it: what an `open` that takes long calls
            about once a second, from its own loop, so that one that hangs calls nothing. Such an
            `open` comes to an end all the same; what this raises ends it at once.
    """

    kind: ClassVar[str]
    ontology: ClassVar[str]
    fields: tuple[Field, ...]
    blob: str | None = None
    rate_hz: float
    rate_tolerance: ClassVar[float]
    beside: Events | None = None
    documents: Mapping[str, Path] = {}
    still_opening: Callable[[], None] = staticmethod(_nothing)

    @property
    def node(self) -> str | None:
        """Path that appears together with the device, or None: whoever waits can watch for it."""
        path = str(getattr(self, "device", "")).removeprefix("unix:")
        return path if path.startswith("/") else None

    @property
    def held_since_ns(self) -> int | None:
        """CLOCK_BOOTTIME from which on samples may still be given; None: none is held back.

        What is not there from then on is no silence yet. Example: a FIFO's rows, until their times
        are known. None before `open` and after `close`.
        """
        return None

    def open(self) -> Device:
        """Find the device, check its identity, configure and start it.

        A device that still runs as configured (the recorder's process died, not the device) is
        taken over without resetting it, so that no more samples are lost than necessary.

        Returns:
            Who it is.

        Raises:
            DeviceAbsentError: nothing there.
            WrongDeviceError: another device is there.
            DeviceLostError: it broke while being set up.
        """
        raise NotImplementedError

    def read(self, timeout_s: float) -> Sample | None:
        """Wait for the next sample.

        Args:
            timeout_s: how long to wait at most.

        Returns:
            The sample, or None if none came in time (silence is no error here).

        Raises:
            DeviceLostError: the device is gone or stuck; the caller closes it at once.
            StuckDeviceError: the caller closes it and ends its process.
            BadSampleError: something unreadable came; the caller counts it and reads on.
        """
        raise NotImplementedError

    def measured(self) -> Mapping[str, object]:
        """What the driver found out about the device while it ran; for people and the life sign.

        Plain values under names with their unit (``period_ns``, ``stamp_jitter_ns``). `frozen`: the
        columns that a living sensor keeps moving and that stand still; the recording has when that
        changed.
        """
        return {}

    def take_beside(self) -> Sequence[Sample]:
        """Return what came for the second lane since the last call; never waits."""
        return ()

    def finish(self) -> Sequence[Sample]:
        """Stop the device at a whole sample and return what it still held, oldest first.

        Takes at most about one period. Called once, on a clean stop only, between the last `read`
        and `close`.

        Raises:
            DeviceLostError: as for `read`.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Release the device; may be called twice and before `open`; never raises."""
        raise NotImplementedError

    def __enter__(self: DriverT) -> DriverT:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
