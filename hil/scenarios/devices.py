"""What is plugged into the machine: the models of `drivers.sim` behind USB devices."""

from __future__ import annotations

import contextlib
import csv
import functools
import os
import select
import termios
import threading
import time
import tty
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from drivers.sim.mpu6050_chip import Mpu6050Chip
from drivers.sim.nmea_render import Fix, render
from drivers.sim.pictures import Pictures
from drivers.sim.receiver import POWER_ON_NS, Burst, Receiver
from drivers.sim.vehicle import START_UTC_NS, Vehicle
from hil.usb.ftdi import Ftdi
from hil.usb.i2c_tiny import I2cTinyUsb
from hil.usb.uvc import Uvc

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SECOND_NS, TENTH_NS = 1_000_000_000, 100_000_000
ADDRESS = 0x68
BAUD = 115_200
SPEEDS = {9600: termios.B9600, 38_400: termios.B38400, 115_200: termios.B115200}
PATIENCE_S, NAP_S, READ_BYTES = 10.0, 0.05, 4096
AXES = ("ax", "ay", "az", "wx", "wy", "wz")


class Gps:
    """A receiver behind a serial adapter: `Receiver`'s terminal, carried byte for byte.

    Args:
        folder: for its log.
        fixes: what it knows, in order.
        baud: of its line, 9600, 38,400 or 115,200.
        pulse_ahead_ns: so long after its instant an epoch begins, and a pulse at the adapter's
            carrier detect tells the instants of whole seconds; 0: no pulse, and no delay.
    """

    def __init__(
        self, folder: Path, fixes: Sequence[Fix], baud: int = BAUD, pulse_ahead_ns: int = 0
    ) -> None:
        self.fixes = fixes
        self._link = folder / "gps"
        bursts = [
            Burst(fix.utc_ns, number * TENTH_NS + pulse_ahead_ns, render(fix))
            for number, fix in enumerate(fixes)
        ]
        self.receiver = Receiver(bursts, self._link, folder / "gps.jsonl", baud)
        self._said: list[bytes] = []
        self.usb = Ftdi(baud, self._said.append)
        self.stop = threading.Event()
        parts = (self._play, self._carry, *((self._pulse,) if pulse_ahead_ns else ()))
        self._threads = [threading.Thread(target=one) for one in parts]
        for thread in self._threads:
            thread.start()

    def _play(self) -> None:
        self.receiver.run(self.stop)

    def _pulse(self) -> None:
        while self.receiver.start_ns is None:
            if self.stop.wait(NAP_S):
                return
        for number, fix in enumerate(self.fixes):
            if fix.utc_ns % SECOND_NS == 0:
                instant_ns = self.receiver.start_ns + number * TENTH_NS
                for is_on, at_ns in ((True, instant_ns), (False, instant_ns + TENTH_NS)):
                    left_ns = at_ns - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
                    if self.stop.wait(max(0, left_ns) / SECOND_NS):
                        return
                    self.usb.carry(is_on)

    def _carry(self) -> None:
        deadline_s = time.monotonic() + PATIENCE_S
        while not self._link.exists() and time.monotonic() < deadline_s:
            self.stop.wait(NAP_S)
        terminal = os.open(self._link, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        with contextlib.closing(os.fdopen(terminal, "rb+", buffering=0)) as line:
            tty.setraw(terminal)
            while not self.stop.is_set():
                self._keep_speed(terminal)
                while self._said:
                    line.write(self._said.pop(0))
                if select.select([line], [], [], NAP_S)[0]:
                    self.usb.feed(line.read(READ_BYTES) or b"")

    def _keep_speed(self, terminal: int) -> None:
        """Listen at the receiver's own speed: what the machine hears of it the adapter decides."""
        modes = termios.tcgetattr(terminal)
        speed = SPEEDS[self.usb.baud]
        if modes[5] != speed:
            modes[4] = modes[5] = speed
            termios.tcsetattr(terminal, termios.TCSANOW, modes)

    def change_speed(self, baud: int) -> None:
        """Let it speak at another speed from now on."""
        self.receiver.unit.baud = self.usb.baud = baud

    def tells(self) -> list[str]:
        """Return what of its own account belongs into the table at the end."""
        lost = self.usb.overrun_bytes
        return [f"{lost} bytes overran the adapter"] if lost else []

    def close(self) -> None:
        """Switch it off."""
        self.stop.set()
        for thread in self._threads:
            thread.join()


def drive(no_fix_s: float = 0, jump_s: float = 0, at_s: float = 0) -> list[Fix]:
    """Return what a receiver knows ten times a second of a drive through a town from now on.

    Args:
        no_fix_s: as long as that it has no position.
        jump_s: so far its time jumps,
        at_s: behind so much of the drive.
    """
    # Whole tenths: a receiver says no finer time.
    begin_utc_ns = (time.time_ns() + POWER_ON_NS) // TENTH_NS * TENTH_NS
    found = []
    for fix in Vehicle().fixes:
        offset_ns = fix.utc_ns - START_UTC_NS
        jumped_ns = int(jump_s * SECOND_NS) if offset_ns >= at_s * SECOND_NS else 0
        utc_ns = begin_utc_ns + offset_ns + jumped_ns
        is_known = offset_ns >= no_fix_s * SECOND_NS
        found.append(replace(fix, utc_ns=utc_ns) if is_known else Fix(utc_ns))
    return found


class Imu:
    """An MPU-6050 behind an I2C adapter; it rests when the adapter has no power.

    Args:
        folder: for its log.
    """

    def __init__(self, folder: Path, **more: Any) -> None:
        self._log = folder / "imu.csv"
        self._begin_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        vehicle = Vehicle()
        self.chip = Mpu6050Chip(
            lambda at_ns: vehicle.at((at_ns - self._begin_ns) / SECOND_NS), self._log, **more
        )
        self.usb = I2cTinyUsb({ADDRESS: self.chip})

    def rows(self) -> list[tuple[int, ...]]:
        """Return every row that the chip made, in raw counts."""
        with self.usb.lock:
            self.chip.tick()
        with self._log.open(encoding="ascii") as file:
            return [tuple(int(row[axis]) for axis in AXES) for row in csv.DictReader(file)]

    def tells(self) -> list[str]:
        """Return what of its own account belongs into the table at the end."""
        return [f"the chip made {len(self.rows())} rows"]

    def close(self) -> None:
        """Write its log to its end."""
        self.chip.close()


class Camera:
    """A camera on USB whose pictures show their number."""

    def __init__(self) -> None:
        self.usb = Uvc(drawn)

    def tells(self) -> list[str]:
        """Return what of its own account belongs into the table at the end."""
        fates = Counter(one.fate for one in self.usb.frames)
        return [", ".join(f"{fate} {count}" for fate, count in sorted(fates.items()))]

    def close(self) -> None:
        """Switch it off."""
        self.usb.unplugged()


@functools.cache
def _pictures(width: int, height: int) -> Pictures:
    return Pictures(width, height)


def drawn(width: int, height: int, number: int) -> bytes:
    """Return the picture of a number, always the same."""
    return _pictures(width, height).draw(number, number / 10)
