"""Every byte of a small spool is cut off and flipped in turn; what is left is known beforehand.

A sample of it runs in the suite, always the same one; a number in ``RECORDER_EVERY_BYTE`` is the
seed of another. ``RECORDER_EVERY_BYTE=all`` takes every offset and every bit where segments are
read (some minutes), and every offset and one bit of each byte where a spool is recovered (half an
hour; give pytest a ``--timeout``).
"""

from __future__ import annotations

import itertools
import os
import random
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from recorder import record
from recorder.errors import DamagedError, SpoolError, SpoolFormatError
from recorder.session.ledger import LaneLedger
from recorder.session.session import Session
from recorder.spool.findings import LaneCheck
from recorder.spool.reader import read_from
from recorder.spool.recording import Recording
from recorder.spool.recover import contents
from recorder.spool.segment import Hole
from recorder.spool.spool import Spool
from recorder.spool.takeover import left_running
from recorder.spool.verify import verify
from recorder.spool.watermark import durable
from tests.recorder.spool.independent_reader import read_segment
from tests.recorder.spool.make_golden import (
    SEGMENT_BYTES,
    SESSIONS,
    Made,
    Put,
    journal_lines,
    make,
    used_bytes,
)

WISH = os.environ.get("RECORDER_EVERY_BYTE", "4")
IS_ALL = WISH == "all"
SEED = 4 if IS_ALL else int(WISH)
#: In one test of the suite: wounds of segments that are only read, and recoveries of a whole spool.
SEGMENT_SAMPLE, SAMPLE = 1000, 100
#: Above this, one bit of each byte is enough.
LARGE_BYTES = 65_536
LANES = ("cam", "imu")
Place = tuple[int, Put]


@dataclass(frozen=True)
class Wound:
    """One file, cut at an offset or with one bit flipped there."""

    name: str
    at: int
    bit: int | None

    def of(self, raw: bytes) -> bytes:
        if self.bit is None:
            return raw[: self.at]
        return raw[: self.at] + bytes([raw[self.at] ^ 1 << self.bit]) + raw[self.at + 1 :]

    def spares(self, begin: int, end: int) -> bool:
        return end <= self.at or (self.bit is not None and self.at < begin)


def wounds(name: str, raw: bytes, *, every_bit: bool = False) -> Iterator[Wound]:
    """Yield every cut of a file, and flips of one bit of each byte or of all eight."""
    chance = random.Random(f"{SEED} {name}")
    for at in range(len(raw)):
        yield Wound(name, at, None)
        for bit in range(8) if every_bit and len(raw) <= LARGE_BYTES else [chance.randrange(8)]:
            yield Wound(name, at, bit)


def some(made: Made, names: list[str], count: int, *, every_bit: bool = False) -> list[Wound]:
    """Return a sample of the wounds of some files, or all of them where all are wished for."""
    files = [(name, made.files[name]) for name in names]
    found = [one for file in files for one in wounds(*file, every_bit=every_bit and IS_ALL)]
    return found if IS_ALL or len(found) <= count else random.Random(SEED).sample(found, count)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(tmp_path_factory.mktemp("every-byte"))


def survivors(made: Made, name: str, wound: Wound, *, is_in_place: bool = True) -> list[Place]:
    """Return the records of a segment that a wound does not touch.

    Args:
        made: the spool.
        name: the segment.
        wound: of any file.
        is_in_place: whether the journal is there, which has a copy of the head.
    """
    placed = made.placed[name]
    if wound.name != name:
        return placed
    is_headless = not wound.spares(0, placed[0][0])
    if is_headless and (wound.bit is None or not is_in_place):
        return []
    return [(at, one) for at, one in placed if wound.spares(at, at + one.size_bytes)]


def seen(one: Place) -> tuple[Any, ...]:
    at, put = one
    return at, put.kind, put.seqno, put.rows, put.payload


# --- one file, by the readers of one file --------------------------------------------------------


def holes(begin: int, raw: bytes, left: list[Place]) -> tuple[list[Hole], int]:
    """Return the stretches that hold no record, and how many bytes are torn behind the last."""
    found, end = [], begin
    for at, one in left:
        if at > end:
            found.append(Hole(end, at - end, is_tail=False))
        end = at + one.size_bytes
    return found, used_bytes(raw[end:])


def check_segment(path: Path, raw: bytes, begin: int, left: list[Place]) -> None:
    path.write_bytes(raw)
    again = read_segment(path)
    found = [
        (one.begin, one.header.kind, one.header.seqno, one.header.rows, bytes(one.payload))
        for one in read_from([(path, len(raw))], None)
    ]
    assert found == [seen(one) for one in left]
    if again is None:
        with pytest.raises(DamagedError):
            contents(path)
        assert not left
        return
    assert [(one.offset, one.kind, one.seqno, one.rows, one.payload) for one in again.records] == (
        found
    )
    inside, torn = holes(begin, raw, left)
    known = contents(path)
    assert (known.damage, known.torn_bytes) == (inside, torn)
    assert again.bad == [
        *((one.offset, one.size_bytes) for one in inside),
        *([(known.end_bytes, torn)] if torn else []),
    ]
    assert (known.records, known.rows) == (len(left), sum(one.rows for _, one in left))
    numbers = [(one.seqno, one.seqno + one.rows) for _, one in left]
    gaps = itertools.pairwise(numbers)
    assert known.missing == sum(behind[0] - before[1] for before, behind in gaps)


def check_segments(directory: Path, made: Made, hurts: list[Wound]) -> None:
    for wound in hurts:
        raw, begin = made.files[wound.name], made.placed[wound.name][0][0]
        left = survivors(made, wound.name, wound, is_in_place=False)
        try:
            check_segment(directory / Path(wound.name).name, wound.of(raw), begin, left)
        except AssertionError as error:
            raise AssertionError(f"{wound}: {error}") from error


@pytest.mark.parametrize("session_id", SESSIONS)
@pytest.mark.parametrize("lane", LANES)
def test_a_segment_hurt_anywhere_gives_every_record_that_is_whole(
    tmp_path: Path, made: Made, session_id: str, lane: str
) -> None:
    names = made.segments(session_id, lane)
    for name in names:
        path = tmp_path / Path(name).name
        check_segment(path, made.files[name], made.placed[name][0][0], made.placed[name])
    check_segments(tmp_path, made, some(made, names, SEGMENT_SAMPLE, every_bit=True))


def test_an_open_segment_hurt_at_every_byte_gives_every_record_that_is_whole(
    tmp_path: Path, made: Made
) -> None:
    name = made.segments(SESSIONS[1], "imu")[-1]
    check_segments(tmp_path, made, list(wounds(name, made.files[name])))


def test_a_segment_hurt_in_two_places_loses_two_records(tmp_path: Path, made: Made) -> None:
    chance = random.Random(SEED)
    names = [name for name in made.placed if name in made.files]
    for _ in range(4000 if IS_ALL else 300):
        name = chance.choice(names)
        raw, begin = made.files[name], made.placed[name][0][0]
        two = [Wound(name, chance.randrange(begin, len(raw)), chance.randrange(8)) for _ in "ab"]
        left = [
            one for one in made.placed[name] if all(one in survivors(made, name, w) for w in two)
        ]
        if two[0] != two[1]:
            check_segment(tmp_path / Path(name).name, two[1].of(two[0].of(raw)), begin, left)


# --- the whole spool: recovery, verification, what can be read ------------------------------------


@dataclass
class Left:
    """What a wounded spool still holds, as worked out without reading it."""

    made: Made
    wound: Wound

    def lane(self, session_id: str, lane: str) -> list[Put]:
        found: list[Put] = []
        for name in self.made.segments(session_id, lane):
            found += [one for _, one in survivors(self.made, name, self.wound)]
        return found

    def lost(self, session_id: str, lane: str) -> list[Put]:
        kept = self.lane(session_id, lane)
        names = self.made.segments(session_id, lane)
        return [one for name in names for _, one in self.made.placed[name] if one not in kept]

    def evicted(self, session_id: str, lane: str) -> list[Put]:
        start = f"sessions/{session_id}/{lane}/"
        names = [name for name in self.made.evicted if name.startswith(start)]
        return [one for name in names for _, one in self.made.placed[name]]

    def entries(self, session_id: str) -> list[dict[str, Any]]:
        """Return the lines of a session's journal that the wound leaves."""
        name = f"sessions/{session_id}/journal"
        raw = self.made.files[name]
        return list(journal_lines(self.wound.of(raw) if self.wound.name == name else raw))


def rows_of(puts: list[Put]) -> int:
    return sum(one.rows for one in puts)


def stored_in(spool: Spool, session_id: str, lane: str) -> list[tuple[int, int, bytes]]:
    """Return what the product reads of a lane, after both readers agreed on it."""
    found: list[tuple[int, int, bytes]] = []
    second: list[tuple[int, int, bytes]] = []
    for path, end_bytes in durable(spool, session_id, lane, None):
        for one in read_from([(path, end_bytes)], None):
            found.append((one.header.kind, one.header.seqno, bytes(one.payload)))
        again = read_segment(path)
        second += [(one.kind, one.seqno, one.payload) for one in again.records] if again else []
    assert found == second
    return found


def check_lane(found: LaneCheck, left: Left, session_id: str, *, is_stopped: bool) -> None:
    """Hold what `verify` says of a lane against what is known, number by number."""
    kept, lost = left.lane(session_id, found.lane), left.lost(session_id, found.lane)
    last = kept[-1].position if kept else -1
    # What is gone at the end of a recording that was cut off nobody can miss.
    missed = [one for one in lost if is_stopped or one.position < last]
    buried = [one for one in left.evicted(session_id, found.lane) if one.position < last]
    assert (found.records, found.rows) == (len(kept), rows_of(kept))
    assert (found.missing, found.doubled) == (rows_of(missed), 0)
    assert found.evicted == rows_of(buried)
    if missed:
        assert found.problems


def check_ledger(account: LaneLedger, left: Left, session_id: str, told: LaneLedger) -> None:
    """Hold a recovered account against what is known.

    Args:
        account: it.
        left: what is known.
        session_id: its session.
        told: the same account as the last heartbeat that can be read told it.
    """
    kept = left.lane(session_id, account.name)
    gone, buried = left.lost(session_id, account.name), left.evicted(session_id, account.name)
    assert account.imbalances() == []
    entries = [one for one in left.entries(session_id) if one.get("lane") == account.name]
    begins = [one["seqno"] for one in entries if one["entry"] == "epoch"]
    sealed = {one["file"] for one in entries if one["entry"] == "sealed"}
    trusted = {Path(name).name for name in left.made.placed} & sealed
    if Path(left.wound.name).name in trusted:
        # Recovery believes the journal and does not read what was sealed; `verify` does.
        assert account.pending in (rows_of(kept), rows_of(kept) + rows_of(gone))
        return
    assert account.pending == rows_of(kept)
    whole = sorted([*kept, *gone, *buried], key=lambda one: one.position)
    behind = max((one.seqno + one.rows for one in kept), default=None)
    if behind is None or not begins:
        return  # where the account began was in the line that is gone
    acquired = max(behind - begins[-1], told.acquired)
    assert account.acquired == acquired
    ring_lost = whole[-1].ring_lost - whole[0].ring_lost
    assert account.lost_ring == ring_lost or left.wound.name.endswith("journal")
    short = acquired - account.lost_ring - account.pending
    assert account.lost_crc + account.lost_evicted == short


def check_spool(directory: Path, left: Left) -> None:
    """Verify, recover as after a loss of power, verify again; compare each with what is known."""
    spool = Spool(directory)
    for one in verify(directory).sessions:
        is_stopped = one.recording == "stopped"
        for lane in one.lanes:
            if not left.wound.name.endswith("journal"):
                check_lane(lane, left, one.id, is_stopped=is_stopped)
            assert lane.rows == rows_of(left.lane(one.id, lane.lane))
    before = {path: path.read_bytes() for path in directory.rglob("*.seg")}
    for session in left_running(spool):
        recover(spool, session, left)
    for session_id in SESSIONS:
        for lane_name in LANES:
            assert stored_in(spool, session_id, lane_name) == [
                (put.kind, put.seqno, put.payload) for put in left.lane(session_id, lane_name)
            ]
    for path, raw in before.items():
        now = path.read_bytes()
        assert raw.startswith(now)
    verify(directory)


def recover(spool: Spool, session: Session, left: Left) -> None:
    told = {one.name: LaneLedger.from_dict(one.to_dict()) for one in session.lanes}
    recording = Recording.resume(spool, session, SEGMENT_BYTES, None)
    for account in recording.session.lanes:
        check_ledger(account, left, session.id, told[account.name])
    recording.end("power_loss", is_destination=True)
    assert spool.session(session.id).state.name == "abandoned"


def check_each(directory: Path, made: Made, hurt: list[Wound]) -> None:
    for wound in hurt:
        made.write(directory)
        path = directory / wound.name
        path.write_bytes(wound.of(path.read_bytes()))
        try:
            check_spool(directory, Left(made, wound))
        except (AssertionError, DamagedError, OSError, ValueError, LookupError) as error:
            kept = directory.with_name("failed")
            shutil.copytree(directory, kept, dirs_exist_ok=True)
            raise AssertionError(f"{wound}: {error!r}, see {kept}") from error


@pytest.mark.parametrize("session_id", SESSIONS)
@pytest.mark.parametrize("lane", LANES)
def test_a_spool_with_a_segment_hurt_anywhere_is_recovered_and_the_loss_is_exact(
    tmp_path: Path, made: Made, session_id: str, lane: str
) -> None:
    names = made.segments(session_id, lane)
    check_each(tmp_path / "spool", made, some(made, names, SAMPLE))


@pytest.mark.parametrize("session_id", SESSIONS)
def test_a_spool_with_a_journal_hurt_anywhere_loses_no_sample(
    tmp_path: Path, made: Made, session_id: str
) -> None:
    name = f"sessions/{session_id}/journal"
    check_each(tmp_path / "spool", made, some(made, [name], 2 * SAMPLE))


def test_a_spool_whose_times_are_hurt_anywhere_keeps_the_other_times(
    tmp_path: Path, made: Made
) -> None:
    (name,) = [one for one in made.files if one.startswith("boots/")]
    boot = Path(name).parent.name
    directory = tmp_path / "spool"
    made.write(directory)
    for wound in wounds(name, made.files[name]):
        raw = wound.of(made.files[name])
        (directory / name).write_bytes(raw)
        whole = [one["utc_ns"] for one in journal_lines(raw)]
        assert [one.utc_ns for one in Spool(directory).anchors(boot)] == whole
    check_each(directory, made, some(made, [name], SAMPLE // 10))


def test_a_mark_of_the_format_hurt_anywhere_costs_no_session(tmp_path: Path, made: Made) -> None:
    directory = tmp_path / "spool"
    made.write(directory)
    before = {path: path.stat().st_mtime_ns for path in directory.rglob("*")}
    known = Spool(directory).session_ids()
    raw = made.files["FORMAT"]
    for wound in wounds("FORMAT", raw):
        hurt = wound.of(raw)
        (directory / "FORMAT").write_bytes(hurt)
        is_another = re.fullmatch(rb"edge-recorder spool [02-9]\n?", hurt)
        is_torn = len(hurt) < len(raw) - 1 and hurt  # an empty one is what a power cut leaves
        if is_another or is_torn:
            with pytest.raises(SpoolFormatError):
                Spool(directory)
            with pytest.raises(SpoolError):
                verify(directory)
            assert Spool.make_beside(directory).session_ids() == []
        else:
            assert Spool(directory).session_ids() == known
            assert any("FORMAT: damaged" in text for text in verify(directory).problems)
    (directory / "FORMAT").write_bytes(raw)
    assert Spool(directory).session_ids() == known
    now = {path: path.stat().st_mtime_ns for path in directory.rglob("*")}
    del before[directory / "FORMAT"], now[directory / "FORMAT"]
    assert now == before


def test_the_sample_holds_one_of_everything(made: Made) -> None:
    puts = [one for placed in made.placed.values() for _, one in placed]
    kinds = {one.kind for one in puts}
    assert kinds == set(record.KINDS)
    assert made.evicted
    assert any(one.ring_lost for one in puts)
    assert all(len(made.segments(SESSIONS[1], lane)) > 1 for lane in LANES)
    assert all(one.payload[-1:] != b"\0" for one in puts)
    tails = [raw for name, raw in made.files.items() if name.endswith(".seg") and raw[-1] == 0]
    assert len(tails) == len(LANES)
    for name, placed in made.placed.items():
        if name in made.files:
            at, last = placed[-1]
            assert at + last.size_bytes == used_bytes(made.files[name])
