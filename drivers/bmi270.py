"""Bosch BMI270 on I2C, read through the FIFO in header mode; it says exactly what it lost.

The chip measures nothing before 8192 bytes of Bosch's own program were written into it, after every
power-up. That file is Bosch's and does not ship with the recorder: the option `config_file` says
where it lies (`bmi270_config_file` of Bosch's sensor API as bytes; Linux calls the same bytes
bmi270-init-data.fw).

Source: Bosch BMI270 Data sheet, BST-BMI270-DS000: initialization sequence, FIFO (header mode, skip
frame), register map.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from drivers.base import DeviceAbsentError, DeviceLostError
from drivers.fifo_imu import FifoImu
from drivers.i2c import Byte, Word
from drivers.imu import Burst, Chip, laid_out

if TYPE_CHECKING:
    from drivers.imu import Chips, Codes

CONFIG_FILE = "/lib/firmware/bmi270-init-data.fw"
CONFIG_BYTES, CHUNK_BYTES = 8192, 1024
INIT_ADDRESS, INIT_DATA, FIFO = 0x5B, 0x5E, 0x26
RESET, FLUSH = 0xB6, 0xB0  # CMD
HEADERS, ROWS_ON = 0x10, 0xD0  # FIFO_CONFIG_1: gyroscope and accelerometer under headers
SENSORS_ON = 0x0E  # PWR_CTRL: thermometer, accelerometer, gyroscope
FILTERED = 0x80  # ACC_CONF; GYR_CONF has a second bit, for its noise
LOW_NOISE = 0x40
INITIALIZED, STATUS_BITS = 1, 0x0F  # INTERNAL_STATUS
RESET_S, AWAKE_S, INIT_S = 0.002, 0.00045, 0.02
#: Headers of frames: both sensors, skipped ones and how many, nothing left.
BOTH, SKIPPED, EMPTY = 0x8C, 0x40, 0x80
#: Bytes of each frame. Beside these: gyroscope or accelerometer alone, as at the very beginning;
#: a changed set-up; the sensor's time.
FRAME_BYTES = {BOTH: 13, SKIPPED: 2, 0x88: 7, 0x84: 7, 0x48: 2, 0x44: 4}
#: A skip frame counts no further.
MOST_SKIPPED = 255


class Bmi270(FifoImu):
    """The BMI270; the temperature is read once a second beside the FIFO.

    Args:
        config_file: Bosch's 8192 bytes, see the module.
        device, address, chip, rate_hz, range_g, range_dps, filter_hz, bus_hz, calibration,
            mounting: see `drivers.imu.Imu`.
    """

    kind = "bmi270"
    vendor = "Bosch"
    chips: ClassVar[Chips] = {"bmi270": Chip(0x24, "BMI270", 2048, per_kelvin=512, zero_degc=23)}
    usual_address = 0x68
    usual_rate_hz = 200
    rate_tolerance = 0.05
    rates_hz: ClassVar[Codes] = {25: 6, 50: 7, 100: 8, 200: 9, 400: 10, 800: 11, 1600: 12}
    ranges_g: ClassVar[Codes] = {2: 0, 4: 1, 8: 2, 16: 3}
    ranges_dps: ClassVar[Codes] = {2000: 0, 1000: 1, 500: 2, 250: 3, 125: 4}
    layout = "<wat"
    wire_row_bytes = 13
    start_up_s = 0.06
    thermometer = 0x22
    is_overflow_exact = True

    who_am_i = Byte(0x00)
    internal_status = Byte(0x21)
    fifo_length = Word(0x24, "<")
    accel_config = Byte(0x40)
    accel_range = Byte(0x41)
    gyro_config = Byte(0x42)
    gyro_range = Byte(0x43)
    fifo_config_0 = Byte(0x48)
    fifo_config_1 = Byte(0x49)
    init_control = Byte(0x59)
    power_config = Byte(0x7C)
    power_control = Byte(0x7D)
    command = Byte(0x7E)

    def __init__(
        self,
        *,
        config_file: str = CONFIG_FILE,
        device: str = "/dev/i2c-1",
        address: int | None = None,
        chip: str = "",
        rate_hz: float | None = None,
        range_g: int = 4,
        range_dps: int = 500,
        filter_hz: float | None = None,
        bus_hz: int = 0,
        calibration: str = "",
        mounting: str = "",
    ) -> None:
        super().__init__(
            device=device, address=address, chip=chip, rate_hz=rate_hz, range_g=range_g,
            range_dps=range_dps, filter_hz=filter_hz, bus_hz=bus_hz, calibration=calibration,
            mounting=mounting,
        )  # fmt: skip
        self.config_file = Path(config_file)

    def filters_hz(self) -> Codes:
        """Return both sensors' bandwidths, about 0.4, 0.2 and 0.1 of the rate."""
        return {self.rate_hz * 0.4: 2, self.rate_hz * 0.2: 1, self.rate_hz * 0.1: 0}

    def setup(self) -> dict[str, int]:
        """Return the set-up; `internal_status` shows whether Bosch's program still runs."""
        low_pass = self.filters_hz()[self.filter_hz] << 4
        rate = self.rates_hz[self.rate_hz] | low_pass | FILTERED
        return {
            "power_config": 0,  # no saving: registers and FIFO are always there
            "accel_config": rate,
            "accel_range": self.ranges_g[self.range_g],
            "gyro_config": rate | LOW_NOISE,
            "gyro_range": self.ranges_dps[self.range_dps],
            "fifo_config_0": 0,  # no sensor times; the newest rows stay
            "power_control": SENSORS_ON,
            "fifo_config_1": ROWS_ON,
        }

    def reset(self) -> None:
        """Reset the chip and write Bosch's program into it; 0.3 s at 400 kHz, 0.9 s at 100 kHz."""
        program = self._program()
        self.command = RESET
        time.sleep(RESET_S)
        self.power_config = 0
        time.sleep(AWAKE_S)
        self.init_control = 0
        for start in range(0, CONFIG_BYTES, CHUNK_BYTES):
            word = start // 2
            self.write_block(INIT_ADDRESS, bytes((word & 0x0F, word >> 4)))
            self.write_block(INIT_DATA, program[start : start + CHUNK_BYTES])
        self.init_control = 1
        time.sleep(INIT_S)
        status = self.internal_status & STATUS_BITS
        if status != INITIALIZED:
            raise DeviceLostError(
                f"{self}: did not start with {self.config_file} (INTERNAL_STATUS is {status}, not"
                f" {INITIALIZED})"
            )

    def _program(self) -> bytes:
        try:
            # Without waiting: a pipe in the file's place must not hold the lane up.
            with os.fdopen(os.open(self.config_file, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
                program = file.read(CONFIG_BYTES + 1)
        except OSError as error:
            found = error.strerror or "cannot be read"
        else:
            if len(program) == CONFIG_BYTES:
                return program
            size = f"{len(program)}" if len(program) < CONFIG_BYTES else "more"
            found = f"has {size} bytes, not {CONFIG_BYTES}"
        raise DeviceAbsentError(
            f"{self}: config_file is {self.config_file}: {found}; the chip measures nothing without"
            " Bosch's configuration file (bmi270-init-data.fw), which does not ship with it"
        )

    def waiting_rows(self) -> int:
        """Return how many frames of both sensors the FIFO has bytes for."""
        return self.whole_rows(self.fifo_length)

    def take(self, rows: int) -> Burst:
        """Read the bytes of so many rows; a frame that they cut in two comes again whole."""
        frames = self.read_register(FIFO, rows * self.wire_row_bytes)
        lost = 0
        if frames[:: self.wire_row_bytes] != bytes((BOTH,)) * rows:
            parted = part(frames)
            if parted is None:
                return Burst(b"", is_torn=True)
            frames, lost = parted
        return Burst(laid_out(frames, self.wire_row_bytes, range(1, 13), self.heat()), lost)

    def has_overflown(self) -> bool:
        """Never: the next burst says what was lost."""
        return False

    def empty_fifo(self) -> None:
        """Empty the FIFO; rows go on into it."""
        self.command = FLUSH

    def stop_fifo(self) -> None:
        """Let no more rows in."""
        self.fifo_config_1 = HEADERS

    def sleep(self) -> None:
        """Switch the sensors off."""
        self.power_control = 0


def part(frames: bytes) -> tuple[bytes, int] | None:
    """Return the frames of both sensors, and how many were skipped before them.

    None if they make no sense, or more were skipped than the chip counts.
    """
    place, lost, rows = 0, 0, bytearray()
    while place < len(frames) and frames[place] != EMPTY:
        header = frames[place]
        frame = frames[place : place + FRAME_BYTES.get(header, 0)]
        if not frame:
            return None
        if len(frame) < FRAME_BYTES[header]:
            break  # cut in two: it comes again
        if header == SKIPPED:
            lost += frame[1]
        elif header == BOTH:
            rows += frame
        place += len(frame)
    return None if lost >= MOST_SKIPPED else (bytes(rows), lost)
