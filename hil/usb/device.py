"""A USB device in a process of its own: descriptors, control requests, and bulk endpoints.

How it is plugged in (`hil.usb.redir`) is none of its business. Source: Universal Serial Bus
Specification 2.0, chapter 9.
"""

from __future__ import annotations

import struct
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Callable

DEVICE, CONFIGURATION, STRING, INTERFACE, ENDPOINT, QUALIFIER = 1, 2, 3, 4, 5, 6
STANDARD, CLASS, VENDOR, KIND_BITS = 0x00, 0x20, 0x40, 0x60
IN = 0x80
GET_STATUS, GET_DESCRIPTOR, GET_CONFIGURATION, GET_INTERFACE, SET_INTERFACE = 0, 6, 8, 10, 11
FULL_SPEED, HIGH_SPEED = 1, 2
ENGLISH = b"\x04\x03\x09\x04"


@dataclass(frozen=True)
class Setup:
    """A control request.

    Args:
        kind: bmRequestType: direction, kind and recipient.
        request: bRequest.
        value: wValue.
        index: wIndex.
        length: wLength.
        data: what came with it, if it writes.
    """

    kind: int
    request: int
    value: int
    index: int
    length: int
    data: bytes = b""

    @property
    def is_in(self) -> bool:
        """Tell whether the host wants an answer."""
        return bool(self.kind & IN)


@dataclass
class Pipe:
    """What the host waits for on one IN endpoint.

    Args:
        waiting: for each transfer the host asked for, in order: how many bytes it takes at most,
            and what to call with them.
    """

    waiting: deque[tuple[int, Callable[[bytes], None]]] = field(default_factory=deque)


class UsbDevice:
    """A device. Subclasses declare what they are, and answer what is asked of them.

    Everything runs under `lock`: requests of the host, and what the device does by itself.
    """

    speed: ClassVar[int] = FULL_SPEED
    vendor_id: ClassVar[int]
    product_id: ClassVar[int]
    release: ClassVar[int] = 0x0100
    device_class: ClassVar[tuple[int, int, int]] = (0, 0, 0)
    strings: tuple[str, str, str] = ("bench", "", "")  # vendor, product, serial number

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.pipes: dict[int, Pipe] = {}

    def configuration(self) -> bytes:
        """Return the configuration descriptor with everything that belongs to it."""
        raise NotImplementedError

    def requested(self, setup: Setup) -> bytes | None:
        """Answer a request of a class or vendor; None refuses it."""
        raise NotImplementedError

    def received(self, endpoint: int, data: bytes) -> None:
        """Take what the host sent to a bulk endpoint."""

    def wanted(self, endpoint: int) -> None:
        """Note that the host waits for data of an IN endpoint."""

    def plugged(self) -> None:
        """Note that a host is there; what one before set is forgotten."""

    def unplugged(self) -> None:
        """Note that the host is gone."""

    def control(self, setup: Setup) -> bytes | None:
        """Answer any control request; None refuses it."""
        if setup.kind & KIND_BITS != STANDARD:
            return self.requested(setup)
        if setup.request == GET_DESCRIPTOR:
            return self._descriptor(setup.value >> 8, setup.value & 0xFF)
        answers = {GET_STATUS: b"\0\0", GET_CONFIGURATION: b"\1", GET_INTERFACE: b"\0"}
        return answers.get(setup.request, b"")

    def _descriptor(self, kind: int, index: int) -> bytes | None:
        if kind == DEVICE:
            head = struct.pack("<BBHBBBB", 18, DEVICE, 0x0200, *self.device_class, 64)
            who = struct.pack("<HHHBBBB", self.vendor_id, self.product_id, self.release, 1, 2, 3, 1)
            return head + who
        if kind == CONFIGURATION:
            return self.configuration()
        if kind == STRING:
            return _text(self.strings[index - 1]) if index else ENGLISH
        if kind == QUALIFIER and self.speed == HIGH_SPEED:
            return b"\x0a\x06\x00\x02\x00\x00\x00\x40\x01\x00"
        return None

    def send(self, endpoint: int, data: bytes) -> bool:
        """Give the host what it waits for on an endpoint; tell whether it waits."""
        with self.lock:
            pipe = self.pipes.get(endpoint)
            if pipe is None or not pipe.waiting:
                return False
            most_bytes, give = pipe.waiting.popleft()
            give(data[:most_bytes])
            return True

    def room(self, endpoint: int) -> int:
        """Return how many bytes the host takes next from an endpoint; 0 if it does not wait."""
        pipe = self.pipes.get(endpoint)
        return pipe.waiting[0][0] if pipe and pipe.waiting else 0


def _text(text: str) -> bytes:
    raw = text.encode("utf-16le")
    return bytes((len(raw) + 2, STRING)) + raw


def interface(number: int, endpoints: int, what: tuple[int, int, int], name: int = 0) -> bytes:
    """Return an interface descriptor."""
    return bytes((9, INTERFACE, number, 0, endpoints, *what, name))


def bulk(address: int, packet_bytes: int) -> bytes:
    """Return the descriptor of a bulk endpoint."""
    return struct.pack("<BBBBHB", 7, ENDPOINT, address, 2, packet_bytes, 0)


def whole(interfaces: int, body: bytes, attributes: int = 0x80, power: int = 50) -> bytes:
    """Return a configuration descriptor around its interfaces."""
    size = 9 + len(body)
    head = struct.pack("<BBHBBBBB", 9, CONFIGURATION, size, interfaces, 1, 0, attributes, power)
    return head + body
