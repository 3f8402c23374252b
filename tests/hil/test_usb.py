"""The bench's USB devices, without a machine to plug them into."""

from __future__ import annotations

import struct
import threading
from typing import TYPE_CHECKING

import pytest

from hil.usb.device import CLASS, CONFIGURATION, DEVICE, GET_DESCRIPTOR, IN, VENDOR, Pipe, Setup
from hil.usb.ftdi import (
    BUFFER_BYTES,
    CARRIER,
    GET_MODEM_STATUS,
    OVERRUN,
    READY,
    SET_BAUD,
    SPEAKS,
    Ftdi,
)
from hil.usb.i2c_tiny import GET_STATUS, TRANSFER, I2cTinyUsb
from hil.usb.ljca import (
    ACKNOWLEDGE,
    BUSES,
    COMPLETED,
    CONFIGURE,
    EVENT,
    FALLING,
    GPIO,
    GPIO_READ,
    I2C,
    INTERRUPT,
    MANAGEMENT,
    MASK,
    PINS,
    READ,
    RISING,
    START,
    UNMASK,
    WRITE,
    Ljca,
)
from hil.usb.uvc import (
    BROKEN,
    COMMIT,
    DAMAGED,
    DROPPED,
    END,
    FRAME_ID,
    GET_CURRENT,
    HEAD_BYTES,
    LOST,
    PAYLOAD_BYTES,
    PROBE,
    SENT,
    SET_CURRENT,
    STREAM,
    Uvc,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hil.usb.device import UsbDevice

PATIENCE_S = 10.0
#: What ftdi_sio sends for a speed (FTDI's application note AN232B-05).
DIVISORS = {9600: 0x4138, 38_400: 0xC04E, 115_200: 0x001A, 230_400: 0x000D, 460_800: 0x4006}


class Register:
    """A chip with one register that remembers what was written."""

    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written = data

    def read(self, size_bytes: int) -> bytes:
        return bytes(range(size_bytes))

    interrupts = 0

    def tick(self) -> None:
        """Nothing happens by time."""


class Host:
    """Waits for data of one endpoint, as a kernel does."""

    def __init__(self, device: UsbDevice, endpoint: int, most_bytes: int) -> None:
        self._device, self._endpoint, self._most_bytes = device, endpoint, most_bytes
        self.got: list[bytes] = []
        self._came = threading.Condition()
        self._is_there = True
        self._wait()

    def leave(self) -> None:
        """Fetch nothing more."""
        with self._device.lock:
            self._is_there = False
            self._device.pipes.clear()

    def _wait(self) -> None:
        with self._device.lock:
            if self._is_there:
                pipe = self._device.pipes.setdefault(self._endpoint, Pipe())
                pipe.waiting.append((self._most_bytes, self._take))

    def _take(self, data: bytes) -> None:
        with self._came:
            self.got.append(data)
            self._came.notify_all()
        self._wait()

    def until(self, holds: str, count: int) -> list[bytes]:
        with self._came:
            assert self._came.wait_for(lambda: len(self.got) >= count, PATIENCE_S), holds
            return list(self.got)


def parts(configuration: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(configuration):
        assert configuration[at], "a descriptor without a length"
        yield configuration[at : at + configuration[at]]
        at += configuration[at]
    assert at == len(configuration)


def picture(width: int, height: int, number: int) -> bytes:
    return b"%d x %d, %d " % (width, height, number) + bytes(2 * PAYLOAD_BYTES)


@pytest.fixture(
    params=[lambda: Ftdi(9600), lambda: I2cTinyUsb({}), lambda: Ljca({}), lambda: Uvc(picture)]
)
def device(request: pytest.FixtureRequest) -> UsbDevice:
    found: UsbDevice = request.param()
    return found


def test_every_descriptor_is_as_long_as_it_says(device: UsbDevice) -> None:
    whole = device.configuration()
    first, *rest = parts(whole)
    assert (first[1], struct.unpack_from("<H", first, 2)[0]) == (CONFIGURATION, len(whole))
    assert sum(one[1] == 4 for one in rest) == first[4]
    answer = device.control(Setup(IN, GET_DESCRIPTOR, DEVICE << 8, 0, 18))
    assert answer is not None
    assert len(answer) == answer[0] == 18


def test_the_camera_s_headers_count_what_follows_them() -> None:
    inner = [one for one in parts(Uvc(picture).configuration()) if one[1] == 0x24]
    control, stream = (n for n, one in enumerate(inner) if one[2] == 1)
    for begin, end, at in ((control, stream, 5), (stream, len(inner), 4)):
        told = struct.unpack_from("<H", inner[begin], at)[0]
        assert told == sum(len(one) for one in inner[begin:end])


@pytest.mark.parametrize("baud", DIVISORS)
def test_the_speed_that_the_kernel_asks_for_is_understood(baud: int) -> None:
    adapter = Ftdi(baud)
    adapter.control(Setup(VENDOR, SET_BAUD, DIVISORS[baud], 0, 0))
    assert adapter.host_baud is not None
    assert abs(adapter.host_baud - baud) / baud < 0.002


@pytest.mark.parametrize(("baud", "is_heard"), [(38_400, True), (9600, False)])
def test_what_comes_at_another_speed_is_noise(baud: int, is_heard: bool) -> None:
    adapter = Ftdi(38_400)
    adapter.plugged()
    try:
        adapter.control(Setup(VENDOR, SET_BAUD, DIVISORS[baud], 0, 0))
        host = Host(adapter, SPEAKS, 512)
        adapter.feed(b"$GNRMC,heard")
        data = b""
        for count in range(1, 100):
            data = b"".join(one[2:] for one in host.until("an answer", count))
            if data:
                break
        assert len(data) == 12
        assert (data == b"$GNRMC,heard") is is_heard
    finally:
        adapter.unplugged()


def test_bytes_that_nobody_fetches_overrun_with_the_chip_s_own_flag() -> None:
    adapter = Ftdi(9600)
    adapter.feed(bytes(BUFFER_BYTES + 1))
    assert adapter.overrun_bytes == 0  # without power it hears nothing
    adapter.plugged()
    try:
        adapter.feed(bytes(BUFFER_BYTES))
        assert adapter.overrun_bytes == 0
        adapter.feed(b"123")
        assert adapter.overrun_bytes == 3
        (packet, *_) = Host(adapter, SPEAKS, 512).until("the buffer", 1)
        assert packet[1] == READY | OVERRUN
    finally:
        adapter.unplugged()


def test_a_pulse_at_the_carrier_detect_is_told_at_once_and_as_long_as_it_lasts() -> None:
    adapter = Ftdi(9600)
    host = Host(adapter, SPEAKS, 512)
    for is_on in (True, False, True):
        adapter.carry(is_on)  # nothing is told at its usual times: it is not plugged in
    assert [bool(packet[0] & CARRIER) for packet in host.got] == [True, False, True]
    status = adapter.control(Setup(VENDOR | IN, GET_MODEM_STATUS, 0, 0, 2))
    assert status is not None
    assert status[0] & CARRIER


def test_the_adapter_reads_writes_and_tells_who_does_not_answer() -> None:
    chip = Register()
    adapter = I2cTinyUsb({0x68: chip})

    def transfer(address: int, kind: int, length: int, data: bytes = b"") -> bytes | None:
        answer = adapter.control(Setup(kind, TRANSFER, 0, address, length, data))
        status = adapter.control(Setup(VENDOR | IN, GET_STATUS, 0, 0, 1))
        return answer if status == b"\x01" else None

    assert transfer(0x68, VENDOR, 2, b"\x6b\x80") == b""
    assert chip.written == b"\x6b\x80"
    assert transfer(0x68, VENDOR | IN, 3) == b"\x00\x01\x02"
    assert transfer(0x69, VENDOR | IN, 3) is None
    adapter.refuse(1)
    assert transfer(0x68, VENDOR | IN, 3) is None
    assert transfer(0x68, VENDOR | IN, 3) is not None


class Talk:
    """The host's end of the adapter with lines: one command at a time, as usb-ljca speaks."""

    def __init__(self, adapter: Ljca) -> None:
        self._adapter = adapter
        self._host = Host(adapter, SPEAKS, 64)
        self._asked = 0

    def ask(self, kind: int, command: int, body: bytes = b"") -> bytes:
        head = bytes((kind, command, ACKNOWLEDGE | COMPLETED, len(body)))
        self._adapter.received(2, head + body)
        self._asked += 1
        answer = self._told(ACKNOWLEDGE, self._asked)[-1]
        assert answer[:3] == head[:3]
        assert len(answer) == 4 + answer[3]
        return answer[4:]

    def _told(self, flag: int, count: int) -> list[bytes]:
        while True:
            got = list(self._host.got)
            found = [one for one in got if one[2] & ACKNOWLEDGE == flag]
            if len(found) >= count:
                return found
            self._host.until("what it is to tell", len(got) + 1)

    def watch(self, pin: int, edge: int) -> None:
        self.ask(GPIO, CONFIGURE, bytes((1, pin, INTERRUPT | edge)))
        self.ask(GPIO, UNMASK, bytes((1, pin, 0)))

    def events(self, count: int) -> list[int]:
        """Wait until so many came, and return their pins."""
        told = self._told(0, count)
        assert {one[:2] for one in told} == {bytes((GPIO, EVENT))}
        return [one[5] for one in told]


@pytest.fixture
def adapter() -> Iterator[Ljca]:
    found = Ljca({0x68: Register()}, pins=2)  # type: ignore[dict-item] # as much as is asked of it
    found.plugged()
    yield found
    found.unplugged()


def test_the_adapter_with_lines_offers_the_lines_and_the_bus_that_it_has(adapter: Ljca) -> None:
    talk = Talk(adapter)
    *_, lines = struct.unpack("<BBBBI", talk.ask(MANAGEMENT, PINS))
    assert lines == 0b111
    assert talk.ask(MANAGEMENT, BUSES)[0] == 1
    assert Talk(Ljca({}, pins=2)).ask(MANAGEMENT, BUSES) == b"\0"


def test_the_adapter_with_lines_reads_writes_and_tells_who_does_not_answer(adapter: Ljca) -> None:
    talk = Talk(adapter)
    assert talk.ask(I2C, START, struct.pack("<BHB", 0, 1, 0x68 << 1)) == b"\0\1\0"
    assert talk.ask(I2C, WRITE, struct.pack("<BH2s", 0, 2, b"\x6b\x80")) == b"\0\2\0"
    assert talk.ask(I2C, READ, struct.pack("<BHB", 0, 3, 0)) == b"\0\3\0" + bytes((0, 1, 2))
    (told,) = struct.unpack_from("<xh", talk.ask(I2C, START, struct.pack("<BHB", 0, 1, 0x69 << 1)))
    assert told < 0


@pytest.mark.parametrize(("edge", "counts"), [(RISING, 1), (FALLING, 1), (0, 2)])
def test_a_pulse_on_a_pin_is_told_by_the_edges_that_were_asked_for(
    adapter: Ljca, edge: int, counts: int
) -> None:
    talk = Talk(adapter)
    talk.watch(1, edge)
    with adapter.lock:
        adapter.pins[0].is_high = True
    if counts == 2:
        talk.events(1)
    assert talk.ask(GPIO, GPIO_READ, bytes((1, 1, 0))) == b"\1\1\1"
    with adapter.lock:
        adapter.pins[0].is_high = False
    assert talk.events(counts) == [1] * counts
    assert talk.ask(GPIO, GPIO_READ, bytes((1, 1, 0))) == b"\1\1\0"


def test_an_edge_of_a_masked_line_is_told_when_it_is_unmasked(adapter: Ljca) -> None:
    talk = Talk(adapter)
    talk.watch(2, FALLING)
    talk.ask(GPIO, MASK, bytes((1, 2, 0)))
    for level in (True, False):
        with adapter.lock:
            adapter.pins[1].is_high = level
    talk.watch(1, RISING)
    with adapter.lock:
        adapter.pins[0].is_high = True
    assert talk.events(1) == [1]
    talk.ask(GPIO, UNMASK, bytes((1, 2, 0)))
    assert talk.events(2) == [1, 2]


def streaming(camera: Uvc, size: int = 1, rate_hz: int = 30) -> Host:
    wish = struct.pack("<HBBI", 1, 1, size, 10_000_000 // rate_hz) + bytes(18)
    for selector in (PROBE, COMMIT):
        set_it = Setup(CLASS | 1, SET_CURRENT, selector << 8, STREAM, len(wish), wish)
        assert camera.control(set_it) == b""
    return Host(camera, STREAM, PAYLOAD_BYTES)


def frames(payloads: list[bytes]) -> list[tuple[int, bytes]]:
    """Put frames together as the kernel does: by the bit that turns over."""
    found: list[tuple[int, bytes]] = []
    last = None
    for one in payloads:
        if one[1] & FRAME_ID != last:
            found.append((0, b""))
            last = one[1] & FRAME_ID
        marks, data = found[-1]
        found[-1] = marks | one[1], data + one[HEAD_BYTES:]
    return [one for one in found if one[0] & END]


def test_a_camera_gives_the_size_and_rate_that_it_was_asked_for() -> None:
    camera = Uvc(picture)
    host = streaming(camera, size=2, rate_hz=15)
    got = camera.control(Setup(CLASS | IN | 1, GET_CURRENT, PROBE << 8, STREAM, 26))
    assert got is not None
    assert struct.unpack_from("<HBBI", got) == (1, 1, 2, 666_666)
    first, second = frames(host.until("pictures", 8))[:2]
    camera.unplugged()
    assert first[1] == picture(640, 480, 0)
    assert second[1] == picture(640, 480, 1)


def test_a_camera_writes_down_what_became_of_every_picture() -> None:
    camera = Uvc(picture)
    camera.spoil(DAMAGED, 0.3)
    camera.spoil(LOST, 0.3)
    host = streaming(camera)
    came = frames(host.until("pictures", 60))
    camera.unplugged()
    fates = [_fate(*one) for one in came]
    # A busy machine may make it drop some before they are sent.
    noted = [one.fate for one in camera.frames if one.fate != DROPPED]
    assert fates == noted[: len(fates)]
    assert set(fates) == {SENT, DAMAGED, LOST}


def _fate(marks: int, data: bytes) -> str:
    if not data:
        return LOST
    return DAMAGED if marks & BROKEN else SENT


def test_a_camera_whose_host_does_not_fetch_drops_pictures() -> None:
    camera = Uvc(picture)
    host = streaming(camera)
    host.until("a picture", 3)
    host.leave()
    waited = threading.Event()
    for _ in range(100):
        if camera.count(DROPPED) >= 2:
            break
        waited.wait(PATIENCE_S / 100)
    camera.unplugged()
    assert camera.count(DROPPED) >= 2
