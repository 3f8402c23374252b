"""Bosch BNO055 on I2C: an IMU with its own fusion and without a FIFO, polled.

Every poll reads all results and, in the same transfer, the set-up that they came from: a chip that
browned out between two polls shows at once. The chip stretches the clock; the controller of a
Raspberry Pi before model 5 does that wrong, so give it a bus of GPIO lines (`dtoverlay=i2c-gpio`)
or 10 kHz.

Source: Bosch BNO055 Data sheet, BST-BNO055-DS000: operating modes, output data, page 0.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from drivers.base import Device, DeviceLostError, Field, Sample, boot_ns
from drivers.i2c import Byte, I2cDriver, transfer_bits
from drivers.stillness import Stillness

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

RESULTS, RESULT_BYTES = 0x08, 46
SET_UP = 0x3B - RESULTS  # UNIT_SEL, and two registers on OPR_MODE, in what a poll reads
POLL_BYTES = 0x3D - RESULTS + 1
IDLE, RESET = 0x00, 0x20  # OPR_MODE, SYS_TRIGGER
MODE_BITS = 0x0F  # the others are reserved, and not always 0
RADIANS = 0x02  # UNIT_SEL: m/s^2, rad/s, degrees, degrees Celsius
RESET_S, IDLE_S, START_S = 0.7, 0.02, 0.01
#: The chip makes 100 results a second, by a clock of its own.
MOST_HZ, LEAST_HZ = 100, 1
#: Operating modes: fusion of the inertial sensors (the compass is off), and with the compass, which
#: a vehicle's iron and currents disturb.
MODES = {"imu": 0x08, "ndof": 0x0C}
FORCE, TURN, TESLA, QUATERNION, ANGLE = 1 / 100, 1 / 900, 1e-6 / 16, 1 / 16384, 1 / 16


def _columns(
    path: str, axes: Sequence[str], unit: str, scale: float, *, null: int | None = None
) -> tuple[Field, ...]:
    most = 32768 * scale
    return tuple(Field(path + one, "<i2", unit, scale, 0.0, null, -most, most) for one in axes)


class Bno055(I2cDriver):
    """All results of the BNO055 as it gives them, stamped at the poll.

    The chip has no running number and no sign of a fresh result: a poll may see a result twice or
    miss one, as its clock and ours drift; what was not polled in time is counted by time.

    Args:
        device, bus_hz, calibration, mounting: see `drivers.i2c.I2cDriver`.
        address: 0x28, or 0x29 with pin COM3 high.
        rate_hz: 1 to 100.
        mode: ``imu``: orientation from the inertial sensors alone; ``ndof``: with the compass.
    """

    kind = "bno055"
    ontology = "IMU"
    rate_tolerance = 0.001
    chip_ids = (0xA0,)
    fields = (
        *_columns("acceleration.", "xyz", "m/s^2", FORCE),
        *_columns("magnetic_field.", "xyz", "T", TESLA, null=0),
        *_columns("angular_velocity.", "xyz", "rad/s", TURN),
        *_columns("euler.", ("heading", "roll", "pitch"), "deg", ANGLE),
        *_columns("orientation.", "wxyz", "1", QUATERNION),
        *_columns("linear_acceleration.", "xyz", "m/s^2", FORCE),
        *_columns("gravity.", "xyz", "m/s^2", FORCE),
        Field("temperature", "<i1", "degC", least=-40, most=85),
        Field("calibration", "<u1", "1", least=0, most=255),
    )

    who_am_i = Byte(0x00)
    page = Byte(0x07)
    units = Byte(0x3B)
    mode = Byte(0x3D)
    power_mode = Byte(0x3E)
    trigger = Byte(0x3F)

    def __init__(
        self,
        *,
        device: str = "/dev/i2c-1",
        address: int = 0x28,
        rate_hz: float = 100,
        mode: str = "imu",
        bus_hz: int = 0,
        calibration: str = "",
        mounting: str = "",
    ) -> None:
        super().__init__(
            device=device, address=address, bus_hz=bus_hz, calibration=calibration,
            mounting=mounting,
        )  # fmt: skip
        if not LEAST_HZ <= rate_hz <= MOST_HZ:
            raise ValueError(f"rate_hz is {rate_hz:g}, a BNO055 has {LEAST_HZ} to {MOST_HZ}")
        if mode not in MODES:
            raise ValueError(f'mode is "{mode}", allowed are {", ".join(MODES)}')
        self.rate_hz = rate_hz
        self._set_up = (RADIANS, MODES[mode])
        self._stillness = Stillness(self.fields, ("acceleration", "angular_velocity"))
        self._next_ns = 0
        self._hangs = False  # only a reset helps

    @property
    def bits_per_s(self) -> float:
        """One transfer for each sample."""
        return transfer_bits(1, POLL_BYTES) * self.rate_hz

    def open(self) -> Device:
        """Identify the chip; configure and start it, or take it over if it runs as configured."""
        self.identify()
        self.page = 0
        if self._hangs or (self.units, self.mode & MODE_BITS) != self._set_up:
            self._configure()
        self._stillness.forget()
        self._next_ns = boot_ns()
        software = int.from_bytes(self.read_register(0x04, 2), "little")
        interface = {"bus": self.device, "address": f"{self.address:#04x}"}
        return Device("Bosch", "BNO055", f"{software:#06x}", interface=interface)

    def read(self, timeout_s: float) -> Sample | None:
        """Wait for the next poll and do it."""
        wait_s = (self._next_ns - boot_ns()) / 1e9
        time.sleep(max(0.0, min(wait_s, timeout_s)))
        if wait_s > timeout_s:
            return None
        before_ns = boot_ns()
        results = self.read_register(RESULTS, POLL_BYTES)
        after_ns = boot_ns()
        self._check(results, after_ns)
        period_ns = 1e9 / self.rate_hz
        late = max(0, int((after_ns - self._next_ns) / period_ns))  # polls that are over already
        self._next_ns += round((late + 1) * period_ns)
        return Sample((before_ns + after_ns) // 2, 1, (results[:RESULT_BYTES],))

    def finish(self) -> Sequence[Sample]:
        """Let the chip rest; it holds nothing back."""
        self.mode = IDLE
        return []

    def measured(self) -> Mapping[str, object]:
        """Which axes do not move any more."""
        return {"frozen": list(self._stillness.frozen)}

    def _configure(self) -> None:
        """Reset the chip, which is deaf meanwhile, and start it; 0.75 s."""
        self.trigger = RESET
        time.sleep(RESET_S)
        self.power_mode = 0
        self.units, mode = self._set_up
        time.sleep(IDLE_S)
        self.mode = mode
        time.sleep(START_S)
        found = (self.units, self.mode & MODE_BITS)
        if found != self._set_up:
            raise DeviceLostError(f"{self}: does not keep its set-up: {found}, not {self._set_up}")
        self._hangs = False

    def _check(self, results: bytes, at_ns: int) -> None:
        found = (results[SET_UP], results[SET_UP + 2] & MODE_BITS)
        if found != self._set_up:
            raise DeviceLostError(
                f"{self}: has lost its supply for a moment and was reset, or has none: units and"
                f" mode are {found[0]:#04x} and {found[1]:#04x}, not {self._set_up[0]:#04x} and"
                f" {self._set_up[1]:#04x}"
            )
        self._stillness.look(results[:RESULT_BYTES], at_ns)
        if self._stillness.is_dead or self._stillness.is_frozen:
            self._hangs = True
            raise DeviceLostError(f"{self}: gives the same values for seconds: it hangs")
