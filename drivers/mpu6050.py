"""InvenSense MPU-6050 six-axis IMU on I2C, read through its FIFO.

Source: InvenSense MPU-6000/MPU-6050 Register Map and Descriptions, revision 4.2 (sections 4.2 to
4.31), and Product Specification, revision 3.4 (section 6: sensitivities, start-up times).
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from drivers.base import Device, DeviceLostError, Field, Sample, boot_ns
from drivers.fifo_clock import FifoClock
from drivers.i2c import Byte, I2cDriver, Word

if TYPE_CHECKING:
    from collections.abc import Sequence

ACCEL_LSB = 9.80665 / 8192  # m/s^2 per count at +-4 g
GYRO_LSB = math.radians(1 / 65.5)  # rad/s per count at +-500 deg/s

FIFO = 0x74
FIFO_BYTES = 1024
ROW_BYTES = 12
FIFO_OVERFLOW = 0x10  # INT_STATUS and INT_ENABLE
RESET, SLEEP, GYRO_CLOCK = 0x80, 0x40, 0x01  # PWR_MGMT_1
FIFO_ON, FIFO_RESET = 0x40, 0x04  # USER_CTRL
ROWS_ON, ROWS_OFF = 0x78, 0x00  # FIFO_EN: three gyroscope axes and the accelerometer
GYRO_RATE_HZ = 1000  # with the low-pass filter on
RESET_S = 0.1
START_UP_S = 0.06  # gyroscope 30 ms, and two time constants of the filter

#: A burst is what comes in this time; it fills half of the FIFO at 1 kHz.
BURST_S = 0.05
#: No new sample for so many periods: something is wrong with the chip.
OVERDUE_PERIODS = 20
#: Samples are held back until their times are known, but no longer than this.
HELD_S = 1.0


class Mpu6050(I2cDriver):
    """Specific force and angular velocity in sensor axes, +-4 g and +-500 deg/s, 42 Hz low-pass.

    Rows are the FIFO's bytes as they came. Their times are back-dated from the moments at which
    the FIFO was seen to grow, see `FifoClock`: after some seconds the period is right to 1e-4,
    and the first row of every burst to a quarter of a period, also after an overflow, so that
    the rows that were lost can be counted by time. The filter's delay (5 ms) is not taken off.

    Taking over a chip that still runs as configured: without an overflow, reading goes on in the
    FIFO as it is and nothing is marked (what the former process took and did not store shows by
    time); after one, only the FIFO is reset and the first sample carries `gap`.

    Args:
        device: name of the bus, see `drivers.i2c.open_bus`.
        address: 0x68, or 0x69 with pin AD0 high.
        rate_hz: 1000 / n for n from 1 to 256: 3.90625 to 1000.
    """

    kind = "mpu6050"
    ontology = "IMU"
    rate_tolerance = 0.03
    fields = tuple(
        Field(f"{quantity}.{axis}", ">i2", unit, scale=scale, least=-most, most=most)
        for quantity, unit, scale, most in (
            ("acceleration", "m/s^2", ACCEL_LSB, 32768 * ACCEL_LSB),
            ("angular_velocity", "rad/s", GYRO_LSB, 32768 * GYRO_LSB),
        )
        for axis in "xyz"
    )
    chip_ids = (0x68,)

    sample_rate_divider = Byte(0x19)
    config = Byte(0x1A)
    gyro_config = Byte(0x1B)
    accel_config = Byte(0x1C)
    fifo_enable = Byte(0x23)
    interrupt_enable = Byte(0x38)
    interrupt_status = Byte(0x3A)
    user_control = Byte(0x6A)
    power = Byte(0x6B)
    fifo_count = Word(0x72)
    who_am_i = Byte(0x75)

    def __init__(
        self, *, device: str = "/dev/i2c-1", address: int = 0x68, rate_hz: float = 200
    ) -> None:
        super().__init__(device=device, address=address)
        divider = min(max(round(GYRO_RATE_HZ / rate_hz), 1), 256)
        if not math.isclose(GYRO_RATE_HZ / divider, rate_hz, rel_tol=1e-4):
            near = sorted({GYRO_RATE_HZ / n for n in (divider - 1, divider, divider + 1) if n})
            raise ValueError(
                f"rate_hz is {rate_hz}, a {self.kind} has 1000/n from 3.90625 to 1000:"
                f" the nearest are {', '.join(f'{rate:g}' for rate in near)}"
            )
        self.rate_hz = rate_hz
        # Power first: a sleeping chip ignores the others. The FIFO last: no row is thrown away.
        self._setup = {
            "power": GYRO_CLOCK,
            "sample_rate_divider": divider - 1,
            "config": 3,  # low-pass 44 Hz accelerometer, 42 Hz gyroscope
            "gyro_config": 1 << 3,  # +-500 deg/s
            "accel_config": 1 << 3,  # +-4 g
            "interrupt_enable": FIFO_OVERFLOW,  # or the overflow would not show in its status
            "user_control": FIFO_ON,
            "fifo_enable": ROWS_ON,
        }
        self._burst_rows = max(1, round(rate_hz * BURST_S))
        self._clock = FifoClock(rate_hz, self.rate_tolerance)
        self._taken = 0  # rows drained since the clock's start, those in `_held` among them
        self._held: list[bytes] = []
        self._gap = False
        self._seen_ns = 0  # when the FIFO was last seen to grow

    def open(self) -> Device:
        """Identify the chip; configure and start it, or take it over if it runs as configured."""
        self.identify()
        self._gap = False
        self._clock = FifoClock(self.rate_hz, self.rate_tolerance)
        if self._differences():
            self._configure()
        elif self.interrupt_status & FIFO_OVERFLOW or self.fifo_count % ROW_BYTES:
            self._restart_fifo()  # overflown, or a burst was torn when the former process died
            self._gap = True
        else:
            self._begin(*self._look())
        return Device(
            vendor="InvenSense",
            model="MPU-6050",
            interface={"bus": self.device, "address": f"{self.address:#04x}"},
        )

    def read(self, timeout_s: float) -> Sample | None:
        """Wait for the next burst, about 50 ms long; shorter while the clock is being learnt."""
        deadline_ns = boot_ns() + round(timeout_s * 1e9)
        while True:
            awaited = self._taken + self._clock.reach(self._burst_rows) - 1
            _sleep_until(min(self._clock.span(awaited).middle_ns, deadline_ns))
            self._drain()
            rows = self._held_rows()
            if rows and (self._clock.is_first_known or rows >= HELD_S * self.rate_hz):
                return self._hand_over(rows)
            if boot_ns() >= deadline_ns:
                return None

    def finish(self) -> Sequence[Sample]:
        """Stop filling the FIFO, return what is left in it, and put the chip to sleep."""
        self.fifo_enable = ROWS_OFF
        self._drain()
        self.power = SLEEP | GYRO_CLOCK
        rows = self._held_rows()
        return [self._hand_over(rows)] if rows else []

    def _configure(self) -> None:
        """Reset the chip, write the set-up and read it back; 0.16 s."""
        self.power = RESET
        time.sleep(RESET_S)
        self.power = GYRO_CLOCK
        time.sleep(START_UP_S)
        *early, (last, rows_on) = self._setup.items()
        for name, value in early:
            setattr(self, name, value)
        self.user_control = FIFO_ON | FIFO_RESET
        before_ns = boot_ns()
        setattr(self, last, rows_on)
        self._begin(0, before_ns, boot_ns())
        different = self._differences()
        if different:
            raise DeviceLostError(f"{self}: does not keep its set-up: {different}")

    def _differences(self) -> str:
        """Say which registers do not hold what was or would be written; empty if all do."""
        found = {name: getattr(self, name) for name in self._setup}
        return ", ".join(
            f"{name} is {found[name]:#04x}, not {value:#04x}"
            for name, value in self._setup.items()
            if found[name] != value
        )

    def _restart_fifo(self) -> None:
        """Empty the FIFO; sampling goes on meanwhile, and so does what is known of the period."""
        before_ns = boot_ns()
        self.user_control = FIFO_ON | FIFO_RESET
        after_ns = boot_ns()
        _ = self.interrupt_status  # a further overflow until just now: reading it clears it
        self._begin(0, before_ns, after_ns)

    def _begin(self, rows: int, before_ns: int, after_ns: int) -> None:
        self._held.clear()
        self._taken = 0
        self._seen_ns = after_ns
        self._clock.start(rows, before_ns, after_ns)

    def _look(self) -> tuple[int, int, int]:
        """Return how many whole rows the FIFO holds, and when that was asked and answered."""
        before_ns = boot_ns()
        count_bytes = self.fifo_count
        after_ns = boot_ns()
        if count_bytes > FIFO_BYTES:
            raise DeviceLostError(
                f"{self}: {count_bytes} bytes in a FIFO of {FIFO_BYTES}: no power?"
            )
        return count_bytes // ROW_BYTES, before_ns, after_ns

    def _drain(self) -> None:
        rows, before_ns, after_ns = self._look()
        burst = self.read_register(FIFO, rows * ROW_BYTES) if rows else b""
        # Asked after the burst: an overflow shifts what is being read.
        if self.interrupt_status & FIFO_OVERFLOW:
            self._restart_fifo()
            self._gap = True
            return
        self._taken += rows
        self._clock.look(self._taken, before_ns, after_ns)
        if rows:
            self._held.append(burst)
            self._seen_ns = after_ns
        elif after_ns - self._seen_ns > OVERDUE_PERIODS * self._clock.period_ns:
            raise DeviceLostError(self._silence())

    def _silence(self) -> str:
        """Say why no sample comes: a chip that browned out acknowledges everything and sleeps."""
        if self.power & SLEEP:
            return f"{self}: sleeps, it has lost its supply for a moment and was reset"
        return f"{self}: has stopped sampling ({self._differences() or 'its set-up is intact'})"

    def _held_rows(self) -> int:
        return sum(map(len, self._held)) // ROW_BYTES

    def _hand_over(self, rows: int) -> Sample:
        sample = Sample(
            boot_ns=round(self._clock.first.middle_ns),
            rows=rows,
            payload=tuple(self._held),
            period_ns=round(self._clock.period_ns),
            gap=self._gap,
        )
        self._clock.hand_over(self._taken)
        self._held.clear()
        self._gap = False
        return sample


def _sleep_until(instant_ns: float) -> None:
    time.sleep(max(0.0, instant_ns - boot_ns()) / 1e9)
