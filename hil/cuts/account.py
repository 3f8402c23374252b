"""What lies on the disk behind a cut, and what it should be.

Nobody stands beside the lanes in the machine; but what one cut lost another one still had. So all
cuts together say what was recorded, and each is held against that: by the watermarks that the
machine published before it, and by what the recovered spool says of itself.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hil.scenarios.judge import TRUTHS
from hil.scenarios.recording import Recording
from recorder import record
from recorder.spool.names import epoch_of
from recorder.spool.spool import Spool
from tests.powercut.judge import Verdict
from tests.powercut.survey import Survey
from tests.recorder.spool.independent_reader import read_segment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from hil.cuts.drive import Drive, Look

#: Lane, ring epoch, number of the first sample.
Key = tuple[str, int, int]


@dataclass(frozen=True)
class Rows:
    """One record with samples.

    Args:
        session_id: of the session in which it lies.
        file: the segment.
        end_bytes: where it ends in that.
        rows: how many.
        crc: CRC-32 of its payload.
        boot_ns: of the first.
    """

    session_id: str
    file: str
    end_bytes: int
    rows: int
    crc: int
    boot_ns: int


@dataclass
class Found:
    """What a spool holds.

    Args:
        rows: every record, by lane, epoch and number.
        doubled: rows that are there twice.
        unaccounted: rows that are there or missing against what the ledgers and tombstones say.
        told: by lane, rows that the ledgers know to be lost between others.
        stones: by lane, first and last segment that a tombstone gave up.
        problems: what is wrong with it.
        is_torn: whether a torn tail was there to be cut.
    """

    rows: dict[Key, Rows] = field(default_factory=dict)
    doubled: int = 0
    unaccounted: int = 0
    told: dict[str, int] = field(default_factory=dict)
    stones: list[tuple[str, str, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    is_torn: bool = False

    def is_evicted(self, lane: str, file: str) -> bool:
        """Tell whether a segment was given up with a tombstone."""
        return any(
            lane == its and first <= file <= last and epoch_of(first) == epoch_of(file)
            for its, first, last in self.stones
        )


def look(directory: Path) -> Found:
    """Read a spool.

    Args:
        directory: the folder with the file ``FORMAT``; if it is not there, nothing was recorded.
    """
    found = Found()
    if not (directory / "FORMAT").exists():
        return found
    spool, survey = Spool(directory), Survey.of(directory)
    found.problems += survey.problems
    for session_id in spool.session_ids():
        _read(found, spool, session_id)
    for lane in survey.stored:
        _hold_against_ledgers(found, survey, lane)
    return found


def _read(found: Found, spool: Spool, session_id: str) -> None:
    """Add what a session has."""
    for lane in spool.lanes(session_id):
        for path in sorted((spool.session_dir(session_id) / lane).glob("*.seg")):
            for key, one in _rows(session_id, lane, path):
                found.doubled += one.rows if key in found.rows else 0
                found.rows[key] = one
    for entry in spool.entries(session_id):
        if entry["entry"] == "evicted":
            last = entry.get("last_file", entry["file"])
            found.stones.append((entry["lane"], entry["file"], last))


def _rows(session_id: str, lane: str, path: Path) -> Iterator[tuple[Key, Rows]]:
    segment = read_segment(path)
    for one in segment.records if segment is not None else ():
        if one.kind == record.DATA:
            end = one.offset + record.HEADER_BYTES + len(one.payload)
            facts = (one.rows, zlib.crc32(one.payload), one.times[0])
            yield (lane, one.epoch, one.seqno), Rows(session_id, path.name, end, *facts)


def _hold_against_ledgers(found: Found, survey: Survey, lane: str) -> None:
    """Count the rows of which ledgers, tombstones and segments do not say the same."""
    ledgers = [
        one for session in survey.sessions.values() for one in session.lanes if one.name == lane
    ]
    there = sum(one.rows for one in survey.stored[lane])
    stones = survey.tombstones.get(lane, [])
    gone = sum(one.rows for one in stones if one.is_gone)
    alive = sum(one.rows for one in stones if not one.is_gone)
    found.told[lane] = sum(one.lost_crc for one in ledgers)
    stored = sum(one.stored for one in ledgers)
    ends: dict[int, int] = {}
    for (its, epoch, seqno), one in found.rows.items():
        if its == lane:
            ends[epoch] = max(ends.get(epoch, 0), seqno + one.rows)
    beyond = max(sum(ends.values()) - sum(one.acquired for one in ledgers), 0)
    found.unaccounted += abs(stored - there - gone - found.told[lane]) + alive + beyond


def known(spools: Sequence[Found]) -> dict[Key, Rows]:
    """Return everything that was recorded, by all cuts together."""
    everything: dict[Key, Rows] = {}
    for one in spools:
        everything |= one.rows
    return everything


def judge(found: Found, everything: Mapping[Key, Rows], drive: Drive, at: int) -> Verdict:
    """Hold what lies behind a cut against what was promised before it.

    Args:
        found: what lies there.
        everything: that was recorded.
        drive: what was promised when.
        at: behind how many requests the cut is.
    """
    verdict = Verdict(doubled=found.doubled, unaccounted=found.unaccounted, is_torn=found.is_torn)
    verdict.problems += found.problems
    missing = {
        key: one
        for key, one in everything.items()
        if key not in found.rows and not found.is_evicted(key[0], one.file)
    }
    due = drive.due(at)
    waters = {one.session_id: one for one in due}  # the last of each
    verdict.lost = sum(one.rows for key, one in missing.items() if _is_due(key[0], one, waters))
    verdict.wrong = sum(
        one.rows for key, one in found.rows.items() if one.crc != everything[key].crc
    )
    verdict.unaccounted += _holes(missing, found)
    cut_ns = drive.cut_ns(at)
    acquired = [one.boot_ns for one in missing.values() if one.boot_ns < cut_ns]
    verdict.loss_ns = cut_ns - min(acquired, default=cut_ns)
    verdict.promised_ns = drive.promised_ns(at)
    for what in ("lost", "doubled", "wrong", "unaccounted"):
        if rows := getattr(verdict, what):
            verdict.problems.append(f"{rows} rows are {what}")
    return verdict


def _is_due(lane: str, one: Rows, waters: Mapping[str, Look]) -> bool:
    """Tell whether the last watermark of a record's session said that it is durable."""
    water = waters.get(one.session_id)
    if water is None or lane not in water.ends:
        return False
    name, end_bytes = water.ends[lane]
    if one.file == name:
        return one.end_bytes <= end_bytes
    return epoch_of(one.file) == epoch_of(name) and one.file < name


def _holes(missing: Mapping[Key, Rows], found: Found) -> int:
    """Return how many rows are missing between others of the same ring, and no ledger knows."""
    last: dict[tuple[str, int], int] = {}
    for lane, epoch, seqno in found.rows:
        last[lane, epoch] = max(last.get((lane, epoch), 0), seqno)
    holes = dict.fromkeys(found.told, 0)
    for (lane, epoch, seqno), one in missing.items():
        if seqno < last.get((lane, epoch), 0):
            holes[lane] += one.rows
    return sum(max(rows - found.told[lane], 0) for lane, rows in holes.items())


def untrue(directory: Path, sensors: Mapping[str, Any]) -> list[str]:
    """Return what lies in a spool and is not what the sensors' models gave, in their order."""
    recording = Recording(directory)
    problems = recording.problems()
    for lane, sensor in sensors.items():
        rows = [row for one in recording.session_ids for row in recording.rows(lane, one)]
        if not rows:
            problems.append(f"{lane}: nothing was recorded")
        problems += [f"{lane}: {text}" for text in TRUTHS[lane](rows, sensor)]
    return problems
