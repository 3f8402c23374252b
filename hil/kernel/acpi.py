"""The ACPI table that tells the machine which chips are behind the adapter `hil.usb.ljca`.

It hangs a root hub with a port under the machine's USB controller, under that the adapter's two
halves, and under its bus the chips, each with its address and its interrupt line; the kernel then
binds its drivers by itself. Bytes of a definition block, without the header that QEMU writes.
Source: ACPI Specification 6.5, sections 5.2.11 (SSDT), 6.4.3.8 (GPIO and I2C connections), 20.2
(encoding); Linux, firmware-guide/acpi/enumeration.
"""

from __future__ import annotations

import struct
import uuid
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: As Linux' usb-ljca knows its halves, and a device that says what it is compatible with.
GPIO_ID, I2C_ID, BY_COMPATIBLE = "INTC1074", "INTC1075", "PRP0001"
PROPERTIES = uuid.UUID("daffd814-6eba-4d8c-8a91-bc9bbf4aa301")
SCOPE, DEVICE, NAME, PACKAGE, BUFFER = b"\x10", b"\x5b\x82", b"\x08", b"\x12", b"\x11"
STRING, WORD, MANY_NAMES = b"\x0d", b"\x0b", b"\x2f"
GPIO_CONNECTION, BUS_CONNECTION, END = 0x8C, 0x8E, b"\x79\x00"
CONSUMER, RISING_EDGE = 1, 1
#: Of the controller's ports the adapter's: the second of USB 2; these come behind four of USB 3.
PORT = 4 + 2
BUS_HZ = 400_000


def table(controller: str, chips: Sequence[tuple[int, str]]) -> bytes:
    """Return the block.

    Args:
        controller: path of the USB controller's node, such as ``\\_SB.PCI0.S20``.
        chips: each one's address and what it is compatible with, in the order of their lines.
    """
    port = f"{controller}.RHUB.PRT0"
    devices = [
        _device(f"IM{number:02}", _chip(port, number, *chip)) for number, chip in enumerate(chips)
    ]
    halves = [
        _device("GPIO", [_named("_HID", _text(GPIO_ID))]),
        _device("I2C0", [_named("_HID", _text(I2C_ID)), *devices]),
    ]
    place = _device("PRT0", [_named("_ADR", _number(PORT)), *halves])
    hub = _device("RHUB", [_named("_ADR", _number(0)), place])
    return SCOPE + _sized(_path(controller) + hub)


def _chip(port: str, line: int, address: int, compatible: str) -> list[bytes]:
    pairs = _package([_package([_text("compatible"), _text(compatible)])])
    resources = _i2c(f"{port}.I2C0", address) + _interrupt(f"{port}.GPIO", line) + END
    return [
        _named("_HID", _text(BY_COMPATIBLE)),
        _named("_UID", _number(line)),
        _named("_DSD", _package([_buffer(PROPERTIES.bytes_le), pairs])),
        _named("_CRS", _buffer(resources)),
    ]


def _i2c(bus: str, address: int) -> bytes:
    own = struct.pack("<IH", BUS_HZ, address)
    body = struct.pack("<BBBBHBH", 1, 0, 1, CONSUMER << 1, 0, 1, len(own)) + own
    return _large(BUS_CONNECTION, body + bus.encode() + b"\0")


def _interrupt(controller: str, line: int) -> bytes:
    pins_at, name_at = 23, 25
    name = controller.encode() + b"\0"
    head = struct.pack("<BBHHBHH", 1, 0, CONSUMER, RISING_EDGE, 0, 0, 0)
    places = struct.pack("<HBHHH", pins_at, 0, name_at, name_at + len(name), 0)
    return _large(GPIO_CONNECTION, head + places + struct.pack("<H", line) + name)


def _large(kind: int, body: bytes) -> bytes:
    return struct.pack("<BH", kind, len(body)) + body


def _device(name: str, parts: Iterable[bytes]) -> bytes:
    return DEVICE + _sized(_path(name) + b"".join(parts))


def _named(name: str, value: bytes) -> bytes:
    return NAME + _path(name) + value


def _package(parts: Sequence[bytes]) -> bytes:
    return PACKAGE + _sized(bytes((len(parts),)) + b"".join(parts))


def _buffer(data: bytes) -> bytes:
    return BUFFER + _sized(_number(len(data)) + data)


def _number(value: int) -> bytes:
    return WORD + struct.pack("<H", value)


def _text(text: str) -> bytes:
    return STRING + text.encode() + b"\0"


def _path(path: str) -> bytes:
    names = [one.ljust(4, "_").encode() for one in path.removeprefix("\\").split(".")]
    root = b"\\" if path.startswith("\\") else b""
    many = MANY_NAMES + bytes((len(names),)) if len(names) > 1 else b""
    return root + many + b"".join(names)


def _sized(body: bytes) -> bytes:
    """Put its length before it; the length counts itself."""
    for more in range(4):
        size = len(body) + more + 1
        if not more and size < 1 << 6:
            return bytes((size,)) + body
        if more and size < 1 << (4 + 8 * more):
            return bytes((more << 6 | size & 15,)) + (size >> 4).to_bytes(more, "little") + body
    raise ValueError(f"{len(body)} bytes are too many")
