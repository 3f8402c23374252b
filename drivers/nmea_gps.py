"""A GPS receiver that speaks NMEA 0183 on a serial port or a USB adapter.

Gives one sample per epoch; how sentences become epochs is told in `drivers.nmea`.

Source: NMEA 0183 version 4.11; u-blox 8 / M8 protocol description UBX-13003221, section 31.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Literal

from drivers.base import BadSampleError, Device, DeviceLostError, Driver, Events, Sample
from drivers.baud_search import BaudSearch
from drivers.epoch_counter import Counter, Rhythm
from drivers.epoch_time import EpochTime
from drivers.nmea_link import Link
from drivers.nmea_options import Options
from drivers.nmea_rows import FIELDS, pack
from drivers.receiver_setup import SENTENCES, set_up
from drivers.uart import Port

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from drivers.nmea_epoch import Epoch

FINISH_PERIODS = 1.2
#: From ``$`` on, as they came, also those whose checksum is wrong.
RAW_LINES = Events(kind="nmea_raw", ontology="NMEASentence", blob="nmea")


class NmeaGps(Driver):
    """Position, velocity, time and quality of the fix, once per epoch.

    A row holds what the receiver said and nothing else: without a fix, position, velocity and
    dilutions are null, never 0.0 and never the last known ones.

    An epoch that was under way when the port was opened is dropped, as half of it is missing.
    Damaged lines are counted in the row's `checksum_errors`; an epoch that was damaged so much that
    not even its time is known raises `BadSampleError` once, and shows as a gap of the counter.

    Args:
        device: path of the port: ``/dev/recorder/gps``, ``/dev/ttyUSB0``, ``/dev/serial0`` …
        baud: bits per second, as the receiver is set or is to be set; ``auto``: found out, and
            115200 for a receiver that is set up.
        rate_hz: epochs per second, as the receiver is set or is to be set.
        receiver: ``leave`` it as it is, or set it up as ``ublox`` or ``mediatek``.
        sentences: what it sends where it is set up: of RMC, GGA, GSA, VTG, GLL, GNS, GST, ZDA.
        pps: path of the kernel's device for the receiver's second pulse; empty: none.
        raw: whether its lines are kept too, in a lane of their own.

    Raises:
        ValueError: the sentences do not fit into the line, or the receiver cannot be set so.
    """

    kind = "nmea_gps"
    ontology = "GPS"
    fields = FIELDS
    rate_tolerance = 0.001

    def __init__(
        self,
        *,
        device: str,
        baud: int | Literal["auto"] = "auto",
        rate_hz: float = 10.0,
        receiver: Literal["leave", "ublox", "mediatek"] = "leave",
        sentences: tuple[str, ...] = SENTENCES,
        pps: str = "",
        raw: bool = False,
    ) -> None:
        self.beside = RAW_LINES if raw else None
        self._raw: deque[tuple[int, bytes]] | None = deque() if raw else None
        self._lines = 0
        self._options = Options(baud, rate_hz, receiver, tuple(sentences))
        self.device = device
        self.rate_hz = rate_hz
        self.pps = pps
        self._search = BaudSearch(rate_hz, self._options.slowest_hz, self._options.likely_baud)
        self._counter = Counter(rate_hz)
        self._time = EpochTime(pps)
        self._link: Link | None = None
        self._measured: tuple[float, int] | None = None
        self._start_reading()

    def open(self) -> Device:
        """Open the port, find its speed and set the receiver up, as far as that is asked for.

        Returns:
            The port, its speed and the second pulse; maker and model of a receiver that is set up
            (NMEA has no question for them).

        Raises:
            DeviceAbsentError: there is no port, or it is not ours, or the line is silent.
            WrongDeviceError: it is no receiver, or not of that make.
            DeviceLostError: it went away at once, or stopped answering.
        """
        self.close()
        options = self._options
        port = Port(self.device, self._search.next_baud)
        self._link = Link(port, self.rate_hz, self._raw, self.still_opening)
        dialect = options.dialect
        vendor = model = firmware = ""
        if options.must_search:
            self._search.find(self._link, dialect.question() if dialect else b"")
        if dialect is not None:
            vendor = dialect.vendor
            model, firmware = set_up(
                self._link,
                dialect,
                sentences=options.sentences,
                rate_hz=self.rate_hz,
                baud=options.set_baud,
            )
            self._search.expect(options.set_baud)
        self._start_reading()
        interface = {"path": self.device, "baud": str(self._link.port.baud)}
        if self.pps:
            interface["pps"] = self._time.open()
        return Device(vendor=vendor, model=model, firmware=firmware, interface=interface)

    def read(self, timeout_s: float) -> Sample | None:
        """Wait for the end of an epoch.

        Args:
            timeout_s: how long to wait at most.

        Returns:
            One row. `boot_ns` is the arrival of the epoch's first byte, or the instant itself where
            a second pulse tells it. `utc_ns` is given with a fix only. `counter` counts periods,
            see `Counter`.

        Raises:
            DeviceLostError: the port is gone, the receiver made no sense for some seconds, or it
                has forgotten how it was set up.
            WrongDeviceError: what came was no sentence from the beginning on.
            BadSampleError: an epoch was damaged beyond use.
        """
        link = self._opened
        deadline_s = time.monotonic() + timeout_s
        while not link.epochs:
            left_s = deadline_s - time.monotonic()
            link.step(left_s)
            self._raise_if_unusable(link)
            if left_s <= 0:
                break
        link.check(must_speak=self._options.must_search)
        if self._rhythm.is_slow and self._options.dialect is not None:
            raise DeviceLostError(
                f"{self.device}: gives less than {self.rate_hz:g} Hz: it has forgotten its set-up,"
                " or its sentences do not fit into the line"
            )
        return self._sample(link.epochs.popleft()) if link.epochs else None

    def measured(self) -> Mapping[str, object]:
        """Return the share of the line that the epochs need, where it is known."""
        load = self.line_load()
        return {} if load is None else {"line_load": round(load, 3)}

    def take_beside(self) -> Sequence[Sample]:
        """Return the lines that came since the last call."""
        if not self._raw:
            return ()
        samples = [
            Sample(boot_ns=boot_ns, rows=1, payload=(text(line),), counter=number)
            for number, (boot_ns, line) in enumerate(self._raw, self._lines)
        ]
        self._lines += len(samples)
        self._raw.clear()
        return samples

    def finish(self) -> Sequence[Sample]:
        """Read on until the epoch under way is whole, for `FINISH_PERIODS` periods at most.

        So the port is closed in the quiet between two epochs, and none is torn.

        Returns:
            The epochs that were still to be delivered.

        Raises:
            DeviceLostError: the port is gone.
        """
        link = self._opened
        deadline_s = time.monotonic() + FINISH_PERIODS / self.rate_hz
        while link.decoder.is_under_way and time.monotonic() < deadline_s:
            link.step(deadline_s - time.monotonic())
        samples = [self._sample(epoch) for epoch in link.epochs]
        link.epochs.clear()
        return samples

    def close(self) -> None:
        """Release the port and the second pulse."""
        if self._link is not None:
            self._measured = self._link.measured or self._measured
            self._link.close()
        self._link = None
        self._time.close()

    def line_load(self) -> float | None:
        """Return the share of the line that the epochs need, above 1 if they do not fit.

        By what came while it was open, else by the set-up; None if the speed is not known.
        """
        now = None if self._link is None else self._link.measured
        return self._options.load(now or self._measured)

    def _start_reading(self) -> None:
        self._rhythm = Rhythm(self.rate_hz)
        self._unusable = 0 if self._link is None else self._link.decoder.unusable

    @property
    def _opened(self) -> Link:
        if self._link is None:
            raise DeviceLostError(f"{self.device}: not open")
        return self._link

    def _raise_if_unusable(self, link: Link) -> None:
        lost = link.decoder.unusable - self._unusable
        self._unusable = link.decoder.unusable
        if lost:
            raise BadSampleError(
                f"{self.device}: an epoch was damaged beyond use: no sentence with its time passed "
                "its checksum",
                samples=0,
            )

    def _sample(self, epoch: Epoch) -> Sample:
        self._rhythm.hear(epoch.boot_ns)
        number = self._counter.number(epoch.utc_ns, epoch.boot_ns)
        late_ns = self._counter.late_ns(epoch.utc_ns, epoch.boot_ns)
        stamp = self._time.stamp(epoch, late_ns)
        return Sample(
            boot_ns=stamp.boot_ns,
            rows=1,
            payload=(pack(epoch),),
            counter=number,
            utc_ns=stamp.utc_ns,
            utc_uncertainty_ns=stamp.utc_uncertainty_ns,
            utc_source=stamp.utc_source,
        )


def text(line: bytes) -> bytes:
    """Return a line as text: what is no ASCII is spelled out (a backslash, x and two digits)."""
    return line.decode("ascii", "backslashreplace").encode()
