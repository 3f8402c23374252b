"""Plays a device model on this machine's USB device port: a computer on its cable sees the device.

The models and their descriptors are those of level 1 (`hil.usb`). It goes through gadgetfs, which
Debian and Pi OS build and which hands every control request out; FunctionFS keeps those to itself
that name an interface which does not exist, and an I2C adapter puts the chip's address there. A
machine has one such port and gadgetfs plays one device on it. Root only.

Source: Linux, drivers/usb/gadget/legacy/inode.c, include/uapi/linux/usb/gadgetfs.h.
"""

from __future__ import annotations

import contextlib
import os
import queue
import select
import struct
import subprocess
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hil.usb.device import DEVICE, ENDPOINT, GET_DESCRIPTOR, HIGH_SPEED, IN, Pipe, Setup

if TYPE_CHECKING:
    from hil.usb.device import UsbDevice

FOLDER = Path("/dev/gadget")
CONNECTED, DISCONNECTED, ASKED = 1, 2, 3
SET_CONFIGURATION = 9
_EVENT, _SETUP = struct.Struct("<8sI"), struct.Struct("<BBHHH")
#: gadgetfs refuses a configuration that can wake its host.
WAKES, ATTRIBUTES_AT = 0x20, 7
#: The most that a model gives or takes in one transfer.
TRANSFER_BYTES = 16_384
POLL_MS, PATIENCE_S = 50, 10.0


class Gadget:
    """A device on this machine's port; what a `hil.usb.redir.Plug` is on a virtual machine's.

    Args:
        device: what is plugged in.
        folder: where gadgetfs is mounted, or is to be.
    """

    def __init__(self, device: UsbDevice, folder: Path = FOLDER) -> None:
        self._device = device
        self._folder = folder
        self._control = -1
        self._ends: list[_End] = []
        self._out = threading.Event()
        self._thread: threading.Thread | None = None

    def insert(self) -> None:
        """Plug it in: the computer at the other end of the cable sees it a moment later."""
        if self._thread is not None:
            return
        self._out.clear()
        self._control = os.open(controller(self._folder), os.O_RDWR)
        os.write(self._control, descriptors(self._device))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def pull(self) -> None:
        """Pull it; may be called twice."""
        self._out.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _serve(self) -> None:
        # gadgetfs acknowledges what a host writes before anybody has read it, and forgets it when
        # the host goes on: whoever is late loses it.
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        while not self._out.is_set():
            if not poll.poll(POLL_MS):
                continue
            try:
                self._take(*_EVENT.unpack(os.read(self._control, _EVENT.size)))
            except OSError:  # the host went on meanwhile: refuse what it asks, and listen again
                with contextlib.suppress(OSError):
                    os.read(self._control, 0)
        os.close(self._control)  # the device is gone, and every transfer with it
        self._leave()

    def _take(self, what: bytes, kind: int) -> None:
        if kind == CONNECTED:
            self._leave()
            self._device.plugged()
        elif kind == DISCONNECTED:
            self._leave()
        elif kind == ASKED:
            self._answer(Setup(*_SETUP.unpack(what)))

    def _leave(self) -> None:
        for end in self._ends:
            end.close()
        self._ends = []
        with self._device.lock:
            self._device.pipes.clear()
        self._device.unplugged()

    def _answer(self, setup: Setup) -> None:
        if (setup.kind, setup.request) == (0, SET_CONFIGURATION):
            self._ends = self._ends or _opened(self._device, self._folder)
        if not setup.is_in and setup.length:
            data = os.read(self._control, setup.length)  # which acknowledges it
            with self._device.lock:
                self._device.control(replace(setup, data=data))
            return
        with self._device.lock:
            answer = self._device.control(setup)
        # An empty transfer against the direction refuses, one along it acknowledges.
        if (answer is None) == setup.is_in:
            os.read(self._control, 0)
        else:
            os.write(self._control, (answer or b"")[: setup.length])


class _End:
    """One bulk endpoint: a thread that moves its transfers."""

    def __init__(self, device: UsbDevice, descriptor: bytes, folder: Path) -> None:
        self._device, self._number = device, descriptor[2] & 0x0F
        self._is_in = bool(descriptor[2] & IN)
        self._packet_bytes = struct.unpack_from("<H", descriptor, 4)[0]
        name = f"ep{self._number}{'in' if self._is_in else 'out'}"
        self._file = os.open(next(folder.glob(f"{name}*")), os.O_RDWR)
        # For both speeds the same: a device has one.
        os.write(self._file, struct.pack("=I", 1) + descriptor * (1 + _is_fast(device)))
        self._given: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._move, daemon=True)
        self._thread.start()

    def _move(self) -> None:
        with contextlib.suppress(OSError):  # the host is gone
            while True:
                if self._is_in:
                    self._give()
                else:
                    data = os.read(self._file, self._packet_bytes)
                    with self._device.lock:
                        self._device.received(self._number, data)

    def _give(self) -> None:
        with self._device.lock:
            pipe = self._device.pipes.setdefault(self._number, Pipe())
            pipe.waiting.append((TRANSFER_BYTES, self._given.put))
            self._device.wanted(self._number)
        data = self._given.get()
        if data is None:
            raise OSError("closed")
        os.write(self._file, data)
        # Without an empty packet the host would not know that the transfer is over.
        if data and len(data) % self._packet_bytes == 0 and len(data) < TRANSFER_BYTES:
            os.write(self._file, b"")

    def close(self) -> None:
        """End it; its controller has dropped every transfer."""
        self._given.put(None)
        self._thread.join(PATIENCE_S)
        os.close(self._file)


def controller(folder: Path = FOLDER) -> Path:
    """Return gadgetfs's file for this machine's port; it is mounted if it is not.

    Raises:
        OSError: there is no such port: a Pi needs ``dtoverlay=dwc2,dr_mode=peripheral``.
    """
    if not folder.is_mount():
        folder.mkdir(exist_ok=True)
        mount = f"modprobe gadgetfs && mount -t gadgetfs gadgetfs {folder}"
        subprocess.run(["sh", "-c", mount], stderr=subprocess.DEVNULL, check=False)
    found = [one for one in folder.glob("*") if not one.name.startswith("ep")]
    if not found:
        raise OSError(f"{folder}: this machine has no USB device port, or gadgetfs is in use")
    return found[0]


def descriptors(device: UsbDevice) -> bytes:
    """Return what gadgetfs wants to know of a device: its configurations, and itself."""
    plain = bytearray(device.configuration())
    plain[ATTRIBUTES_AT] &= ~WAKES
    itself = device.control(Setup(IN, GET_DESCRIPTOR, DEVICE << 8, 0, 18)) or b""
    return bytes(4) + bytes(plain) * (1 + _is_fast(device)) + itself


def _opened(device: UsbDevice, folder: Path) -> list[_End]:
    found, at, plain = [], 0, device.configuration()
    while at < len(plain):
        one = plain[at : at + plain[at]]
        if one[1] == ENDPOINT:
            found.append(_End(device, one, folder))
        at += plain[at]
    return found


def _is_fast(device: UsbDevice) -> bool:
    return device.speed == HIGH_SPEED
