"""What a vehicle does, as its IMU feels it.

Three sources: `drivers.sim.drive.Drive` (a recorded drive), `drivers.sim.vehicle.Vehicle` (a small
model of a car in a town), and `Track` here (only a receiver's log is known).

Axes are the source's own. `Vehicle` and `Track` use x forward, y left, z up (ISO 8855), so that a
car at rest feels +9.80665 m/s^2 on z.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

G = 9.80665


class Sense(NamedTuple):
    """What an IMU feels: specific force in m/s^2, angular velocity in rad/s."""

    ax: float
    ay: float
    az: float
    wx: float
    wy: float
    wz: float


AT_REST = Sense(0.0, 0.0, G, 0.0, 0.0, 0.0)


class Motion(Protocol):
    """A source of motion."""

    def at(self, t_s: float) -> Sense:
        """Return what the IMU feels at a drive time >= 0; behind its end a source begins again."""


class Samples:
    """Motion given at instants, linear in between, and from its end on again from its beginning.

    Args:
        times_s: at least two instants, increasing, the first at 0.
        senses: what is felt at each.
    """

    def __init__(self, times_s: Sequence[float], senses: Sequence[Sense]) -> None:
        self._times_s = times_s
        self._senses = senses

    def at(self, t_s: float) -> Sense:
        """Interpolate between the two neighbours in time."""
        t_s %= self._times_s[-1]
        after = bisect_right(self._times_s, t_s)
        start_s, end_s = self._times_s[after - 1], self._times_s[after]
        weight = (t_s - start_s) / (end_s - start_s)
        pairs = zip(self._senses[after - 1], self._senses[after], strict=True)
        return Sense(*(old + weight * (new - old) for old, new in pairs))


class Track(Samples):
    """Motion of a car of which only speed and course are known, by central differences.

    Forward acceleration is the change of speed, lateral acceleration speed times turn rate,
    gravity is on z; the road is flat, and the car neither leans nor vibrates.

    Args:
        points: drive time in s, speed in m/s and course in deg; times that do not increase are
            passed over.
    """

    def __init__(self, points: Sequence[tuple[float, float, float]]) -> None:
        line: list[tuple[float, float, float]] = []
        for point in points:
            if not line or point[0] > line[-1][0]:
                line.append(point)
        inner = [
            (here[0], _between(before, here, after))
            for before, here, after in zip(line, line[1:], line[2:], strict=False)
        ]
        times_s, senses = zip(*[(0.0, AT_REST), *inner, (_end_s(line), AT_REST)], strict=True)
        super().__init__(times_s, senses)


def _end_s(line: Sequence[tuple[float, float, float]]) -> float:
    return line[-1][0] if line and line[-1][0] > 0 else 1.0


def _between(
    before: tuple[float, float, float],
    here: tuple[float, float, float],
    after: tuple[float, float, float],
) -> Sense:
    step_s = after[0] - before[0]
    turned_deg = (after[2] - before[2] + 180) % 360 - 180
    turn_rate = -math.radians(turned_deg) / step_s  # courses grow clockwise, z points up
    return Sense((after[1] - before[1]) / step_s, here[1] * turn_rate, G, 0.0, 0.0, turn_rate)
