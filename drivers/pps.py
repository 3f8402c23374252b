"""The second pulse of a GPS receiver, as the kernel's PPS device times it.

The kernel stamps the pulse's edge in its interrupt, by the system's clock (CLOCK_REALTIME). `Pps`
turns that into CLOCK_BOOTTIME, and `pair` finds the epoch that the pulse belongs to: the receiver
speaks of a second after its pulse, and before the next.

Source: RFC 2783 (PPS API); Linux include/uapi/linux/pps.h, which gives the layouts, and
drivers/pps/pps.c: a fetch with a time-out of zero returns the last pulse at once; for pulses by USB
Documentation/driver-api/pps.rst, and FTDI's AN232B-04 (latency timer).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from drivers.base import DeviceAbsentError, DeviceLostError, WrongDeviceError

if TYPE_CHECKING:
    from collections.abc import Iterable

SECOND_NS = 1_000_000_000
#: `struct pps_fdata`: sequences of both edges, their times (s, ns, flags), the mode, the time-out.
FETCH = struct.Struct("<II qiI qiI i4x qiI")
#: _IOWR('p', 0xa4, struct pps_fdata *): the kernel numbers it by the size of a pointer.
PPS_FETCH = 3 << 30 | struct.calcsize("P") << 16 | ord("p") << 8 | 0xA4
#: The kernel's interrupt is a few us late on a GPIO, more under load.
UNCERTAINTY_NS = 20_000
#: Behind USB the pulse is a bit in a packet. An adapter may hold that back for 16 ms (the latency
#: timer of FTDI's), then it waits for the host, which asks once a ms.
USB_UNCERTAINTY_NS = 20_000_000
USB_LINES = ("/dev/ttyUSB", "/dev/ttyACM")
#: More than the clocks can be apart for any other reason than that one was set.
STEP_NS = 1_000_000
#: An epoch's first byte comes so long after its instant at most; beyond, the second is not sure.
MOST_DELAY_NS = 900_000_000
KEPT = 4


class Pulse(NamedTuple):
    """One pulse.

    Args:
        number: the kernel's count.
        boot_ns: CLOCK_BOOTTIME of its rising edge, in ns.
        uncertainty_ns: bound of that time's error.
    """

    number: int
    boot_ns: int
    uncertainty_ns: int


class Clocks(NamedTuple):
    """Both clocks at one instant.

    Args:
        lead_ns: CLOCK_BOOTTIME minus CLOCK_REALTIME.
        uncertainty_ns: half of the time that reading them took.
    """

    lead_ns: int
    uncertainty_ns: int

    @classmethod
    def now(cls) -> Clocks:
        """Read them."""
        before_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        real_ns = time.clock_gettime_ns(time.CLOCK_REALTIME)
        after_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        half_ns = (after_ns - before_ns) // 2
        return cls(before_ns + half_ns - real_ns, half_ns)


class Pulses:
    """The last pulses, on the boot clock.

    Args:
        uncertainty_ns: how late the kernel may stamp one.
    """

    def __init__(self, uncertainty_ns: int = UNCERTAINTY_NS) -> None:
        self._uncertainty_ns = uncertainty_ns
        self._kept: deque[Pulse] = deque(maxlen=KEPT)
        self._number = 0
        self._clocks: Clocks | None = None

    def take(self, fetched: bytes, clocks: Clocks) -> None:
        """Take what a fetch gave.

        A pulse since which the system's clock was set is left out: nobody knows by which of the two
        times it was stamped.

        Args:
            fetched: a `FETCH`.
            clocks: both clocks, right after it.
        """
        number, _, second, nanos, *_ = FETCH.unpack(fetched)
        was, self._clocks = self._clocks, clocks
        if number == self._number or not number:
            return
        self._number = number
        if was is not None and abs(clocks.lead_ns - was.lead_ns) < STEP_NS:
            boot_ns = second * SECOND_NS + nanos + clocks.lead_ns
            self._kept.append(Pulse(number, boot_ns, self._uncertainty_ns + clocks.uncertainty_ns))

    def pair(self, utc_ns: int, boot_ns: int) -> tuple[int, int] | None:
        """Return when an epoch's instant was, by the pulse of its second.

        Args:
            utc_ns: the epoch's UTC in ns since 1970.
            boot_ns: CLOCK_BOOTTIME of its first byte, in ns.

        Returns:
            CLOCK_BOOTTIME of the instant and the bound of its error; None without a pulse.
        """
        return pair(self._kept, utc_ns, boot_ns)


def pair(pulses: Iterable[Pulse], utc_ns: int, boot_ns: int) -> tuple[int, int] | None:
    """Return the instant of an epoch by the pulse of its second; see `Pulses.pair`."""
    for pulse in pulses:
        instant_ns = pulse.boot_ns + utc_ns % SECOND_NS
        if 0 <= boot_ns - instant_ns < MOST_DELAY_NS:
            return instant_ns, pulse.uncertainty_ns
    return None


def uncertainty_ns(line: str) -> int:
    """Return how late the kernel may stamp a pulse that comes on a line.

    >>> [uncertainty_ns(line) // 1000 for line in ("", "/dev/ttyAMA0", "/dev/ttyUSB0")]
    [20, 20, 20000]
    """
    return USB_UNCERTAINTY_NS if line.startswith(USB_LINES) else UNCERTAINTY_NS


class Pps:
    """An open PPS device.

    Args:
        path: such as ``/dev/pps0``.

    Raises:
        DeviceAbsentError: it cannot be opened.
        WrongDeviceError: it is no PPS device.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError as error:
            raise DeviceAbsentError(f"{path}: {error.strerror}") from error
        self.pulses = Pulses(uncertainty_ns(self._line()))
        try:
            self.fetch()
        except DeviceLostError as error:
            self.close()
            raise WrongDeviceError(
                f"{path}: is no PPS device, such as /dev/pps0: {error.__cause__}"
            ) from error

    def fetch(self) -> None:
        """Take the last pulse into `pulses`; never waits.

        Raises:
            DeviceLostError: the device is gone.
        """
        raw = bytearray(FETCH.size)
        try:
            fcntl.ioctl(self._descriptor, PPS_FETCH, raw)
        except OSError as error:
            if error.errno not in (errno.ETIMEDOUT, errno.EINTR):
                raise DeviceLostError(f"{self.path}: {error.strerror}") from error
        self.pulses.take(bytes(raw), Clocks.now())

    def _line(self) -> str:
        """Return the serial line that the pulse comes on; empty: a pin, or nobody knows."""
        device = os.fstat(self._descriptor).st_rdev
        told = Path(f"/sys/dev/char/{os.major(device)}:{os.minor(device)}/path")
        try:
            return told.read_text().strip()
        except OSError:  # it is no PPS device, or gone again
            return ""

    def close(self) -> None:
        """Release it; may be called twice; never raises."""
        with contextlib.suppress(OSError):
            os.close(self._descriptor)
        self._descriptor = -1
