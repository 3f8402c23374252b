"""Many simulated boots: how far is the published time from the true one, and what was promised.

A session is uploaded after its end in one go, or live in parts, each with what was known when it
was planned (`recorder.upload.frozen`). A time is published with its part's bound.

Live parts that leave while a source is wrong and nobody can know it (a receiver that has not heard
of leap seconds, an NTP before its step, weeks that roll over before another clock spoke) keep that
time: what follows is restated. Such boots are uploaded after their end here, as a recorder does
with `upload.mode = "after_close"`.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from recorder.time_model import TimeModel
from recorder.upload.frozen import Frozen
from tests.clock.boot import FAMILIES, FAULTS, FIRST_S, Boot, S, simulate

#: Samples of a boot, and the seconds that a live part spans.
SAMPLES, PART_S = 200, 120
UNKNOWABLE = ("leap seconds unknown", "ntp step", "week roll-over")
#: After a suspend and at a leap second nobody knows better than to a second for some seconds, and
#: the whole part states that bound: how tight bounds are is seen in the others.
CALM = tuple(one for one in FAULTS if one not in ("leap second", "suspend"))
#: What is promised.
LEAST_SHARE, MOST_RATIO = 0.999, 5.0


@dataclass
class Tally:
    """What was found, in ns; one entry for each sample with a published bound."""

    errors: list[int] = field(default_factory=list)
    bounds: list[int] = field(default_factory=list)
    boots: int = 0

    def add(self, other: Tally) -> None:
        self.errors += other.errors
        self.bounds += other.bounds
        self.boots += other.boots

    @property
    def share(self) -> float:
        """The share of samples whose error is within the bound."""
        inside = sum(error <= bound for error, bound in zip(self.errors, self.bounds, strict=True))
        return inside / len(self.errors) if self.errors else 1.0

    @property
    def ratio(self) -> float:
        """The mean bound over the 99.9th percentile of the error."""
        if not self.errors:
            return 0.0
        return sum(self.bounds) / len(self.bounds) / max(percentile(self.errors, 0.999), 1)


def percentile(values: list[int], share: float) -> int:
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


def judge(boot: Boot, seed: int) -> Tally:
    """Return errors and bounds of what is published of a boot."""
    chance = random.Random(seed + 1)
    is_live = boot.fault not in UNKNOWABLE and chance.random() < 0.5
    tally = Tally(boots=1)
    times = sorted(chance.uniform(FIRST_S, len(boot.boots) - 2) for _ in range(SAMPLES))
    awake = [
        (boot.at(one, boot.boots), boot.true_utc(one), one)
        for one in times
        if boot.is_awake[int(one)] and boot.is_awake[int(one) + 1]
    ]
    frozen = Frozen([])
    span_ns = PART_S * S if is_live else 1 << 62
    waiting: list[tuple[int, int, float]] = []
    groups = [list(group) for _, group in itertools.groupby(awake, lambda one: one[0] // span_ns)]
    for index, group in enumerate(groups):
        waiting += group
        is_last = index + 1 == len(groups)
        known = boot.anchors if is_last else boot.known_at(group[-1][2])
        model = TimeModel(known)
        if model.source in ("none", "rtc") and not is_last:
            continue  # it waits for a better time
        mapping = frozen.extended(model, waiting[0][0], waiting[-1][0])
        frozen.keep(mapping)
        if mapping.uncertainty_ns is not None:
            tally.errors += [abs(mapping.utc_ns(at) - true) for at, true, _ in waiting]
            tally.bounds += [mapping.uncertainty_ns] * len(waiting)
        waiting = []
    return tally


def run(boots: int, seed: int, fault: str = "") -> dict[tuple[str, str], Tally]:
    """Simulate and judge, each fault or one; return the tallies by family and fault."""
    found = {pair: Tally() for pair in itertools.product(FAMILIES, FAULTS)}
    for number in range(boots):
        boot = simulate(seed + number, fault)
        found[boot.family, boot.fault].add(judge(boot, seed + number))
    return found


def summed(
    found: dict[tuple[str, str], Tally],
    families: Sequence[str] = FAMILIES,
    faults: Sequence[str] = FAULTS,
) -> Tally:
    """Return all that is of some families and faults."""
    whole = Tally()
    for (family, fault), one in found.items():
        if family in families and fault in faults:
            whole.add(one)
    return whole


def broken(found: dict[tuple[str, str], Tally]) -> list[str]:
    """Return what of the promise does not hold."""
    whole = summed(found)
    wrong = []
    if whole.share < LEAST_SHARE:
        wrong.append(f"only {whole.share:.5f} of the samples are within their bound")
    for name, one in [("all", whole), *((one, summed(found, [one], CALM)) for one in FAMILIES)]:
        if one.ratio > MOST_RATIO:
            wrong.append(f"{name}: the bound is {one.ratio:.2f} times the error's percentile")
    return wrong
