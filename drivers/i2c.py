"""I2C through smbus2: a bus by its name, registers as attributes, errors as `DriverError`.

Source: Linux kernel documentation, i2c/dev-interface and i2c/fault-codes; the codes that adapters
really return (Raspberry Pi 121, 110 and 5; DesignWare and Tegra 6 and 11) by their drivers.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from pathlib import Path
from typing import Protocol

from smbus2 import SMBus, i2c_msg

from drivers.base import DeviceAbsentError, DeviceLostError, Driver, WrongDeviceError
from drivers.sim.bus import BusClient
from drivers.stillness import DEAD

#: What adapters answer if the chip does not acknowledge, the bus hangs or the adapter gave up.
BUS_FAULTS = (errno.EIO, errno.ENXIO, errno.EAGAIN, errno.ETIMEDOUT, errno.EREMOTEIO)
#: 7-bit addresses of chips; the I2C specification reserves the others.
BUS_HZ = range(1_000, 5_000_001)
ADDRESSES = range(0x08, 0x78)
UNIX = "unix:"
#: Linux' i2c-dev: longest message.
MESSAGE_BYTES = 8192
#: 8 bits and an acknowledge; and of a transfer its start, its second start and its stop.
BYTE_BITS, EDGE_BITS = 9, 3
#: What smbus2 makes of a write and a read. Kept, or ctypes would make this class in each transfer.
_PAIR = i2c_msg * 2


class Bus(Protocol):
    """The methods of smbus2's `SMBus` that drivers use; `BusClient` has the same."""

    def write_byte_data(self, i2c_addr: int, register: int, value: int) -> None:
        """Write one register."""

    def i2c_rdwr(self, *i2c_msgs: i2c_msg) -> None:
        """Do one combined transfer: repeated starts between the messages, one stop at the end."""

    def close(self) -> None:
        """Release the bus."""


def open_bus(name: str) -> Bus:
    """Open a bus.

    Args:
        name: ``/dev/i2c-1`` or any link to such a node, or ``unix:PATH`` for the bus of the world
            model that listens there.

    Raises:
        DeviceAbsentError: no such bus, or no permission to open it.
    """
    try:
        if name.startswith(UNIX):
            return BusClient(name[len(UNIX) :])
        return _kernel_bus(name)
    except OSError as error:
        raise DeviceAbsentError(
            f"I2C bus {name}: {_text(error)}; a bus is /dev/i2c-N (enabled, readable and writable"
            f" for this user) or {UNIX}PATH"
        ) from error


def _kernel_bus(name: str) -> SMBus:
    bus = SMBus()
    try:
        bus.open(name)
    except OSError:
        bus.close()  # smbus2 leaves what is no bus open, and a lane tries again and again
        raise
    return bus


class Byte:
    """A register of one byte, as an attribute of an `I2cDriver`.

    Args:
        register: its address.
    """

    def __init__(self, register: int) -> None:
        self.register = register

    def __get__(self, chip: I2cDriver, owner: type[I2cDriver] | None = None) -> int:
        return chip.read_register(self.register, 1)[0]

    def __set__(self, chip: I2cDriver, value: int) -> None:
        chip.write_register(self.register, value)


class Word:
    """A number in two registers, read and written in one transfer so that it cannot tear.

    Args:
        register: the lower one's address.
        order: ``>`` if that is the high byte, ``<`` if it is the low one.
    """

    def __init__(self, register: int, order: str = ">") -> None:
        self.register = register
        self._number = struct.Struct(f"{order}H")

    def __get__(self, chip: I2cDriver, owner: type[I2cDriver] | None = None) -> int:
        value: int = self._number.unpack(chip.read_register(self.register, 2))[0]
        return value

    def __set__(self, chip: I2cDriver, value: int) -> None:
        chip.write_block(self.register, self._number.pack(value))


def transfer_bits(written: int, read: int) -> int:
    """Return the bits on the wire of one transfer that writes and then reads so many bytes."""
    return BYTE_BITS * (2 + written + read) + EDGE_BITS


class I2cDriver(Driver):
    """A driver of one chip on a bus: identity check, registers, and errors with the chip's name.

    Args:
        device: name of the bus, see `open_bus`; ``1`` is ``/dev/i2c-1``.
        address: 7-bit address of the chip, 0x08 to 0x77.
        bus_hz: the bus's clock in Hz where the system does not say it (`recorder check` plans with
            it); 0: as the system says, or 100,000.
        calibration: file with the sensor's bias, scale and misalignment; goes with the recording
            as a dependency, byte for byte, and is never applied to the samples.
        mounting: file with the rotation from the sensor's axes to the vehicle's; likewise.

    Attributes:
        who_am_i: the register of the chip's identity.
        chip_ids: what it may answer.
    """

    who_am_i = Byte(0x75)

    chip_ids: tuple[int, ...]

    def __init__(
        self,
        *,
        device: str,
        address: int,
        bus_hz: int = 0,
        calibration: str = "",
        mounting: str = "",
    ) -> None:
        if address not in ADDRESSES:
            raise ValueError(f"address is {address:#04x}, allowed are 0x08 to 0x77")
        if bus_hz and bus_hz not in BUS_HZ:
            raise ValueError(f"bus_hz is {bus_hz}, allowed are 0 and 1,000 to 5,000,000")
        # One spelling, by which lanes of one bus find each other.
        self.device = f"/dev/i2c-{int(device)}" if device.isdecimal() else device
        self.address = address
        self.bus_hz = bus_hz
        files = {"calibration": calibration, "mounting": mounting}
        for name, file in files.items():
            if file and not Path(file).is_absolute():
                raise ValueError(f"{name} is {file}, must be an absolute path")
        self.documents = {kind: Path(file) for kind, file in files.items() if file}
        self._bus: Bus | None = None
        # Made once: ctypes makes a class for each new length, which costs as much as the transfer.
        self._asked = i2c_msg.write(address, bytes(1))
        self._answer = i2c_msg.read(address, MESSAGE_BYTES)

    @property
    def bits_per_s(self) -> float:
        """What the driver puts on the wire in a second; here: one transfer for each row."""
        row_bytes = sum(int(one.type[2:]) for one in self.fields)
        return transfer_bits(1, row_bytes) * self.rate_hz

    def identify(self) -> int:
        """Open the bus, read the chip's identity and return it.

        Raises:
            DeviceAbsentError: no bus, or nothing acknowledges the address.
            WrongDeviceError: another chip answers.
        """
        self._bus = open_bus(self.device)
        try:
            found = self.identity()
        except DeviceLostError as error:
            raise DeviceAbsentError(str(error)) from error
        if found not in self.chip_ids:
            raise WrongDeviceError(f"{self}: {self._other(found)}")
        return found

    def identity(self) -> int:
        """Read the chip's identity."""
        return self.who_am_i

    def _other(self, found: int) -> str:
        allowed = ", ".join(f"{chip:#04x}" for chip in self.chip_ids)
        text = f"identity is {found:#04x}, a {self.model} has {allowed}"
        if found in DEAD:
            return f"{text}: no supply, or a bus that hangs"
        return text + self._relative(found)

    def _relative(self, found: int) -> str:
        """Say which option would have another chip of the family, if this is one."""
        return ""

    @property
    def model(self) -> str:
        """Name of the chip that is expected."""
        return self.kind

    def read_register(self, register: int, size_bytes: int) -> bytes:
        """Read from a register on, in one transfer of any length up to 8192 bytes.

        Raises:
            DeviceLostError: the chip did not acknowledge, or the bus is stuck or gone.
        """
        # One write and one read: the only combination that every adapter does (the Raspberry Pi's
        # allows a single read, as the last message); SMBus block reads would end at 32 bytes.
        self._asked.buf[0] = register
        self._answer.len = size_bytes
        try:
            self._opened().i2c_rdwr(self._asked, self._answer)
        except OSError as error:
            raise self._lost(f"reading register {register:#04x}", error) from error
        return ctypes.string_at(self._answer.buf, size_bytes)

    def write_register(self, register: int, value: int) -> None:
        """Write one byte.

        Raises:
            DeviceLostError: as for `read_register`.
        """
        # SMBus, not `i2c_rdwr`: the kernel refuses it while a driver of its own has the chip.
        try:
            self._opened().write_byte_data(self.address, register, value)
        except OSError as error:
            raise self._lost(f"writing register {register:#04x}", error) from error

    def write_block(self, register: int, data: bytes) -> None:
        """Write up to 8191 bytes in one transfer, from a register on or all into it.

        Raises:
            DeviceLostError: as for `read_register`.
        """
        message = i2c_msg.write(self.address, bytes((register,)) + data)
        try:
            self._opened().i2c_rdwr(message)
        except OSError as error:
            raise self._lost(f"writing register {register:#04x}", error) from error

    def write_in_turn(self, *writes: tuple[int, int]) -> None:
        """Write registers one after the other in one transfer, so that nothing comes between.

        Args:
            writes: each one's register and value.

        Raises:
            DeviceLostError: as for `read_register`.
        """
        messages = [i2c_msg.write(self.address, bytes(one)) for one in writes]
        try:
            self._opened().i2c_rdwr(*messages)
        except OSError as error:
            raise self._lost(f"writing register {writes[0][0]:#04x}", error) from error

    def close(self) -> None:
        """Release the bus.

        An adapter on USB that was pulled blocks its whole hub as long as somebody holds it open.
        """
        bus, self._bus = self._bus, None
        if bus is not None:
            bus.close()

    def _opened(self) -> Bus:
        if self._bus is None:
            raise DeviceLostError(f"{self}: is not open")
        return self._bus

    def _lost(self, doing: str, error: OSError) -> DeviceLostError:
        kind = "bus fault" if error.errno in BUS_FAULTS else "bus gone"
        if error.errno == errno.EBUSY:
            kind = "a driver of the kernel has the chip"
        return DeviceLostError(f"{self}: {kind} while {doing}: {_text(error)}")

    def __str__(self) -> str:
        return f"{self.kind} at {self.address:#04x} on {self.device}"


def _text(error: OSError) -> str:
    if error.errno is None:  # a socket's time-out carries none
        return str(error)
    return f"{os.strerror(error.errno)} ({errno.errorcode.get(error.errno, error.errno)})"
