"""Scenarios of the box: all sensors at once, its clock, its disk, its processes."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from hil.scenarios.boot import Boot
from hil.scenarios.of_gps import LATE
from hil.scenarios.of_imu import LONG
from hil.scenarios.scenario import (
    NOTHING,
    SOME,
    Scenario,
    command,
    over,
    pause,
    plug,
    pull,
    records,
    recovers,
    signal,
)
from hil.vm.machine import Machine

if TYPE_CHECKING:
    from hil.scenarios.bench import Bench
    from hil.scenarios.recording import Recording

ALL = ("gps", "imu", "camera")
#: What is left of the disk, by one file that takes the rest.
FILL = "fallocate -l $(df --output=avail -B1 /var/lib/recorder | tail -1) /var/lib/fill"


KILL_SPOOL = (
    "systemctl kill --signal=KILL recorder-spool;"
    " while sleep 1; do systemctl -q is-active recorder-spool && break; done"
)
MOST_OFF_NS = 1_000_000_000


def was_killed_by_its_watchdog(_: Recording, bench: Bench) -> None:
    """The journal says so."""
    said = bench.machine.run("journalctl --no-pager -u recorder-lane@imu")
    assert "Watchdog timeout" in said, said


def knew_the_time(recording: Recording, bench: Bench) -> None:
    """The session's time is the receiver's, although the box began with another."""
    session = recording.session(recording.session_ids[-1])
    row = recording.rows("gps")[0]
    begun_ns = session.start_boot_ns
    assert begun_ns is not None
    assert session.start_utc_ns is not None
    right_ns = row.values["utc_ns"] - (row.boot_ns - begun_ns)
    assert abs(session.start_utc_ns - right_ns) < MOST_OFF_NS, session.clock_source
    firsts_ns = [recording.ledger(lane).first_boot_ns or 0 for lane in ALL]
    assert isinstance(bench.machine, Machine)  # its clock is QEMU's: no rig plays this
    bench.told += Boot.of(bench.machine, min(firsts_ns) / 1e9).tells()
    bench.told.append(f"time by {session.clock_source}")


def knew_spans(recording: Recording, bench: Bench) -> None:
    """The time is right, and no span was ever measured by the wrong clock."""
    knew_the_time(recording, bench)
    rows = recording.rows("gps")
    for one, two in itertools.pairwise(rows):
        lag_ns = (two.boot_ns - one.boot_ns) - (two.values["utc_ns"] - one.values["utc_ns"])
        assert abs(lag_ns) < MOST_OFF_NS, f"rows {one.seqno} and {two.seqno} are {lag_ns} ns off"
    span_ns = rows[-1].boot_ns - rows[0].boot_ns
    assert abs(span_ns - (rows[-1].values["utc_ns"] - rows[0].values["utc_ns"])) < MOST_OFF_NS
    every = [row.boot_ns for lane in ALL for row in recording.rows(lane)]
    session = recording.session(recording.session_ids[-1])
    assert session.duration_ns == max(every) - min(every)


SCENARIOS = (
    Scenario(
        "box-cold-boot",
        "Power comes on with everything plugged in and a clock that is years behind.",
        (records(*ALL), pause(15), records(*ALL)),
        lost={
            "gps": LATE,
            "imu": {"lost_source": (0, 1000)},
            "camera": NOTHING,
        },
        shows=knew_the_time,
        is_short=True,
        is_cold=True,
        power_on=("-rtc", "base=2021-01-01T00:00:00"),
    ),
    Scenario(
        "box-wrong-clock",
        "A clock that is years ahead costs nothing: spans are right at once, times with the fix.",
        (records(*ALL), pause(15), records(*ALL)),
        lost={
            "gps": LATE,
            "imu": {"lost_source": (0, 1000)},
            "camera": NOTHING,
        },
        shows=knew_spans,
        is_cold=True,
        power_on=("-rtc", "base=2031-06-01T00:00:00"),
    ),
    Scenario(
        "box-all",
        "Three sensors at once; each is pulled while the others record, and disturbs none of them.",
        (
            *(plug(*ALL), records(*ALL)),
            *(pull("gps"), plug("gps"), recovers("gps", "gps")),
            *(pull("imu"), plug("imu"), recovers("imu", "imu")),
            *(pull("camera"), plug("camera"), recovers("camera", "camera")),
            records(*ALL),
        ),
        lost={
            # While it takes a device away, an emulated machine fetches nothing else for long.
            "gps": {"lost_absent": SOME, "lost_source": (0, 100)},
            "imu": {"lost_absent": SOME, "lost_source": (0, 1000)},
            "camera": {"lost_absent": SOME, "lost_broken": (0, 1)},
        },
    ),
    Scenario(
        "box-clock-step",
        "Somebody sets the clock back by an hour: the samples' own time goes on.",
        (
            *(plug("imu"), records("imu", rows=100)),
            command('date --set="1 hour ago"'),
            records("imu", rows=500),
        ),
        lost={"imu": NOTHING},
    ),
    Scenario(
        "box-hung-lane",
        "A lane that hangs is killed by its watchdog, and its successor counts what it missed.",
        (
            *(plug("imu"), records("imu", rows=LONG), signal("imu", "STOP"), over),
            recovers("imu", "hung process, its watchdog's 15 s included", rows=LONG),
        ),
        lost={"imu": {"lost_absent": SOME, "lost_source": (0, 10_000)}},
        shows=was_killed_by_its_watchdog,
    ),
    Scenario(
        "box-killed-spool",
        "A spool that is killed goes on where it was, and nothing is lost meanwhile.",
        (
            *(plug("imu"), records("imu", rows=100)),
            command(KILL_SPOOL),
            records("imu", rows=500),
        ),
        lost={"imu": NOTHING},
    ),
    Scenario(
        "box-disk-full",
        "A full disk costs nothing as long as the rings have room.",
        (
            *(plug("imu"), records("imu", rows=100), command(FILL), records("imu", rows=500)),
            *(command("rm /var/lib/fill"), pause(5), records("imu", rows=500)),
        ),
        lost={"imu": NOTHING},
    ),
)
