from __future__ import annotations

import errno
import threading
from pathlib import Path

import pytest
from smbus2 import i2c_msg

from drivers.base import DeviceAbsentError, DeviceLostError, WrongDeviceError
from drivers.i2c import Byte, I2cDriver, Word, open_bus
from drivers.sim.bus import BusClient, BusServer

ADDRESS = 0x1E
OPEN_FILES = Path("/proc/self/fd")


class Memory:
    """A chip of 256 plain registers."""

    def __init__(self) -> None:
        self.registers = bytearray(range(256))
        self.pointer = 0

    def write(self, data: bytes) -> None:
        self.pointer = data[0]
        self.registers[self.pointer : self.pointer + len(data) - 1] = data[1:]

    def read(self, size_bytes: int) -> bytes:
        return bytes(self.registers[self.pointer : self.pointer + size_bytes])

    def tick(self) -> None:
        pass


class Thermometer(I2cDriver):
    """Two registers and an identity."""

    kind = "thermometer"
    chip_ids = (0x0F,)

    who_am_i = Byte(0x0F)
    limit = Byte(0x20)
    heat = Word(0x30)


@pytest.fixture
def memory():
    return Memory()


@pytest.fixture
def bus(tmp_path, memory):
    server = BusServer(tmp_path / "i2c", {ADDRESS: memory})
    stop = threading.Event()
    thread = threading.Thread(target=server.run, args=(stop,))
    thread.start()
    yield server
    stop.set()
    thread.join(5)
    assert not thread.is_alive()


@pytest.fixture
def device(tmp_path, bus):
    return f"unix:{tmp_path / 'i2c'}"


@pytest.fixture
def chip(device):
    with Thermometer(device=device, address=ADDRESS) as driver:
        driver.identify()
        yield driver


def test_a_register_is_an_attribute(chip, memory):
    chip.limit = 0x55
    assert memory.registers[0x20] == 0x55
    assert chip.limit == 0x55
    assert chip.heat == 0x3031
    chip.heat = 0xABCD
    assert memory.registers[0x30:0x32] == bytes((0xAB, 0xCD))


def test_a_burst_may_be_longer_than_a_block_of_smbus(chip):
    assert chip.read_register(0, 200) == bytes(range(200))


def test_the_bus_has_the_methods_of_smbus2(tmp_path, bus, memory):
    client = BusClient(str(tmp_path / "i2c"))
    client.write_byte_data(ADDRESS, 0x40, 1)
    client.write_i2c_block_data(ADDRESS, 0x41, [2, 3])
    assert client.read_byte_data(ADDRESS, 0x40) == 1
    assert client.read_i2c_block_data(ADDRESS, 0x40, 4) == [1, 2, 3, 0x43]
    with pytest.raises(ValueError, match="32"):
        client.read_i2c_block_data(ADDRESS, 0, 33)
    with pytest.raises(ValueError, match="32"):
        client.write_i2c_block_data(ADDRESS, 0, [0] * 33)
    client.close()
    client.close()


def test_the_bus_refuses_what_a_raspberry_pi_refuses(tmp_path, bus):
    client = BusClient(str(tmp_path / "i2c"))
    reads = [i2c_msg.read(ADDRESS, 1), i2c_msg.read(ADDRESS, 1)]
    with pytest.raises(OSError, match="not supported") as error:
        client.i2c_rdwr(*reads)
    client.close()
    assert error.value.errno == errno.EOPNOTSUPP


def test_what_is_no_bus_is_absent_and_is_not_kept_open():
    before = len(list(OPEN_FILES.iterdir()))
    with pytest.raises(DeviceAbsentError, match=r"/dev/null: .*ENOTTY.*; a bus is /dev/i2c-N"):
        open_bus("/dev/null")
    assert len(list(OPEN_FILES.iterdir())) == before


@pytest.mark.parametrize("name", ["/dev/i2c-no-such", "unix:/no/such/socket", "4095"])
def test_a_bus_that_is_not_there_is_absent_and_named(name):
    with pytest.raises(DeviceAbsentError, match=f"{name}.*/dev/i2c-N"):
        open_bus(name)


def test_a_chip_that_does_not_acknowledge_is_absent(device):
    with (
        Thermometer(device=device, address=0x70) as driver,
        pytest.raises(DeviceAbsentError, match=r"0x70.*EREMOTEIO") as error,
    ):
        driver.identify()
    assert not isinstance(error.value, WrongDeviceError)


def test_another_chip_is_refused_with_what_was_found(device, memory):
    memory.registers[0x0F] = 0x77
    with (
        Thermometer(device=device, address=ADDRESS) as driver,
        pytest.raises(WrongDeviceError, match="identity is 0x77, a thermometer has 0x0f"),
    ):
        driver.identify()


def test_transfers_without_acknowledge_are_a_loss_and_then_it_works_again(chip, bus):
    bus.fault("nak", n=2)
    with pytest.raises(DeviceLostError, match="bus fault while reading register 0x30"):
        _ = chip.heat
    with pytest.raises(DeviceLostError, match="bus fault while writing register 0x20"):
        chip.limit = 1
    assert chip.heat == 0x3031


def test_a_stuck_bus_times_out(chip, bus):
    bus.fault("stuck_bus", seconds=0.2)
    with pytest.raises(DeviceLostError, match="ETIMEDOUT"):
        _ = chip.heat


def test_a_bus_that_vanishes_is_a_loss(tmp_path):
    server = BusServer(tmp_path / "i2c", {ADDRESS: Memory()})
    stop = threading.Event()
    thread = threading.Thread(target=server.run, args=(stop,))
    thread.start()
    with Thermometer(device=f"unix:{tmp_path / 'i2c'}", address=ADDRESS) as driver:
        driver.identify()
        stop.set()
        thread.join(5)
        with pytest.raises(DeviceLostError, match="bus gone"):
            _ = driver.heat


def test_closing_twice_and_before_opening_is_fine_and_reading_then_is_a_loss(device):
    driver = Thermometer(device=device, address=ADDRESS)
    driver.close()
    driver.close()
    with pytest.raises(DeviceLostError, match="not open"):
        _ = driver.heat


@pytest.mark.parametrize("address", [0x07, 0x78, -1])
def test_reserved_addresses_are_refused(address):
    with pytest.raises(ValueError, match="0x08 to 0x77"):
        Thermometer(device="1", address=address)
