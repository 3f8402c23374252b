"""A register-level model of the BNO055: operating modes, results, reset, brown-out.

Its attitude is the integral of what it feels turning, from level; gravity and linear acceleration
follow from that.

What it does not simulate: Bosch's fusion and its calibration (always 3 in all parts), the compass
(constant), Euler angles (zero), axis remapping, units other than m/s^2 and rad/s, interrupts, pages
other than 0, clock stretching, and that it is deaf for 0.65 s after a reset.

Source: Bosch BNO055 Data sheet, BST-BNO055-DS000.
"""

from __future__ import annotations

import math
import struct

from drivers.sim.imu_chip import ImuChip

CHIP_ID, SW_REV, PAGE_ID, RESULTS, UNIT_SEL = 0x00, 0x04, 0x07, 0x08, 0x3B
OPR_MODE, SYS_TRIGGER, RESET = 0x3D, 0x3F, 0x20
RESERVED = 0x10  # of OPR_MODE: its upper bits need not read as 0
INERTIAL = 0x08  # OPR_MODE without the compass
FUSION = range(INERTIAL, 0x0D)
RATE_HZ = 100
RESULT = struct.Struct("<22hbB")
COMPASS = (300, -100, -600)
CALIBRATED = 0xFF


class Bno055Chip(ImuChip):
    """One chip."""

    identity_register = CHIP_ID
    usual_identity = 0xA0
    read_only = (*range(1, PAGE_ID), *range(RESULTS, UNIT_SEL))

    def _defaults(self) -> None:
        self._registers[1:4] = bytes((0xFB, 0x32, 0x0F))
        self._registers[SW_REV : SW_REV + 2] = struct.pack("<H", 0x0311)
        self._registers[UNIT_SEL], self._registers[OPR_MODE] = 0x80, RESERVED
        self._attitude = (1.0, 0.0, 0.0, 0.0)

    def _store(self, register: int, value: int) -> None:
        if register == SYS_TRIGGER and value & RESET:
            self._power_up()
        elif register == OPR_MODE:
            self._registers[OPR_MODE] = value & 15 | RESERVED
            self._registers[RESULTS : RESULTS + RESULT.size] = bytes(RESULT.size)
            self._retime()

    def _rate_hz(self) -> float:
        return RATE_HZ if self._registers[OPR_MODE] & 15 in FUSION else 0.0

    def _scales(self) -> tuple[float, float]:
        return 100.0, 900.0

    def _sampled(self, counts: tuple[int, ...]) -> bool:
        self._turn(*(one / 900 / RATE_HZ for one in counts[3:]))
        w, x, y, z = self._attitude
        up = (2 * (x * z - w * y), 2 * (y * z + w * x), w * w - x * x - y * y + z * z)
        gravity = [round(980.665 * one) for one in up]
        linear = [force - weight for force, weight in zip(counts[:3], gravity, strict=True)]
        quaternion = [max(-32768, min(32767, round(one * 16384))) for one in self._attitude]
        compass = COMPASS if self._registers[OPR_MODE] & 15 != INERTIAL else (0, 0, 0)
        values = (*counts[:3], *compass, *counts[3:], 0, 0, 0, *quaternion, *linear, *gravity)
        self._registers[RESULTS : RESULTS + RESULT.size] = RESULT.pack(*values, 25, CALIBRATED)
        return True

    def _turn(self, x: float, y: float, z: float) -> None:
        """Turn by small angles in rad."""
        a, b, c, d = self._attitude
        turned = (
            a - (b * x + c * y + d * z) / 2,
            b + (a * x + c * z - d * y) / 2,
            c + (a * y + d * x - b * z) / 2,
            d + (a * z + b * y - c * x) / 2,
        )
        size = math.sqrt(sum(one * one for one in turned))
        self._attitude = (turned[0] / size, turned[1] / size, turned[2] / size, turned[3] / size)
