"""The receiver's scenarios."""

from __future__ import annotations

import itertools
import math
import statistics
from typing import TYPE_CHECKING

from drivers.pps import USB_UNCERTAINTY_NS
from hil.scenarios.devices import Gps, drive
from hil.scenarios.scenario import (
    SOME,
    Scenario,
    fault,
    over,
    pause,
    plug,
    pull,
    records,
    recovers,
)
from hil.vm.ready import SETTINGS

if TYPE_CHECKING:
    from hil.scenarios.bench import Bench
    from hil.scenarios.recording import Recording

HOUR_S = 3600
NO_FIX_S = 25.0
#: An emulated processor does not always fetch the adapter's 384 bytes in time.
LATE = {"lost_source": (0, 8)}
PULSE_AHEAD_NS = 200_000_000
SETTINGS_PPS = SETTINGS.replace('driver = "nmea_gps"\n', 'driver = "nmea_gps"\npps = "/dev/pps0"\n')
NOISE = bytes(range(128, 256)) * 20


def has_no_stale_place(recording: Recording, _: Bench) -> None:
    """Rows without a fix have no place, and are counted; rows with one follow."""
    rows = recording.rows("gps")
    without = [row for row in rows if math.isnan(row.values["position.x"])]
    assert without, "there was no row without a fix"
    assert without != rows, "there was no row with a fix"
    assert {row.values["status.status"] for row in without} == {0}
    assert recording.ledger("gps").invalid == len(without)


def jumped(recording: Recording, _: Bench) -> None:
    """The receiver's time jumped by an hour, and the rows' own went on."""
    rows = recording.rows("gps")
    pairs = list(itertools.pairwise(rows))
    assert any(b.values["utc_ns"] - a.values["utc_ns"] > 3_000 * 10**9 for a, b in pairs)
    assert all(0 < b.boot_ns - a.boot_ns < 10**10 for a, b in pairs)


def pulse_device(bench: Bench) -> None:
    """Give the adapter's line the discipline that makes a PPS device of its carrier detect."""
    bench.machine.until("test -c /dev/ttyUSB0")
    bench.machine.run("ldattach PPS /dev/ttyUSB0")
    bench.machine.until("test -c /dev/pps0")


def has_pulses(bench: Bench) -> None:
    """Wait until the kernel has stamped pulses."""
    bench.machine.until("grep -q '#[1-9]' /sys/class/pps/pps0/assert")
    bench.told.append(bench.machine.run("cat /sys/class/pps/pps0/path").strip())


def is_told_by_pulses(recording: Recording, bench: Bench) -> None:
    """Anchors rest on the pulse once there is one, and rows then stand at their instants."""
    anchors = recording.anchors("gps")
    sources = [one.source for one in anchors]
    assert sources[0] == "gps", sources
    begin = sources.index("pps")
    bounds_ns = {one.uncertainty_ns // USB_UNCERTAINTY_NS for one in anchors if one.source == "pps"}
    assert bounds_ns == {1}, bounds_ns
    leads_ns: dict[bool, list[int]] = {True: [], False: []}
    for row in recording.rows("gps"):
        is_by_pulse = row.boot_ns >= anchors[begin].boot_ns
        leads_ns[is_by_pulse].append(row.boot_ns - row.values["utc_ns"])
    middle_ns = {by: statistics.median(found) for by, found in leads_ns.items()}
    ahead_ns = middle_ns[False] - middle_ns[True]
    # The emulation is late with bytes and pulses alike; without the pulse it would be 0.
    assert ahead_ns > PULSE_AHEAD_NS / 2, ahead_ns
    bench.told.append(f"{sources.count('pps')} of {len(sources)} anchors by pulse")
    for by, name in ((False, "first bytes"), (True, "the pulse")):
        off_ns = sorted(abs(one - middle_ns[by]) for one in leads_ns[by])
        half, most = off_ns[len(off_ns) // 2] / 1e6, off_ns[-1] / 1e6
        bench.told.append(f"rows by {name} off their line by {half:.1f} ms, {most:.1f} at most")
    bench.told.append(f"instants {ahead_ns / 1e6:.0f} ms before first bytes")


SCENARIOS = (
    Scenario(
        "gps-replug",
        "A receiver that is pulled and plugged in again goes on, and what it missed is counted.",
        (plug("gps"), records("gps"), pull("gps"), pause(2), plug("gps"), recovers("gps", "plug")),
        lost={"gps": {"lost_absent": SOME, **LATE}},
        is_short=True,
    ),
    Scenario(
        "gps-slow-line",
        "The speed of a line at 38,400 baud is found.",
        (plug("gps"), recovers("gps", "plug")),
        lost={"gps": LATE},
        sensors={"gps": lambda folder: Gps(folder, drive(), 38_400)},
    ),
    Scenario(
        "gps-other-speed",
        "A receiver whose line changes its speed is found again, and nothing of the noise is kept.",
        (
            plug("gps"),
            records("gps"),
            fault("gps", lambda gps: gps.change_speed(38_400)),
            recovers("gps", "other speed"),
        ),
        lost={"gps": {"lost_absent": (0, 600), "lost_broken": (0, 600), "lost_source": (0, 600)}},
    ),
    Scenario(
        "gps-garbage",
        "Noise between sentences costs at most the epoch in which it stands.",
        (
            plug("gps"),
            records("gps"),
            fault("gps", lambda gps: gps.receiver.fault("garbage", data=NOISE)),
            records("gps"),
            fault("gps", lambda gps: gps.receiver.fault("flip")),
            recovers("gps", "garbage"),
        ),
        lost={"gps": {"lost_broken": (0, 4), "lost_source": (0, 4)}},
        is_short=True,
    ),
    Scenario(
        "gps-silence",
        "A receiver that is silent for four seconds is no device that is gone.",
        (
            plug("gps"),
            records("gps"),
            fault("gps", lambda gps: gps.receiver.fault("silence", seconds=4)),
            pause(4),
            over,
            recovers("gps", "silence", rows=30),
        ),
        lost={"gps": {"lost_absent": (30, 50), **LATE}},
    ),
    Scenario(
        "gps-no-fix",
        "Without a fix there is a sample without a place, and never the last place again.",
        (plug("gps"), records("gps", rows=250)),
        lost={"gps": LATE},
        sensors={"gps": lambda folder: Gps(folder, drive(no_fix_s=NO_FIX_S))},
        shows=has_no_stale_place,
        is_short=True,
    ),
    Scenario(
        "gps-time-jump",
        "The receiver's time jumps by an hour: every epoch is kept, in the order in which it came.",
        (plug("gps"), records("gps", rows=250)),
        lost={"gps": {"lost_source": (0, HOUR_S * 10)}},
        sensors={"gps": lambda folder: Gps(folder, drive(jump_s=HOUR_S, at_s=NO_FIX_S))},
        shows=jumped,
    ),
    Scenario(
        "gps-pulse",
        "A second pulse that comes while it records tells the instants from then on.",
        (
            *(plug("gps"), records("gps", rows=100), pulse_device, has_pulses),
            records("gps", rows=400),
        ),
        lost={"gps": LATE},
        sensors={"gps": lambda folder: Gps(folder, drive(), pulse_ahead_ns=PULSE_AHEAD_NS)},
        settings=SETTINGS_PPS,
        shows=is_told_by_pulses,
    ),
)
