"""A USB adapter with an I2C bus and interrupt lines (Intel's La Jolla Cove).

The kernel makes it a real ``/dev/i2c-N`` and a GPIO controller whose lines interrupt: the one
adapter in Debian's kernel through which a chip behind USB can have an interrupt of its own, and
without one the kernel's IMU drivers do not touch their FIFO. Which chips are there the machine
must know from its ACPI tables (`hil.kernel.acpi`).

A chip is a register model of `drivers.sim`; its line rises when its count `interrupts` does. Behind
the chips' lines come pins, which the bench sets (`Ljca.pins`). An edge is told within `POLL_S`,
several in that time as one, and one of a masked line when that is unmasked.

What it does not simulate: interrupts by level, outputs, the adapter's SPI, the bus's own time, and
that a line might be masked by having been told of. The driver does unmask it each time, but where
that one command is late it never does again.

The driver puts the adapter to sleep 10 ms after each command and asks for no wake-up by it: edges
of that time are told with the next command, unless it is kept awake (``power/control``).

The driver gives a transfer 0.2 s and its answer not much more, and does not try again; of an answer
that comes later it says "cmd ack mismatch error". On a busy host an emulated machine gets there.
Source: the protocol as the Linux drivers usb-ljca, i2c-ljca and gpio-ljca speak it.
"""

from __future__ import annotations

import struct
import threading
from collections import deque
from typing import TYPE_CHECKING

from hil.usb.device import Setup, UsbDevice, bulk, interface, whole

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from drivers.sim.imu_chip import ImuChip

SPEAKS, HEARD, PACKET_BYTES = 1, 2, 64
MANAGEMENT, GPIO, I2C = 1, 3, 4
RESET, PINS, BUSES, SPI_BUSES = 2, 4, 5, 8  # commands of the management
CONFIGURE, GPIO_READ, EVENT, MASK, UNMASK = 1, 2, 4, 5, 6
#: Of a line's configuration: a direction, to interrupt, and by which edge (neither: by both).
DIRECTION, INTERRUPT, RISING, FALLING = 0x06, 0x40, 0x08, 0x10
START, STOP, READ, WRITE = 3, 4, 5, 6
ACKNOWLEDGE, COMPLETED = 1, 4
REFUSED = 0xFFFF
LINES = 32
POLL_S = 0.02
_MESSAGE = struct.Struct("<BBBB")
_TRANSFER = struct.Struct("<BH")


class Pin:
    """An input of the adapter; it counts its edges."""

    def __init__(self) -> None:
        self._edges = {RISING: 0, FALLING: 0}
        self._is_high = False

    @property
    def is_high(self) -> bool:
        """What is on it; setting it to another level is an edge."""
        return self._is_high

    @is_high.setter
    def is_high(self, is_high: bool) -> None:
        if is_high is not self._is_high:
            self._is_high = is_high
            self._edges[RISING if is_high else FALLING] += 1

    def edges(self, kinds: int) -> int:
        """Return how many edges of some kinds there were so far."""
        return sum(count for kind, count in self._edges.items() if kind & kinds)


class _ChipLine:
    """The interrupt line of a chip: short pulses, so it is low whenever somebody looks."""

    is_high = False

    def __init__(self, chip: ImuChip) -> None:
        self._chip = chip

    def edges(self, _: int) -> int:
        self._chip.tick()
        return self._chip.interrupts


class Ljca(UsbDevice):
    """The adapter. Without chips it has no bus.

    Args:
        chips: by 7-bit address; the first one's interrupt line is line 0, and so on.
        pins: how many pins come behind these lines.

    Attributes:
        pins: the pins.
    """

    vendor_id, product_id = 0x8086, 0x0B63
    device_class = (255, 0, 0)

    def __init__(self, chips: Mapping[int, ImuChip], pins: int = 0) -> None:
        super().__init__()
        self.strings = ("bench", "La Jolla Cove", "bench-kernel")
        self._chips = chips
        self.pins = tuple(Pin() for _ in range(pins))
        self._lines: tuple[_ChipLine | Pin, ...]
        self._lines = (*map(_ChipLine, chips.values()), *self.pins)
        self._queue: deque[bytes] = deque()
        self._address = 0
        self._open: set[int] = set()  # lines that may interrupt now
        self._kinds = [RISING] * len(self._lines)  # by which edges each interrupts
        self._told = [0] * len(self._lines)  # edges of each that the host knows of
        self._is_there = threading.Event()
        self._thread: threading.Thread | None = None

    def configuration(self) -> bytes:
        """Return the configuration descriptor: one interface with two bulk endpoints."""
        ends = bulk(0x80 | SPEAKS, PACKET_BYTES) + bulk(HEARD, PACKET_BYTES)
        return whole(1, interface(0, 2, (255, 0, 0), 2) + ends)

    def requested(self, setup: Setup) -> bytes | None:
        """Refuse every request of a class or vendor."""
        return None

    def plugged(self) -> None:
        """Begin to watch the chips' lines."""
        self._queue.clear()
        self._open.clear()
        self._is_there.set()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def unplugged(self) -> None:
        """Watch nothing any more."""
        self._is_there.clear()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def wanted(self, endpoint: int) -> None:
        """Give the host what waits for it."""
        self._flush()

    def received(self, endpoint: int, data: bytes) -> None:
        """Do what the host asks for."""
        kind, command, flags, size = _MESSAGE.unpack_from(data)
        body = data[_MESSAGE.size : _MESSAGE.size + size]
        acts: dict[int, Callable[[int, bytes], bytes]] = {
            MANAGEMENT: self._manage,
            GPIO: self._line,
            I2C: self._transfer,
        }
        answer = acts[kind](command, body)
        if flags & ACKNOWLEDGE:
            self._say(kind, command, ACKNOWLEDGE | COMPLETED, answer)

    def _say(self, kind: int, command: int, flags: int, body: bytes) -> None:
        self._queue.append(_MESSAGE.pack(kind, command, flags, len(body)) + body)
        self._flush()

    def _flush(self) -> None:
        while self._queue and self.send(SPEAKS, self._queue[0]):
            self._queue.popleft()

    def _manage(self, command: int, body: bytes) -> bytes:
        answers = {
            RESET: body,
            PINS: struct.pack("<BBBBI", LINES, 1, 0, LINES, (1 << len(self._lines)) - 1),
            BUSES: bytes((1, 0, 1, 0)) if self._chips else bytes((0,)),
            SPI_BUSES: bytes((0,)),
        }
        return answers.get(command, b"")

    def _line(self, command: int, body: bytes) -> bytes:
        number = body[1]
        if command == GPIO_READ:
            return bytes((1, number, self._lines[number].is_high))
        if command == CONFIGURE:
            self._configure(number, body[2])
        elif command == UNMASK:
            self._open.add(number)
        elif command == MASK:
            self._open.discard(number)
        return body

    def _configure(self, number: int, value: int) -> None:
        """Heed by which edges a line is to interrupt from now on; those of before are past."""
        if value & (DIRECTION | INTERRUPT) == INTERRUPT:
            self._kinds[number] = value & (RISING | FALLING) or RISING | FALLING
            self._told[number] = self._lines[number].edges(self._kinds[number])

    def _transfer(self, command: int, body: bytes) -> bytes:
        bus, size = _TRANSFER.unpack_from(body)
        data = body[_TRANSFER.size :]
        if command == START:
            self._address = data[0] >> 1
            is_there = self._address in self._chips
            return _TRANSFER.pack(bus, 1 if is_there else REFUSED)
        if command == READ:
            return _TRANSFER.pack(bus, size) + self._chips[self._address].read(size)
        if command == WRITE:
            self._chips[self._address].write(data)
        return _TRANSFER.pack(bus, size)

    def _watch(self) -> None:
        pause = threading.Event()
        while self._is_there.is_set():
            pause.wait(POLL_S)
            with self.lock:
                self._interrupt()

    def _interrupt(self) -> None:
        """Tell the host which lines had an edge."""
        for number in sorted(self._open):
            edges = self._lines[number].edges(self._kinds[number])
            if edges != self._told[number]:
                self._told[number] = edges
                self._say(GPIO, EVENT, 0, bytes((1, number, 1)))
