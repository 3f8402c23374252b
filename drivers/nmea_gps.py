"""A GPS receiver that speaks NMEA 0183 on a serial port or a USB adapter.

Gives one sample per epoch; how sentences become epochs is told in `drivers.nmea`.

Source: NMEA 0183 version 4.11; u-blox 8 / M8 protocol description UBX-13003221, section 31.
"""

from __future__ import annotations

import math
import struct
import time
from collections import deque
from typing import TYPE_CHECKING

from drivers.base import (
    TYPES,
    BadSampleError,
    Device,
    DeviceLostError,
    Driver,
    Field,
    Sample,
)
from drivers.nmea import FIXES, Decoder, Epoch
from drivers.uart import Port

if TYPE_CHECKING:
    from collections.abc import Sequence

NULL_UTC_NS = -(2**63)
NULL_SATELLITES = -1
MOST_U2 = 2**16 - 1

#: A pause that ends an epoch: the shortest that no UART or USB adapter makes inside one …
SILENCE_S = 0.02
#: … or this part of a period, where that is longer; when more was expected, the second.
SILENCE_PERIODS = 0.3
SILENCE_PERIODS_INSIDE = 0.5
FINISH_PERIODS = 1.2

#: Without PPS the first byte comes tens of ms after the instant it speaks of, on some receivers
#: more (chrony's own measurements show 73 ms): the bound we state.
UTC_UNCERTAINTY_NS = 100_000_000


def _fields() -> tuple[Field, ...]:
    return (
        Field("utc_ns", "<i8", "ns", null=NULL_UTC_NS),
        Field("position.x", "<f8", "deg", least=-90, most=90),  # latitude
        Field("position.y", "<f8", "deg", least=-180, most=180),  # longitude
        Field("position.z", "<f8", "m", least=-1000, most=100_000),  # above mean sea level
        Field("velocity.x", "<f8", "m/s", least=-600, most=600),  # north
        Field("velocity.y", "<f8", "m/s", least=-600, most=600),  # east
        Field("status.status", "<i1", "1", least=0, most=8),  # GGA's quality code, 0: no fix
        Field("status.service", "<u2", "1"),  # bits of `Epoch.service`, 0: not known
        Field("status.satellites", "<i1", "1", null=NULL_SATELLITES, least=0, most=127),
        Field("status.hdop", "<f8", "1", least=0, most=100),
        Field("status.vdop", "<f8", "1", least=0, most=100),
        Field("geoid_separation_m", "<f8", "m", least=-200, most=200),
        Field("speed_mps", "<f8", "m/s", least=0, most=600),
        Field("course_deg", "<f8", "deg", least=0, most=360),
        Field("fix", "<u1", "1", least=0, most=len(FIXES) - 1),  # index in `FIXES`
        Field("sentences", "<u2", "1"),
        Field("checksum_errors", "<u4", "1"),
    )


class NmeaGps(Driver):
    """Position, velocity, time and quality of the fix, once per epoch.

    A row holds what the receiver said and nothing else: without a fix, position, velocity and
    dilutions are null, never 0.0 and never the last known ones.

    An epoch that was under way when the port was opened is dropped, as half of it is missing.
    Damaged lines are counted in the row's `checksum_errors`; an epoch that was damaged so much that
    not even its time is known raises `BadSampleError` once, and shows as a gap of the counter.

    Args:
        device: path of the port: ``/dev/recorder/gps``, ``/dev/ttyUSB0``, ``/dev/serial0`` …
        baud: bits per second, as the receiver is set.
        rate_hz: epochs per second, as the receiver is set.
    """

    kind = "nmea_gps"
    ontology = "GPS"
    fields = _fields()
    rate_tolerance = 0.001

    def __init__(self, *, device: str, baud: int = 115_200, rate_hz: float = 10.0) -> None:
        self.device = device
        self.baud = baud
        self.rate_hz = rate_hz
        self._row = struct.Struct("<" + "".join(TYPES[f.type[1:]] for f in self.fields))
        self._counter = Counter(rate_hz)
        self._port: Port | None = None
        self._start_decoding()

    def open(self) -> Device:
        """Open the port; what the kernel held is thrown away.

        Returns:
            The port and its speed; NMEA has no question for maker and model.

        Raises:
            DeviceAbsentError: there is no port, or it is not ours.
            DeviceLostError: it went away at once.
        """
        self.close()
        self._start_decoding()
        self._port = Port(self.device, self.baud)
        return Device(interface={"path": self.device, "baud": str(self.baud)})

    def read(self, timeout_s: float) -> Sample | None:
        """Wait for the end of an epoch.

        Args:
            timeout_s: how long to wait at most.

        Returns:
            One row. `boot_ns` is the arrival of the epoch's first byte. `utc_ns` is given with a
            fix only, and is known to `UTC_UNCERTAINTY_NS`. `counter` counts periods, see `Counter`.

        Raises:
            DeviceLostError: the port is gone.
            BadSampleError: an epoch was damaged beyond use.
        """
        deadline_s = time.monotonic() + timeout_s
        while not self._epochs:
            left_s = deadline_s - time.monotonic()
            self._step(left_s)
            self._raise_if_unusable()
            if left_s <= 0:
                break
        return self._sample(self._epochs.popleft()) if self._epochs else None

    def finish(self) -> Sequence[Sample]:
        """Read on until the epoch under way is whole, for `FINISH_PERIODS` periods at most.

        So the port is closed in the quiet between two epochs, and none is torn.

        Returns:
            The epochs that were still to be delivered.

        Raises:
            DeviceLostError: the port is gone.
        """
        deadline_s = time.monotonic() + FINISH_PERIODS / self.rate_hz
        while self._decoder.is_under_way and time.monotonic() < deadline_s:
            self._step(deadline_s - time.monotonic())
        samples = [self._sample(epoch) for epoch in self._epochs]
        self._epochs.clear()
        return samples

    def close(self) -> None:
        """Release the port."""
        if self._port is not None:
            self._port.close()
        self._port = None

    def _start_decoding(self) -> None:
        self._decoder = Decoder()
        self._epochs: deque[Epoch] = deque()
        self._unusable = 0
        self._quiet_since_s = time.monotonic()
        self._is_quiet = False

    def _step(self, timeout_s: float) -> None:
        """Take the next bytes, or find that the line has been silent for long enough."""
        if self._port is None:
            raise DeviceLostError(f"{self.device}: not open")
        silence_s = self._quiet_since_s + self._silence_s() - time.monotonic()
        wait_s = timeout_s if self._is_quiet else min(timeout_s, silence_s)
        data, first_ns = self._port.read_some(wait_s)
        if data:
            self._quiet_since_s = time.monotonic()
            self._is_quiet = False
            self._keep(self._decoder.feed(data, first_ns, self._port.read_ns))
        elif not self._is_quiet and silence_s <= timeout_s:
            self._is_quiet = True
            self._keep(self._decoder.flush())

    def _silence_s(self) -> float:
        part = SILENCE_PERIODS_INSIDE if self._decoder.expects_more else SILENCE_PERIODS
        return max(SILENCE_S, part / self.rate_hz)

    def _keep(self, epochs: Sequence[Epoch]) -> None:
        self._epochs += (epoch for epoch in epochs if epoch.whole)

    def _raise_if_unusable(self) -> None:
        lost = self._decoder.unusable - self._unusable
        self._unusable = self._decoder.unusable
        if lost:
            raise BadSampleError(
                f"{self.device}: an epoch was damaged beyond use: no sentence with its time passed "
                "its checksum",
                samples=0,
            )

    def _sample(self, epoch: Epoch) -> Sample:
        return Sample(
            boot_ns=epoch.boot_ns,
            rows=1,
            payload=(self._row.pack(*_values(epoch)),),
            counter=self._counter.number(epoch.utc_ns, epoch.boot_ns),
            utc_ns=epoch.utc_ns if epoch.quality else None,
            utc_uncertainty_ns=UTC_UNCERTAINTY_NS if epoch.quality else 0,
        )


def _values(epoch: Epoch) -> tuple[int | float, ...]:
    return (
        NULL_UTC_NS if epoch.utc_ns is None else epoch.utc_ns,
        _or_nan(epoch.latitude_deg),
        _or_nan(epoch.longitude_deg),
        _or_nan(epoch.altitude_m),
        _or_nan(epoch.north_mps),
        _or_nan(epoch.east_mps),
        epoch.quality,
        epoch.service,
        NULL_SATELLITES if epoch.satellites is None else epoch.satellites,
        _or_nan(epoch.hdop),
        _or_nan(epoch.vdop),
        _or_nan(epoch.geoid_separation_m),
        _or_nan(epoch.speed_mps),
        _or_nan(epoch.course_deg),
        FIXES.index(epoch.fix),
        min(epoch.sentences, MOST_U2),
        epoch.checksum_errors,
    )


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


class Counter:
    """Numbers epochs by their UTC, in periods, so that a gap shows what the receiver lost.

    A receiver's time can jump, and the jump must not look like a loss: from its own clock to the
    first fix, by a late leap second, by 1024 weeks. So UTC is held against boot time: where it runs
    ahead by more than half a second, stands still, goes back, or falls behind by more than ten
    seconds, the numbers go on by boot time and then follow the new UTC. (Late stamps, after the
    process was held up, make UTC fall behind for a while; that is no jump.)

    Args:
        rate_hz: epochs per second.
    """

    AHEAD_NS = 500_000_000
    BEHIND_NS = 10_000_000_000
    #: Boot time may be slewed against UTC; 1000 ppm covers what NTP does.
    SLEW = 0.001

    def __init__(self, rate_hz: float) -> None:
        self._period_ns = 1e9 / rate_hz
        self._base: tuple[int, int] | None = None  # UTC and the number of one epoch
        self._last: tuple[int, int, int] = (0, 0, 0)  # UTC, boot time, number
        self._lead_ns = 0.0  # UTC minus boot time, of the stamps that came least late

    def number(self, utc_ns: int | None, boot_ns: int) -> int | None:
        """Return the epoch's number; None without UTC.

        Args:
            utc_ns: the receiver's UTC in ns since 1970; need not fall on a multiple of the period.
            boot_ns: CLOCK_BOOTTIME of the epoch, in ns.
        """
        if utc_ns is None:
            return None
        if self._base is None:
            self._base = (utc_ns, round(utc_ns / self._period_ns))
            self._lead_ns = utc_ns - boot_ns
        elif self._has_jumped(utc_ns, boot_ns):
            periods = max(1, round((boot_ns - self._last[1]) / self._period_ns))
            self._base = (utc_ns, self._last[2] + periods)
            self._lead_ns = utc_ns - boot_ns
        number = self._base[1] + round((utc_ns - self._base[0]) / self._period_ns)
        self._last = (utc_ns, boot_ns, number)
        return number

    def _has_jumped(self, utc_ns: int, boot_ns: int) -> bool:
        lead_ns = utc_ns - boot_ns
        slewed_ns = max(0, boot_ns - self._last[1]) * self.SLEW
        ahead_ns = lead_ns - self._lead_ns
        if utc_ns <= self._last[0] or not -self.BEHIND_NS < ahead_ns < self.AHEAD_NS:
            return True
        self._lead_ns = max(lead_ns, self._lead_ns - slewed_ns)
        return False
