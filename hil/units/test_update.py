"""An update while it records: one process after the other is exchanged, and the ledger says it."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from hil.figures import GAP_PERIODS, PASSED, Figures, of_recording
from hil.scenarios.recording import Recording
from hil.units.box import LANES, NAMES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from hil.scenarios.recording import Row
    from hil.units.box import Box

SPOOL = "var/lib/recorder/spool"
#: What a process that is exchanged may cost; anything else is a loss that nobody ordered.
CAUSES = {"lost_absent", "lost_source"}
#: Samples at the ends of pauses, and the share by which a chip's rate may not be the nominal one.
MOST_OFF, MOST_APART = 2, 0.02


@dataclass(frozen=True)
class Update:
    """What an update left.

    Args:
        recording: the spool.
        session_ids: of the sessions that it fell into.
        away: by lane, from when to when its process was exchanged, in ns of CLOCK_BOOTTIME.
    """

    recording: Recording
    session_ids: Sequence[str]
    away: Mapping[str, tuple[int, int]]

    def rows(self, lane: str) -> list[Row]:
        """Return what a lane recorded before, behind and meanwhile."""
        return [row for one in self.session_ids for row in self.recording.rows(lane, one)]

    def lost(self, lane: str) -> dict[str, int]:
        """Return what the ledgers say that a lane lost, by cause."""
        found: Counter[str] = Counter()
        for session_id in self.session_ids:
            for one in self.recording.session(session_id).lanes:
                found.update(one.lost if one.name == lane else {})
        return dict(found)


@pytest.fixture(scope="module")
def update(box: Box, debs: list[Path]) -> Update:
    """A box that recorded, was updated, recorded on, and was stopped."""
    box.configure(LANES + '[upload]\nmode = "off"\n')
    box.run("systemctl restart recorder-spool")
    is_recorded(box, "")
    first = box.sessions()[-1]["id"]
    box.install(debs[1])
    for lane in NAMES:
        box.until(f"systemctl show -P StatusText recorder-lane@{lane} | grep ^running")
    away = {lane: exchanged(box, f"recorder-lane@{lane}") for lane in NAMES}
    is_recorded(box, first)
    box.run("systemctl stop recorder.target 'recorder-*'")
    ids = [one["id"] for one in box.sessions()]
    return Update(Recording(box.root / SPOOL), ids[ids.index(first) :], away)


def is_recorded(box: Box, behind: str) -> None:
    """Wait until every lane has a segment in a session behind another one."""
    for lane in NAMES:
        newest = f"$(ls -d /{SPOOL}/sessions/* | grep -v '{behind or 'none'}' | tail -1)/{lane}"
        box.until(f"find {newest} -name '*.seg' -size +0 | grep .")
    time.sleep(3)  # several commits of each


def exchanged(box: Box, unit: str) -> tuple[int, int]:
    """Return from when to when a unit's process was away."""
    offset_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.monotonic_ns()
    begin_us, end_us = (
        int(box.show(unit, f"{one}TimestampMonotonic")) for one in ("ActiveExit", "ActiveEnter")
    )
    return begin_us * 1000 + offset_ns, end_us * 1000 + offset_ns


def test_the_newer_version_records_and_nothing_is_wrong_with_the_recording(
    box: Box, update: Update
) -> None:
    assert box.run("dpkg-query -f '${Version}' -W edge-recorder") == "0.1.1"
    assert len(box.run("ls /opt/recorder/versions").split()) == 1
    # Ledgers are compared with what the rows themselves say.
    assert update.recording.problems() == []
    sessions = [update.recording.session(one) for one in update.session_ids]
    assert [one.state.name for one in sessions] == ["closed", "closed"]


def test_one_lane_after_the_other_is_exchanged_while_the_others_record(update: Update) -> None:
    turns = sorted(update.away.items(), key=lambda one: one[1])
    for (_, (_, end_ns)), (_, (begin_ns, _)) in itertools.pairwise(turns):
        assert end_ns <= begin_ns
    for lane, (begin_ns, end_ns) in turns:
        for other in set(NAMES) - {lane}:
            stamps = [row.boot_ns for row in update.rows(other)]
            assert any(begin_ns <= one <= end_ns for one in stamps), f"{other} while {lane} was not"


@pytest.mark.parametrize("lane", NAMES)
def test_what_a_lane_missed_meanwhile_stands_in_its_ledger(update: Update, lane: str) -> None:
    rows, lost = update.rows(lane), update.lost(lane)
    assert set(lost) <= CAUSES, lost
    begin_ns, end_ns = update.away[lane]
    assert any(row.boot_ns < begin_ns for row in rows)
    assert any(row.boot_ns > end_ns for row in rows)
    numbers = [row.seqno for row in rows]
    # Every sample that had a number is there, over both sessions, each once.
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert abs(missing(rows, rate_hz(update, lane)) - sum(lost.values())) <= MOST_OFF + (
        MOST_APART * sum(lost.values())
    ), lost


def missing(rows: list[Row], rate_hz: float) -> int:
    """Return how many samples the long pauses between rows have room for; stamps jitter."""
    pauses = [(b.boot_ns - a.boot_ns) * rate_hz / 1e9 for a, b in itertools.pairwise(rows)]
    return sum(round(periods) - 1 for periods in pauses if periods > GAP_PERIODS)


def test_the_pauses_are_told(update: Update) -> None:
    lanes = of_recording(update.recording, NAMES, update.session_ids)
    told = [
        f"{lane}: exchanged in {(end - begin) / 1e9:.2f} s, longest pause"
        f" {max((long_s for _, long_s in lanes[lane].gaps), default=0):.2f} s,"
        f" lost {sum(update.lost(lane).values())}"
        for lane, (begin, end) in update.away.items()
    ]
    Figures(
        "update", "A newer package while it records.", "0.5", PASSED, 0.0, (), told, lanes
    ).write()


def rate_hz(update: Update, lane: str) -> float:
    (found,) = {
        one.rate_hz
        for session_id in update.session_ids
        for one in update.recording.session(session_id).lanes
        if one.name == lane
    }
    return found
