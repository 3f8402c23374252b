"""A small model of a car in a town, for machines on which no recorded drive lies.

The course is a chain of phases. In each, speed and heading change by given amounts along the same
smooth curve (a raised cosine in the rates), so that speed, turn rate, position and what an IMU
feels follow from each other exactly.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from typing import NamedTuple

from drivers.sim.motion import G, Sense
from drivers.sim.nmea_render import Fix

SEED = 2014
LENGTH_S = 600.0
#: Where and when the course begins: any place and date do.
LATITUDE_DEG, LONGITUDE_DEG, ALTITUDE_M = 48.137, 11.575, 519.0
START_UTC_NS = 1_772_355_600_000_000_000  # 2026-03-01 09:00:00
METRES_PER_DEG = 111_195.0  # of latitude, on a sphere of 6371 km
FIX_RATE_HZ = 10
STEPS_PER_FIX = 10
TURN_MPS = 4.0
#: Vibration: of the engine (Hz, m/s^2), always; of the road (Hz, m/s^2 per m/s), with the speed.
ENGINE = ((27.3, 0.12), (54.6, 0.05))
ROAD = ((1.7, 0.015), (11.9, 0.02), (13.3, 0.02))


class Phase(NamedTuple):
    """A piece of the course."""

    start_s: float
    duration_s: float
    speed_mps: float
    heading: float
    faster_mps: float
    turned: float

    def motion(self, t_s: float) -> tuple[float, float, float, float]:
        """Return speed (m/s), heading (rad), acceleration (m/s^2) and turn rate (rad/s)."""
        part = (t_s - self.start_s) / self.duration_s
        done = part - math.sin(2 * math.pi * part) / (2 * math.pi)
        rate = (1 - math.cos(2 * math.pi * part)) / self.duration_s
        return (
            self.speed_mps + done * self.faster_mps,
            self.heading + done * self.turned,
            rate * self.faster_mps,
            rate * self.turned,
        )


class Vehicle:
    """A car that waits, accelerates, cruises, brakes and turns, with engine and road vibration.

    Axes as in `drivers.sim.motion`; the road is flat and the body does not lean. Headings are in
    rad, anticlockwise from north.

    Args:
        seed: the same seed drives the same course.
    """

    def __init__(self, seed: int = SEED) -> None:
        self._phases = _course(random.Random(seed))
        self._starts_s = [phase.start_s for phase in self._phases]
        self._length_s = self._phases[-1].start_s + self._phases[-1].duration_s
        self.fixes = self._fixes()

    def motion(self, t_s: float) -> tuple[float, float, float, float]:
        """Return speed, heading, acceleration and turn rate, see `Phase.motion`."""
        t_s %= self._length_s
        return self._phases[bisect_right(self._starts_s, t_s) - 1].motion(t_s)

    def at(self, t_s: float) -> Sense:
        """Return what the IMU feels."""
        speed_mps, _, faster, turn_rate = self.motion(t_s)
        engine = sum(size * math.sin(2 * math.pi * hz * t_s) for hz, size in ENGINE)
        road = speed_mps * sum(size * math.sin(2 * math.pi * hz * t_s) for hz, size in ROAD)
        return Sense(
            faster + engine / 2,
            speed_mps * turn_rate + road / 3,
            G + engine + road,
            road / 50,
            engine / 50,
            turn_rate,
        )

    def _fixes(self) -> list[Fix]:
        fixes = []
        north_m = east_m = 0.0
        step_s = 1 / (FIX_RATE_HZ * STEPS_PER_FIX)
        for number in range(int(self._length_s * FIX_RATE_HZ)):
            t_s = number / FIX_RATE_HZ
            fixes.append(self._fix(t_s, north_m, east_m))
            for step in range(STEPS_PER_FIX):
                speed_mps, heading, _, _ = self.motion(t_s + (step + 0.5) * step_s)
                north_m += speed_mps * step_s * math.cos(heading)
                east_m -= speed_mps * step_s * math.sin(heading)
        return fixes

    def _fix(self, t_s: float, north_m: float, east_m: float) -> Fix:
        speed_mps, heading, _, _ = self.motion(t_s)
        per_deg_east_m = METRES_PER_DEG * math.cos(math.radians(LATITUDE_DEG))
        return Fix(
            utc_ns=START_UTC_NS + round(t_s * 1e9),
            latitude_deg=LATITUDE_DEG + north_m / METRES_PER_DEG,
            longitude_deg=LONGITUDE_DEG + east_m / per_deg_east_m,
            altitude_m=ALTITUDE_M,
            speed_mps=speed_mps,
            course_deg=-math.degrees(heading) % 360,
            satellites=9,
            pdop=1.7,
            hdop=0.9,
            vdop=1.4,
        )


def _course(dice: random.Random) -> list[Phase]:
    """Drive streets until the time is up, from turn to turn, every third time with a stop."""
    phases: list[Phase] = []
    _append(phases, 3.0)
    while phases[-1].start_s < LENGTH_S:
        cruise_mps = dice.uniform(8.0, 14.0)
        _append(phases, dice.uniform(6.0, 9.0), faster_mps=cruise_mps - phases[-1].speed_mps)
        _append(phases, dice.uniform(4.0, 15.0))
        if dice.random() < 1 / 3:
            _append(phases, dice.uniform(6.0, 8.0), faster_mps=-cruise_mps)
            _append(phases, dice.uniform(2.0, 6.0))
            _append(phases, 4.0, faster_mps=TURN_MPS)
        else:
            _append(phases, dice.uniform(4.0, 6.0), faster_mps=TURN_MPS - cruise_mps)
        _append(phases, dice.uniform(3.0, 5.0), turned=dice.choice((-1, 1)) * math.pi / 2)
    _append(phases, 4.0, faster_mps=-TURN_MPS)
    return phases


def _append(
    phases: list[Phase], duration_s: float, faster_mps: float = 0.0, turned: float = 0.0
) -> None:
    last = phases[-1] if phases else Phase(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    phases.append(
        Phase(
            last.start_s + last.duration_s,
            duration_s,
            last.speed_mps + last.faster_mps,
            last.heading + last.turned,
            faster_mps,
            turned,
        )
    )
