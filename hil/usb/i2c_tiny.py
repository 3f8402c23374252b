"""A USB-I2C adapter (i2c-tiny-usb) with chips behind it: the kernel makes it a real ``/dev/i2c-N``.

The chips are the register models of `drivers.sim`. What it does not simulate: the bus's own time
(a transfer takes what USB takes), clock stretching, a second master, an address answered by two.
Source: the adapter's firmware protocol as the Linux driver i2c-tiny-usb speaks it.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from hil.usb.device import Setup, UsbDevice, interface, whole

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drivers.sim.bus import Chip

ECHO, GET_FUNCTIONS, SET_DELAY, GET_STATUS, TRANSFER = 0, 1, 2, 3, 4
#: I2C, and SMBus made of it, as the firmware says of itself.
FUNCTIONS = 0x0EFF0001
ACKNOWLEDGED, NOT_ACKNOWLEDGED = 1, 2


class I2cTinyUsb(UsbDevice):
    """The adapter.

    Args:
        chips: by 7-bit address.
        serial_number: by which udev tells it from another one.
    """

    vendor_id, product_id = 0x0403, 0xC631

    def __init__(self, chips: Mapping[int, Chip], serial_number: str = "bench-imu") -> None:
        super().__init__()
        self.strings = ("bench", "i2c-tiny-usb", serial_number)
        self._chips = chips
        self._status = 0
        self._naks = 0

    def refuse(self, transfers: int) -> None:
        """Let nobody answer the next transfers."""
        with self.lock:
            self._naks = transfers

    def configuration(self) -> bytes:
        """Return the configuration descriptor: one interface without endpoints."""
        return whole(1, interface(0, 0, (255, 0, 0)))

    def requested(self, setup: Setup) -> bytes | None:
        """Answer a request of the vendor's."""
        if setup.request == ECHO:
            return struct.pack("<H", setup.value)
        if setup.request == GET_FUNCTIONS:
            return struct.pack("<I", FUNCTIONS)
        if setup.request == GET_STATUS:
            # Of each transfer once: of one lost on the way it must not tell that of the last.
            status, self._status = self._status, NOT_ACKNOWLEDGED
            return bytes((status,))
        return self._transfer(setup) if setup.request >= TRANSFER else b""

    def _transfer(self, setup: Setup) -> bytes:
        chip = self._chips.get(setup.index & 0x7F)
        if self._naks or chip is None:
            self._naks = max(self._naks - 1, 0)
            self._status = NOT_ACKNOWLEDGED
            return bytes(setup.length)
        self._status = ACKNOWLEDGED
        if setup.is_in:
            return chip.read(setup.length)
        chip.write(setup.data)
        return b""
