"""A boot as it might have been: true time, the machine's clocks, and what its sources said.

Everything is drawn from one seed. True time is what POSIX calls UTC. The oscillator is off by up to
50 ppm and wanders with the temperature; CLOCK_MONOTONIC_RAW counts it; CLOCK_BOOTTIME counts it
too, slewed by NTP where there is one, and goes on in a suspend by what a clock of whole seconds
told the kernel.

What it does not simulate: sources that lie about their bounds for good (a receiver whose delay is
more than its driver claims), readings of two clocks that are milliseconds apart, chrony's slews of
more than 500 ppm, and a host whose oscillator is broken.
"""

from __future__ import annotations

import bisect
import calendar
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from recorder.record import Anchor

__all__ = ["FAMILIES", "FAULTS", "Boot", "simulate"]

MS, S = 1_000_000, 1_000_000_000
#: What there is in the vehicle.
FAMILIES = ("gps", "pps", "ntp", "rtc", "gps and ntp", "gps and rtc", "none")
#: What goes wrong beside the outliers that every receiver has.
FAULTS = (
    "nothing",
    "late first fix",
    "no fix in tunnels",
    "week roll-over",
    "leap seconds unknown",
    "leap second",
    "ntp step",
    "suspend",
)
#: What the drivers and the spool's process claim, see `drivers.nmea_gps`, `drivers.pps` and
#: `recorder.system_time`.
GPS_NS, PPS_NS, NTP_NS, RTC_NS = 100 * MS, 20_000, 30 * MS, 60 * S
WEEKS_1024 = 1024 * 7 * 86_400 * S
#: The spool's process begins so long after the kernel, and reads the clocks so often.
FIRST_S, EVERY_S = 8, 10


@dataclass
class Boot:
    """A simulated boot.

    Args:
        family: what there is in the vehicle.
        fault: what goes wrong.
        utc_ns: true time at each second of true time since the kernel's start.
        boots: CLOCK_BOOTTIME then.
        raws: CLOCK_MONOTONIC_RAW then.
        is_awake: whether the machine ran.
        anchors: what was said, in order of time.
        leap_s: a leap second was put in at this second, or None.
    """

    family: str
    fault: str
    utc_ns: list[int] = field(default_factory=list)
    boots: list[int] = field(default_factory=list)
    raws: list[int] = field(default_factory=list)
    is_awake: list[bool] = field(default_factory=list)
    anchors: list[Anchor] = field(default_factory=list)
    leap_s: int | None = None

    def at(self, true_s: float, of: list[int]) -> int:
        """Return what a clock shows at a time of day between two seconds."""
        index = min(int(true_s), len(of) - 2)
        return of[index] + round((of[index + 1] - of[index]) * (true_s - index))

    def true_utc(self, true_s: float) -> int:
        index = min(int(true_s), len(self.utc_ns) - 1)
        return self.utc_ns[index] + round((true_s - index) * S)

    def known_at(self, true_s: float) -> list[Anchor]:
        """Return the anchors that were there at a time, and both clocks as they are read then."""
        boot, raw = self.at(true_s, self.boots), self.at(true_s, self.raws)
        end = bisect.bisect_right(self.anchors, boot, key=lambda one: one.boot_ns)
        return [*self.anchors[:end], Anchor(boot, raw, 0, 0, "none")]


def simulate(seed: int, fault: str = "") -> Boot:
    """Make the boot of a seed, with a fault of its choice if none is asked for."""
    chance = random.Random(seed)
    family = chance.choice(FAMILIES)
    fault = fault or chance.choice(FAULTS)
    boot = Boot(family, fault)
    seconds = chance.randrange(900, 5400)
    _run_clocks(boot, chance, seconds)
    _speak(boot, chance, seconds)
    boot.anchors.sort(key=lambda one: one.boot_ns)
    return boot


def _run_clocks(boot: Boot, chance: random.Random, seconds: int) -> None:
    if boot.fault == "leap second":
        boot.leap_s = chance.randrange(200, seconds - 200)
        begin = calendar.timegm((2030, 7, 1, 0, 0, 0)) * S - boot.leap_s * S
    else:
        begin = chance.randrange(1_780_000_000, 1_890_000_000) * S
    asleep = range(0)
    if boot.fault == "suspend":
        asleep_from = chance.randrange(200, seconds - 400)
        asleep = range(asleep_from, asleep_from + chance.randrange(5, 200))
    wrong_by_rtc = chance.randrange(-S, S) if asleep else 0
    drift = _oscillator(chance)
    slew = _slewing(boot, chance, seconds)
    raw, boottime = chance.randrange(S, 9 * S), chance.randrange(S, 2 * S)
    for second in range(seconds):
        leap = S if boot.leap_s is not None and second > boot.leap_s else 0
        boot.utc_ns.append(begin + second * S - leap)
        boot.boots.append(boottime)
        boot.raws.append(raw)
        boot.is_awake.append(second not in asleep)
        passed = round(S * (1 + drift(second) * 1e-6))
        raw += passed if second not in asleep else 0
        boottime += passed + round(slew(second) * 1000) if second not in asleep else S
        if asleep and second == asleep[-1]:
            boottime += max(wrong_by_rtc, -(len(asleep) - 1) * S)


def _oscillator(chance: random.Random) -> Callable[[int], float]:
    """Return how many ppm an oscillator is off, by second: within 50, and with the temperature."""
    warms_ppm, warms_s = chance.uniform(-5, 5), chance.uniform(300, 1800)
    sways_ppm, sways_s = chance.uniform(0, 3), chance.uniform(600, 3600)
    mean_ppm = chance.uniform(-42, 42)
    phase = chance.uniform(0, 6.3)
    return lambda second: (
        mean_ppm
        + warms_ppm * math.exp(-second / warms_s)
        + sways_ppm * math.sin(second / sways_s * 6.28 + phase)
    )


def _slewing(boot: Boot, chance: random.Random, seconds: int) -> Callable[[int], float]:
    """Return by how many ppm NTP slews boot time, by second."""
    if "ntp" not in boot.family:
        return lambda _: 0.0
    begin = chance.randrange(20, seconds // 2)
    end = begin + chance.randrange(1, 600)
    phase_ppm, rate_ppm = chance.choice((-500.0, 500.0)), chance.uniform(-50, 50)
    return lambda second: (
        (phase_ppm if begin <= second < end else 0.0) + (rate_ppm if second >= begin else 0.0)
    )


@dataclass
class Voice:
    """One source: by how much it is off at a second, what it claims, and when it speaks."""

    source: str
    off_ns: Callable[[int], int]
    bound_ns: int
    begin_s: int
    end_s: int = 1 << 30


def _speak(boot: Boot, chance: random.Random, seconds: int) -> None:
    for second in (*range(FIRST_S, seconds - 2, EVERY_S), seconds - 2):
        if boot.is_awake[second]:
            _say(boot, chance, second, Voice("none", lambda _: 0, 0, 0))
    voices = []
    if "rtc" in boot.family:
        voices.append(Voice("rtc", _rtc(chance), RTC_NS, FIRST_S))
    if "ntp" in boot.family:
        voices.append(Voice("ntp", _ntp(boot, chance, seconds), NTP_NS, chance.randrange(8, 90)))
    if "gps" in boot.family or boot.family == "pps":
        fix_s = (
            chance.randrange(60, 600) if boot.fault == "late first fix" else chance.randrange(60)
        )
        pulse_s = fix_s + chance.randrange(60) if boot.family == "pps" else seconds
        voices.append(Voice("gps", _gps(boot, chance, seconds, fix_s), GPS_NS, fix_s, pulse_s))
        pulses = _with_faults(boot, chance, seconds, lambda _: chance.randrange(0, 15_000), fix_s)
        voices.append(Voice("pps", pulses, PPS_NS, pulse_s))
    for one in voices:
        _say_all(boot, chance, one)


def _say_all(boot: Boot, chance: random.Random, voice: Voice) -> None:
    tunnels = [chance.randrange(len(boot.boots)) for _ in range(3)]
    has_tunnels = boot.fault == "no fix in tunnels" and voice.source in ("gps", "pps")
    for second in range(voice.begin_s, min(voice.end_s, len(boot.boots) - 2), EVERY_S):
        if has_tunnels and any(0 <= second - one < 300 for one in tunnels):
            continue
        if boot.is_awake[second] and boot.is_awake[second - 1]:
            _say(boot, chance, second + chance.random() * 0.5, voice)


def _say(boot: Boot, chance: random.Random, true_s: float, voice: Voice) -> None:
    at = boot.at(true_s, boot.boots)
    raw = boot.at(true_s, boot.raws) + chance.randrange(-2000, 2000)
    utc_ns = boot.true_utc(true_s) + voice.off_ns(int(true_s))
    boot.anchors.append(Anchor(at, raw, utc_ns, voice.bound_ns, voice.source))


def _rtc(chance: random.Random) -> Callable[[int], int]:
    off_ns = chance.randrange(-52 * S, 52 * S)
    return lambda _: off_ns + chance.randrange(-S // 2, S // 2)


def _ntp(boot: Boot, chance: random.Random, seconds: int) -> Callable[[int], int]:
    off_ns, sways_ns = chance.randrange(-15 * MS, 15 * MS), chance.randrange(10 * MS)
    step_s = chance.randrange(60, seconds * 3 // 4) if boot.fault == "ntp step" else 0
    step_ns = chance.choice((-1, 1)) * chance.randrange(S // 5, 100 * S)
    return lambda second: (
        off_ns + round(sways_ns * math.sin(second / 500)) + (step_ns if second < step_s else 0)
    )


def _gps(boot: Boot, chance: random.Random, seconds: int, fix_s: int) -> Callable[[int], int]:
    """Return by how much a receiver without a pulse is off: late, and sometimes nonsense."""
    delay_ns = chance.randrange(5 * MS, 85 * MS)

    def off(_: int) -> int:
        if chance.random() < 0.01:  # the process was held up, or the sentence was an old one
            return -chance.randrange(50 * MS, 3 * S)
        return -delay_ns - min(round(chance.expovariate(1 / (3 * MS))), 15 * MS)

    return _with_faults(boot, chance, seconds, off, fix_s)


def _with_faults(
    boot: Boot, chance: random.Random, seconds: int, off: Callable[[int], int], fix_s: int
) -> Callable[[int], int]:
    """Add what a receiver gets wrong by itself."""
    if boot.fault == "week roll-over":
        others = "ntp" in boot.family or "rtc" in boot.family
        from_s = 0 if others and chance.random() < 0.5 else chance.randrange(fix_s + 60, seconds)
        return lambda second: off(second) - (WEEKS_1024 if second >= from_s else 0)
    if boot.fault == "leap seconds unknown":
        # The almanac says it within 12.5 minutes.
        until_s = fix_s + chance.randrange(20, 750)
        leaps = chance.choice((-2, -1, 1, 2, 3))
        until_s = min(until_s, seconds - 60)
        return lambda second: off(second) + (leaps * S if second < until_s else 0)
    return off
