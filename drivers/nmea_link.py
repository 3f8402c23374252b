"""A receiver's line while it is open: port and decoder, and whether it still speaks.

Everything that is read goes through the decoder, also while the speed is looked for and the
receiver is set up: no epoch is lost to that but those that cannot be read.
"""

from __future__ import annotations

import re
import time
from collections import deque
from typing import TYPE_CHECKING

from drivers.base import DeviceLostError, WrongDeviceError
from drivers.nmea import Decoder, Epoch
from drivers.uart import BITS_PER_BYTE, Port

if TYPE_CHECKING:
    from collections.abc import Callable

#: Whoever looks into the line for long gives a sign at least so often.
SIGN_S = 0.5
#: So long without a byte, or without a sentence among them, and the line is given up; but not
#: before so many periods.
SILENCE_PATIENCE_S, GARBAGE_PATIENCE_S, PATIENCE_PERIODS = 5.0, 3.0, 3
#: A pause that ends an epoch: the shortest that no UART or USB adapter makes inside one …
SILENCE_S = 0.02
#: … or this part of a period, where that is longer; when more was expected, the second.
SILENCE_PERIODS = 0.3
SILENCE_PERIODS_INSIDE = 0.5
#: The rest of an epoch is left to come, for no longer than this: a UART would wake us for every few
#: bytes of it.
MOST_NAP_S = 0.02
#: 0.3 of a tenth of a second, doubled so often, are two seconds: a receiver at 1 Hz told as 10.
MOST_DOUBLINGS = 6
SAMPLE_BYTES = 48

_KNOWN = (
    (re.compile(rb"\xb5\x62[\x01-\x28]"), "u-blox binary (UBX): switch its NMEA output on"),
    (re.compile(rb"\xa0\xa2"), "SiRF binary: switch it to NMEA"),
    (re.compile(rb"\xd3[\x00-\x03]"), "RTCM corrections only"),
    (re.compile(rb"\$@"), "Septentrio binary (SBF): switch its NMEA output on"),
    (re.compile(rb"(?m)^\s*(AT[+&DEQ]|OK\s*$|ERROR\s*$|\+C[A-Z]+:)"), "a modem"),
    (re.compile(rb"login:|[Pp]assword:|[#$] $"), "a console: take the console off this port"),
)


class Link:
    """An open line.

    Args:
        port: the open port; closed with `close`.
        rate_hz: epochs per second that are expected.
        raw: gets every line behind the boot time of its first byte, but for noise at a wrong speed;
            None: no line is kept.
        still_opening: see `Driver`.

    Attributes:
        port: the port.
        decoder: what its bytes go through.
        epochs: those that ended and were not taken, oldest first; only whole ones.
    """

    def __init__(
        self,
        port: Port,
        rate_hz: float,
        raw: deque[tuple[int, bytes]] | None,
        still_opening: Callable[[], None],
    ) -> None:
        self.port = port
        self._still_opening = still_opening
        self._period_s = 1 / rate_hz
        self.epochs: deque[Epoch] = deque()
        self._raw = raw
        self._begin()

    def _begin(self) -> None:
        self._lines: deque[tuple[int, bytes]] = deque()
        self.decoder = Decoder(None if self._raw is None else self._lines)
        self._sentences = 0
        self._spoke_s = self._quiet_since_s = time.monotonic()
        self._is_quiet = self._has_spoken = False
        self._strange = b""
        #: Bytes since the first epoch ended, until now and until the last one ended; and epochs.
        self._bytes = self._epoch_bytes = self._epochs = 0

    @property
    def is_proven(self) -> bool:
        """Whether a sentence with a good checksum came since the speed was set."""
        return self.decoder.sentences > 0

    @property
    def heard(self) -> bytes:
        """Return the first bytes since the last sentence; empty if there were none."""
        return self._strange

    def set_baud(self, baud: int) -> None:
        """Change the speed of our side, and begin to listen anew.

        Raises:
            DeviceAbsentError: the port cannot have this speed.
            DeviceLostError: the device is gone.
        """
        self.port.set_baud(baud)
        self._begin()

    def say(self, data: bytes) -> None:
        """Send bytes.

        Raises:
            DeviceLostError: the device is gone, or takes no bytes.
        """
        self.port.write(data)

    def listen(self, timeout_s: float) -> bytes:
        """Hear what comes while the device is being opened, and say that it still is.

        Returns:
            As `hear`, but nothing came after `SIGN_S` already: whoever waits for more comes again.

        Raises:
            DeviceLostError: the device is gone.
        """
        self._still_opening()
        return self.hear(min(timeout_s, SIGN_S))

    def hear(self, timeout_s: float) -> bytes:
        """Wait for bytes, and take all that are there through the decoder.

        Returns:
            The bytes as they came; empty if none came in time.

        Raises:
            DeviceLostError: the device is gone.
        """
        data, first_ns = self.port.read_some(timeout_s)
        if data:
            self._quiet_since_s = time.monotonic()
            self._is_quiet = False
            self._bytes += len(data)
            self._keep(self.decoder.feed(data, first_ns, self.port.read_ns))
            self._watch(data)
            if self._raw is not None and self.is_proven:
                self._raw += self._lines
                self._lines.clear()
        return data

    def step(self, timeout_s: float) -> None:
        """Take the next bytes, or find that the line has been silent for long enough.

        Args:
            timeout_s: how long to wait at most; 0 or less: do not wait.

        Raises:
            DeviceLostError: the device is gone.
        """
        if self.decoder.expects_more and (nap_s := min(timeout_s, MOST_NAP_S, self._rest_s())) > 0:
            time.sleep(nap_s)
            timeout_s -= nap_s
        silence_s = self._quiet_since_s + self._silence_s() - time.monotonic()
        wait_s = timeout_s if self._is_quiet else min(timeout_s, silence_s)
        if not self.hear(wait_s) and not self._is_quiet and silence_s <= timeout_s:
            self._is_quiet = True
            self._keep(self.decoder.flush())

    def _rest_s(self) -> float:
        """Return how long the line needs for the rest of a usual epoch, 0 if that is not known."""
        if self.measured is None:
            return 0.0
        usual_bytes, baud = self.measured
        return (usual_bytes - (self._bytes - self._epoch_bytes)) * BITS_PER_BYTE / baud

    def _silence_s(self) -> float:
        part = SILENCE_PERIODS_INSIDE if self.decoder.expects_more else SILENCE_PERIODS
        # Some pause in mid-epoch: each time that was taken for the end, wait twice as long.
        part *= 1 << min(self.decoder.pauses, MOST_DOUBLINGS)
        return max(SILENCE_S, part * self._period_s)

    @property
    def measured(self) -> tuple[float, int] | None:
        """Bytes of an epoch and bits per second, None before a second whole epoch."""
        epochs = self._epochs - 1
        return (self._epoch_bytes / epochs, self.port.baud) if epochs > 0 else None

    def check(self, *, must_speak: bool) -> None:
        """Give the line up if it has not made sense for long enough.

        Args:
            must_speak: whether silence is a fault too, and not only garbage.

        Raises:
            WrongDeviceError: something speaks, and never said a sentence.
            DeviceLostError: it made sense before, or is silent though it must not be.
        """
        usual_s = GARBAGE_PATIENCE_S if self._strange else SILENCE_PATIENCE_S
        patience_s = max(usual_s, PATIENCE_PERIODS * self._period_s)
        if time.monotonic() - self._spoke_s < patience_s or not (self._strange or must_speak):
            return
        where = f"{self.port.path}: at {self.port.baud} baud for {patience_s:g} s"
        if not self._strange:
            raise DeviceLostError(f"{where} not a byte: power, or the wire from its TX to our RX")
        text = f"{where} no sentence, but {describe(self._strange)}"
        raise DeviceLostError(text) if self._has_spoken else WrongDeviceError(text)

    def _watch(self, data: bytes) -> None:
        if self.decoder.sentences > self._sentences:
            self._sentences = self.decoder.sentences
            self._has_spoken = True
            self._spoke_s = time.monotonic()
            self._strange = b""
        elif len(self._strange) < SAMPLE_BYTES:
            self._strange += data[:SAMPLE_BYTES]

    def _keep(self, epochs: list[Epoch]) -> None:
        for epoch in epochs:
            if not self._epochs:
                self._bytes = 0
            self._epoch_bytes = self._bytes
            self._epochs += 1
            if epoch.whole:
                self.epochs.append(epoch)

    def close(self) -> None:
        """Release the port."""
        self.port.close()


def describe(data: bytes) -> str:
    """Return what bytes look like, for people: what they probably are, and the first of them."""
    shown = repr(data[:SAMPLE_BYTES])[2:-1]
    for form, name in _KNOWN:
        if form.search(data):
            return f"what looks like {name} ({shown})"
    if set(data) <= {0x00, 0xFF}:
        return f"only a line held low or high ({shown})"
    return f"bytes that are none: another speed, or another device ({shown})"
