"""Plugs a device into a virtual machine: the usbredir protocol over a UNIX socket.

Connecting is plugging in, closing is pulling the plug. QEMU's side is ``-device usb-redir`` on an
xHCI controller, which asks for 64-bit ids and the endpoints' packet sizes. Every packet is a header
(type, length, id) and a body, little-endian. Source: usbredir protocol version 0.7.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING

from hil.usb.device import ENDPOINT, IN, INTERFACE, Pipe, Setup, UsbDevice

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HELLO, CONNECT, INTERFACES, ENDPOINTS = 0, 1, 4, 5
SET_CONFIGURATION, GET_CONFIGURATION, CONFIGURATION_STATUS = 6, 7, 8
SET_ALTERNATE, GET_ALTERNATE, ALTERNATE_STATUS = 9, 10, 11
ALLOC_STREAMS, FREE_STREAMS, STREAMS_STATUS, CANCEL = 15, 16, 17, 21
CONTROL, BULK = 100, 101
DONE, CANCELLED, STALL = 0, 1, 4
#: Device versions, endpoint packet sizes, 64-bit ids, 32-bit bulk lengths.
CAPABILITIES = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 6
ENDPOINT_COUNT, MOST_INTERFACES = 32, 32
PATIENCE_S = 10.0
_CONTROL = struct.Struct("<BBBBHHH")
_BULK = struct.Struct("<BBHIH")


class Plug:
    """A device's plug. What happens to the machine's end is the machine's business.

    Args:
        device: what is plugged in.
        socket_path: the machine's socket for it.
    """

    def __init__(self, device: UsbDevice, socket_path: Path) -> None:
        self._device = device
        self._path = socket_path
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None

    def insert(self) -> None:
        """Plug it in; the machine sees it a moment later."""
        if self._socket is not None:
            return
        one = socket.socket(socket.AF_UNIX)
        deadline_s = time.monotonic() + PATIENCE_S
        while one.connect_ex(str(self._path)):
            if time.monotonic() > deadline_s:
                one.close()
                raise TimeoutError(f"{self._path}: no machine listens")
            time.sleep(0.05)
        self._socket = one
        self._device.pipes.clear()
        self._device.plugged()
        hello = b"recorder bench".ljust(64, b"\0") + struct.pack("<I", CAPABILITIES)
        one.sendall(struct.pack("<III", HELLO, len(hello), 0) + hello)
        self._thread = threading.Thread(target=self._serve, args=(one,), daemon=True)
        self._thread.start()

    def pull(self) -> None:
        """Pull the plug; may be called twice."""
        one, self._socket = self._socket, None
        if one is not None:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        if self._thread is not None:
            self._thread.join(PATIENCE_S)
            self._thread = None
        with self._device.lock:
            self._device.pipes.clear()
        self._device.unplugged()

    def _serve(self, one: socket.socket) -> None:
        header = struct.Struct("<III")
        with contextlib.suppress(OSError, EOFError):
            while True:
                kind, size, number = header.unpack(_receive(one, header.size))
                body = _receive(one, size)
                header = struct.Struct("<IIQ")  # both sides can have long ids from now on
                with self._device.lock:
                    self._take(kind, number, body)

    def _take(self, kind: int, number: int, body: bytes) -> None:
        if kind == HELLO:
            self._announce()
        elif kind == CONTROL:
            self._control(number, body)
        elif kind == BULK:
            self._bulk(number, body)
        elif kind == CANCEL:
            self._cancel(number)
        elif kind in (SET_CONFIGURATION, GET_CONFIGURATION):
            self._send(CONFIGURATION_STATUS, number, bytes((DONE, body[0] if body else 1)))
        elif kind in (SET_ALTERNATE, GET_ALTERNATE):
            self._send(ALTERNATE_STATUS, number, bytes((DONE, body[0], (*body, 0)[1])))
        elif kind in (ALLOC_STREAMS, FREE_STREAMS):
            self._send(STREAMS_STATUS, number, bytes((DONE, body[0])))

    def _announce(self) -> None:
        device = self._device
        parts = list(_descriptors(device.configuration()))
        faces = [one for one in parts if one[1] == INTERFACE and one[3] == 0]
        columns = [bytes(one[at] for one in faces) for at in (2, 5, 6, 7)]
        padded = b"".join(column.ljust(MOST_INTERFACES, b"\0") for column in columns)
        self._send(INTERFACES, 0, struct.pack("<I", len(faces)) + padded)
        kinds, faces_of, packets = bytearray(b"\xff" * 32), bytearray(32), [0] * 32
        kinds[0] = kinds[16] = 0
        packets[0] = packets[16] = 64
        face = 0
        for one in parts:
            if one[1] == INTERFACE:
                face = one[2]
            elif one[1] == ENDPOINT:
                at = (one[2] & IN) >> 3 | one[2] & 0x0F
                kinds[at], faces_of[at] = one[3] & 3, face
                packets[at] = one[4] | one[5] << 8
        body = bytes(kinds) + bytes(ENDPOINT_COUNT) + bytes(faces_of)
        self._send(ENDPOINTS, 0, body + struct.pack("<32H", *packets))
        speed = device.speed
        who = (*device.device_class, device.vendor_id, device.product_id, device.release)
        self._send(CONNECT, 0, struct.pack("<BBBBHHH", speed, *who))

    def _control(self, number: int, body: bytes) -> None:
        endpoint, request, kind, _, value, index, length = _CONTROL.unpack_from(body)
        setup = Setup(kind, request, value, index, length, body[_CONTROL.size :])
        answer = self._device.control(setup)
        status = STALL if answer is None else DONE
        data = (answer or b"")[:length] if setup.is_in else b""
        size = len(data) if setup.is_in else length if answer is not None else 0
        head = _CONTROL.pack(endpoint, request, kind, status, value, index, size)
        self._send(CONTROL, number, head + data)

    def _bulk(self, number: int, body: bytes) -> None:
        endpoint, _, low, stream, high = _BULK.unpack_from(body)
        if not endpoint & IN:
            self._device.received(endpoint, body[_BULK.size :])
            self._send(BULK, number, _BULK.pack(endpoint, DONE, low, stream, high))
            return

        def give(data: bytes, status: int = DONE) -> None:
            size = len(data)
            head = _BULK.pack(endpoint, status, size & 0xFFFF, stream, size >> 16)
            self._send(BULK, number, head + data)

        give.number = number  # type: ignore[attr-defined] # by it a cancelled one is found
        pipe = self._device.pipes.setdefault(endpoint & 0x0F, Pipe())
        pipe.waiting.append((low | high << 16, give))
        self._device.wanted(endpoint & 0x0F)

    def _cancel(self, number: int) -> None:
        for pipe in self._device.pipes.values():
            for one in list(pipe.waiting):
                if getattr(one[1], "number", None) == number:
                    pipe.waiting.remove(one)
                    one[1](b"", CANCELLED)  # type: ignore[call-arg] # ours takes a status too

    def _send(self, kind: int, number: int, body: bytes) -> None:
        one = self._socket
        if one is not None:
            with contextlib.suppress(OSError):  # pulled meanwhile
                one.sendall(struct.pack("<IIQ", kind, len(body), number) + body)


def _descriptors(configuration: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(configuration):
        yield configuration[at : at + configuration[at]]
        at += configuration[at]


def _receive(one: socket.socket, size: int) -> bytes:
    received = bytearray()
    while len(received) < size:
        more = one.recv(size - len(received))
        if not more:
            raise EOFError
        received += more
    return bytes(received)
