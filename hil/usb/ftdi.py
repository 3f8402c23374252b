"""A USB serial adapter (FT232R): the kernel makes it a real ``/dev/ttyUSBN``.

It knows the speed that the host set: what comes at another one is noise. What the host does not
fetch in time overruns its 384-byte buffer, with the chip's own flag. A change of its carrier
detect, where a receiver's second pulse comes in, is told at once. What it does not simulate: the
other modem lines, parity and framing errors, flow control, and the time that a byte takes (who
feeds it keeps the line's pace). Source: FTDI's application notes and the Linux driver ftdi_sio.
"""

from __future__ import annotations

import random
import struct
import threading
from typing import TYPE_CHECKING

from hil.usb.device import KIND_BITS, VENDOR, Setup, UsbDevice, bulk, interface, whole

if TYPE_CHECKING:
    from collections.abc import Callable

SET_BAUD, GET_MODEM_STATUS, SET_LATENCY, GET_LATENCY, READ_EEPROM = 3, 5, 9, 10, 0x90
BUFFER_BYTES, PACKET_BYTES = 384, 64
READY, OVERRUN = 0x60, 0x02
#: Of the modem's status: a bit that is always set, and the carrier.
ALWAYS, CARRIER = 0x01, 0x80
#: Eighths by which the chip divides its clock, by the three bits that name them.
EIGHTHS = (0, 4, 2, 1, 3, 5, 6, 7)
CLOCK_HZ = 24_000_000  # of the divider in eighths
FAST = {0: 3_000_000, 1: 2_000_000}
MOST_OFF = 0.03
HEARD = 0x02  # the endpoint that the host writes to
SPEAKS = 1


class Ftdi(UsbDevice):
    """The adapter.

    Args:
        baud: speed of what is behind it, bits per second.
        heard: gets what the host sends, if somebody is behind it who listens.
        serial_number: by which udev tells it from another one.
    """

    vendor_id, product_id, release = 0x0403, 0x6001, 0x0600

    def __init__(
        self,
        baud: int,
        heard: Callable[[bytes], None] | None = None,
        serial_number: str = "bench-gps",
    ) -> None:
        super().__init__()
        self.strings = ("FTDI", "FT232R USB UART", serial_number)
        self.baud = baud
        self.host_baud: int | None = None
        self.overrun_bytes = 0
        self._heard = heard
        self._waiting = bytearray()
        self._status = READY
        self._modem = ALWAYS
        self._latency_ms = 16
        self._is_there = threading.Event()
        self._thread: threading.Thread | None = None
        self._dice = random.Random(0)

    def configuration(self) -> bytes:
        """Return the configuration descriptor: one interface with two bulk endpoints."""
        ends = bulk(0x80 | SPEAKS, PACKET_BYTES) + bulk(HEARD, PACKET_BYTES)
        return whole(1, interface(0, 2, (255, 255, 255), 2) + ends, 0xA0, 45)

    def requested(self, setup: Setup) -> bytes | None:
        """Answer a request of the vendor's."""
        if setup.kind & KIND_BITS != VENDOR:
            return None
        if setup.request == SET_BAUD:
            self.host_baud = _baud(setup.value, setup.index)
        elif setup.request == SET_LATENCY:
            self._latency_ms = max(1, setup.value & 0xFF)
        answers = {
            GET_MODEM_STATUS: bytes((self._modem, READY)),
            GET_LATENCY: bytes((self._latency_ms,)),
            READ_EEPROM: bytes(setup.length),
        }
        return answers.get(setup.request, b"")

    def received(self, endpoint: int, data: bytes) -> None:
        """Pass on what the host sends."""
        if self._heard is not None and endpoint == HEARD:
            self._heard(data)

    def plugged(self) -> None:
        """Begin to answer the host at the latency that it set."""
        self.host_baud = None
        self._waiting.clear()
        self._is_there.set()
        self._thread = threading.Thread(target=self._answer, daemon=True)
        self._thread.start()

    def unplugged(self) -> None:
        """Answer nobody any more."""
        self._is_there.clear()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def feed(self, data: bytes) -> None:
        """Take what the device behind it sends, at the line's own pace; without power, nothing."""
        if not self._is_there.is_set():
            return
        with self.lock:
            if self.host_baud and abs(self.host_baud - self.baud) / self.baud > MOST_OFF:
                data = self._dice.randbytes(len(data))
            self._waiting += data
            if (over := len(self._waiting) - BUFFER_BYTES) > 0:
                del self._waiting[:over]
                self.overrun_bytes += over
                self._status |= OVERRUN

    def carry(self, is_on: bool) -> None:
        """Set the carrier detect: a receiver's second pulse, for as long as it lasts."""
        with self.lock:
            self._modem = ALWAYS | (CARRIER if is_on else 0)
            self._flush()

    def _answer(self) -> None:
        pause = threading.Event()
        while self._is_there.is_set():
            pause.wait(self._latency_ms / 1000)
            with self.lock:
                self._flush()

    def _flush(self) -> None:
        while room := self.room(SPEAKS):
            packets = b""
            while len(packets) + PACKET_BYTES <= room and (self._waiting or not packets):
                packets += (
                    struct.pack("<BB", self._modem, self._status)
                    + self._waiting[: PACKET_BYTES - 2]
                )
                del self._waiting[: PACKET_BYTES - 2]
                self._status = READY
            self.send(SPEAKS, packets)
            if not self._waiting:
                return


def _baud(value: int, index: int) -> int:
    if value in FAST and not index & 1:
        return FAST[value]
    eighths = EIGHTHS[value >> 14 | (index & 1) << 2]
    return round(CLOCK_HZ / ((value & 0x3FFF) * 8 + eighths))
