"""An I2C bus between processes: chip models at one end of a UNIX socket, smbus2's methods at ours.

The chips live in the world's process, so that they go on sampling when a recorder's process is
killed, as copper does. Every transfer is one request and one answer, each one packet
(SOCK_SEQPACKET), so that it costs its caller little more than an adapter's system call. All
little-endian:

    request   u1 messages, then per message: u2 address, u2 flags (1: read), u2 length,
              and behind them the bytes of the messages that write
    answer    u2 errno (0: done), and if it is 0 the bytes of the messages that read
"""

from __future__ import annotations

import ctypes
import errno
import os
import selectors
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING, NamedTuple, Protocol

from smbus2 import i2c_msg

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

COUNT = struct.Struct("<B")
MESSAGE = struct.Struct("<HHH")
ANSWER = struct.Struct("<H")
READ_FLAG = 1
BLOCK_BYTES = 32  # I2C_SMBUS_BLOCK_MAX
#: Linux' i2c-dev: longest message.
MESSAGE_BYTES = 8192
#: Longer than any transfer that drivers make.
REQUEST_BYTES = 65_536
#: How long an adapter waits for a stuck bus before it answers ETIMEDOUT: the Raspberry Pi's.
ADAPTER_TIMEOUT_S = 1.0
#: Nobody waits longer than this for the world process (it may be stopped or overloaded).
CLIENT_TIMEOUT_S = 5.0
TICK_S = 0.25


class BusClient:
    """smbus2's `SMBus`, as far as drivers use it, over the socket of a `BusServer`.

    All methods raise OSError with the adapter's errno, as smbus2 does.

    Args:
        path: the server's socket.
    """

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.settimeout(CLIENT_TIMEOUT_S)
        try:
            self._socket.connect(path)
        except OSError:
            self._socket.close()
            raise

    def i2c_rdwr(self, *i2c_msgs: i2c_msg) -> None:
        """Do one combined transfer; the read messages' buffers are filled."""
        heads = [MESSAGE.pack(message.addr, message.flags, message.len) for message in i2c_msgs]
        written = [bytes(message) for message in i2c_msgs if not message.flags & READ_FLAG]
        reads = [message for message in i2c_msgs if message.flags & READ_FLAG]
        self._socket.send(b"".join((COUNT.pack(len(i2c_msgs)), *heads, *written)))
        answer = self._socket.recv(ANSWER.size + sum(message.len for message in reads))
        code = ANSWER.unpack_from(answer)[0] if answer else errno.ECONNRESET
        if code:
            raise OSError(code, os.strerror(code))
        place = ANSWER.size
        for message in reads:
            part = answer[place : place + message.len]
            ctypes.memmove(message.buf, part, len(part))
            place += message.len

    def read_byte_data(self, i2c_addr: int, register: int) -> int:
        """Read one register."""
        return self.read_i2c_block_data(i2c_addr, register, 1)[0]

    def read_i2c_block_data(self, i2c_addr: int, register: int, length: int) -> list[int]:
        """Read up to 32 bytes from a register on."""
        if length > BLOCK_BYTES:
            raise ValueError(f"a block is at most {BLOCK_BYTES} bytes, not {length}")
        answer = i2c_msg.read(i2c_addr, length)
        self.i2c_rdwr(i2c_msg.write(i2c_addr, [register]), answer)
        return list(bytes(answer))

    def write_byte_data(self, i2c_addr: int, register: int, value: int) -> None:
        """Write one register."""
        self.write_i2c_block_data(i2c_addr, register, [value])

    def write_i2c_block_data(self, i2c_addr: int, register: int, data: Sequence[int]) -> None:
        """Write up to 32 bytes from a register on."""
        if len(data) > BLOCK_BYTES:
            raise ValueError(f"a block is at most {BLOCK_BYTES} bytes, not {len(data)}")
        self.i2c_rdwr(i2c_msg.write(i2c_addr, [register, *data]))

    def close(self) -> None:
        """Release the bus; may be called twice."""
        self._socket.close()


class Chip(Protocol):
    """A model that can be put on a `BusServer`."""

    def write(self, data: bytes) -> None:
        """Take one written message: a register's address and what follows."""

    def read(self, size_bytes: int) -> bytes:
        """Give what the chip would send, from the register that was written last."""

    def tick(self) -> float | None:
        """Let time pass; called at least every quarter of a second.

        Returns:
            In how many seconds it wants to be called again: a chip that measures on its own does
            not begin with it when it is asked. None: it does not mind.
        """


class Message(NamedTuple):
    """One message of a transfer: bytes to write, or how many to read."""

    address: int
    read_bytes: int
    written: bytes


class BusFaultError(Exception):
    """A transfer ends with this errno.

    Args:
        code: the errno that the adapter would give.
    """

    def __init__(self, code: int) -> None:
        super().__init__(os.strerror(code))
        self.code = code


class BusServer:
    """The bus and its adapter: serves every client in turn, as one pair of wires does.

    It is as strict as the strictest adapter (the Raspberry Pi's: one read message, the last one)
    and as the kernel (8192 bytes per message). Bus speed and arbitration are not simulated.

    Args:
        path: where to listen; the file is removed at the end.
        chips: models by 7-bit address; nothing else acknowledges.
    """

    FAULTS = ("nak", "stuck_bus", "overflow")

    def __init__(self, path: Path, chips: Mapping[int, Chip]) -> None:
        self._path = path
        self._chips = chips
        self._naks = 0
        self._held_s = 0.0
        self._stuck_until_s = 0.0
        path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(str(path))
        self._listener.listen()

    def fault(self, name: str, *, n: int = 1, seconds: float = 1.0) -> None:
        """Misbehave; may be called from any thread (it sets single values only).

        Args:
            name: ``nak``: the next `n` transfers are not acknowledged (EREMOTEIO);
                ``stuck_bus``: for `seconds` every transfer ends in ETIMEDOUT after the adapter's
                one second; ``overflow``: the next transfer is held up for `seconds` (a clock
                stretched for long) and then done; a FIFO of 85 rows overflows meanwhile.
            n: transfers.
            seconds: duration.
        """
        if name == "nak":
            self._naks = n
        elif name == "stuck_bus":
            self._stuck_until_s = time.monotonic() + seconds
        elif name == "overflow":
            self._held_s = seconds
        else:
            raise ValueError(f"a bus has no fault {name!r}, allowed are {', '.join(self.FAULTS)}")

    def run(self, stop: threading.Event) -> None:
        """Serve until told to stop, then close everything."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ, self._listener)
            wait_s = TICK_S
            while not stop.is_set():
                for key, _ in selector.select(wait_s):
                    self._serve(selector, key.data)
                wait_s = min([TICK_S, *(chip.tick() or TICK_S for chip in self._chips.values())])
            for key in selector.get_map().values():
                key.data.close()
        self._path.unlink(missing_ok=True)

    def _serve(self, selector: selectors.BaseSelector, ready: socket.socket) -> None:
        if ready is self._listener:
            client, _ = self._listener.accept()
            client.settimeout(CLIENT_TIMEOUT_S)
            selector.register(client, selectors.EVENT_READ, client)
            return
        try:
            request = ready.recv(REQUEST_BYTES)
            if request:
                ready.send(self._answer(_messages(request)))
                return
        except OSError:
            pass
        selector.unregister(ready)  # the client is gone, perhaps in mid-transfer: nothing to a bus
        ready.close()

    def _answer(self, messages: list[Message]) -> bytes:
        try:
            self._misbehave()
            return ANSWER.pack(0) + self._transfer(messages)
        except BusFaultError as fault:
            return ANSWER.pack(fault.code)

    def _misbehave(self) -> None:
        held_s, self._held_s = self._held_s, 0.0
        time.sleep(held_s)
        stuck_s = self._stuck_until_s - time.monotonic()
        if stuck_s > 0:
            time.sleep(min(stuck_s, ADAPTER_TIMEOUT_S))
            raise BusFaultError(errno.ETIMEDOUT)
        if self._naks > 0:
            self._naks -= 1
            raise BusFaultError(errno.EREMOTEIO)

    def _transfer(self, messages: list[Message]) -> bytes:
        if any(message.read_bytes for message in messages[:-1]):
            raise BusFaultError(errno.EOPNOTSUPP)
        answer = b""
        for address, read_bytes, written in messages:
            if address not in self._chips:
                raise BusFaultError(errno.EREMOTEIO)
            if max(read_bytes, len(written)) > MESSAGE_BYTES:
                raise BusFaultError(errno.EINVAL)
            if read_bytes:
                answer = self._chips[address].read(read_bytes)
            else:
                self._chips[address].write(written)
        return answer


def _messages(request: bytes) -> list[Message]:
    count = COUNT.unpack_from(request)[0]
    place = COUNT.size + count * MESSAGE.size
    messages = []
    for address, flags, size_bytes in MESSAGE.iter_unpack(request[COUNT.size : place]):
        if flags & READ_FLAG:
            messages.append(Message(address, size_bytes, b""))
        else:
            messages.append(Message(address, 0, request[place : place + size_bytes]))
            place += size_bytes
    return messages
