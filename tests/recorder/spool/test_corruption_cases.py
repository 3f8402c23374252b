"""Named kinds of damage, each with exactly what is kept, what is counted, and what is named.

The spool that is hurt: one lane, one session, cut off by a loss of power; nine records of ten rows
in three segments, the last of them open and with space that was never used. Record i holds the
numbers from 10 i on and lies in segment i // 3. The last heartbeat knew of all 90 samples.
"""

from __future__ import annotations

import json
import shutil
import struct
import uuid
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from recorder import record
from recorder.clock import system_anchor
from recorder.errors import RingError, SpoolError, SpoolFormatError
from recorder.ring import RingReader, RingWriter
from recorder.ring_files import ReaderSet
from recorder.session.ledger import LaneLedger
from recorder.spool import journal
from recorder.spool.findings import LaneCheck, SessionCheck, SpoolCheck
from recorder.spool.reader import read_from
from recorder.spool.recording import Recording
from recorder.spool.spool import FORMAT, Spool
from recorder.spool.takeover import left_running
from recorder.spool.verify import verify
from recorder.spool.watermark import durable
from recorder.time_model import TimeModel
from tests.recorder.building import Producer, new_session, numbers_in, schema, shelf
from tests.recorder.spool import fuzz
from tests.recorder.spool.independent_reader import read_segment

RECORDS, ROWS, IN_SEGMENT = 9, 10, 3
RECORD_BYTES = record.HEADER_BYTES + 16 * ROWS
SEGMENT_BYTES = 1400
_LENGTH_AT, _SEGMENT_CRC_AT = 36, 80
PAGE_BYTES = 4096
SCHEMA_BEGINS = 84


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("whole")
    with shelf(directory, segment_bytes=SEGMENT_BYTES, boot=uuid.uuid4().hex) as one:
        for index in range(RECORDS):
            one.producer.put(ROWS)
            if index % IN_SEGMENT == IN_SEGMENT - 1:
                one.commit()
                one.recording.settle()
        one.recording.beat(TimeModel([system_anchor()]))
        one.recording.commit()
    return directory / "spool"


class Patient:
    """A copy of the spool, to be hurt."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (self.session,) = [one for one in (directory / "sessions").iterdir() if one.is_dir()]
        self.lane = self.session / "imu"
        self.segments = sorted(self.lane.iterdir())
        self.journal = self.session / "journal"

    def begin(self, segment: int) -> int:
        return int.from_bytes(self.segments[segment].read_bytes()[8:12], "little")

    def offset(self, index: int) -> int:
        """Return where a record begins in its segment."""
        return self.begin(index // IN_SEGMENT) + index % IN_SEGMENT * RECORD_BYTES

    def path(self, index: int) -> Path:
        return self.segments[index // IN_SEGMENT]

    def write(self, index: int, at: int, raw: bytes) -> None:
        """Write over a record, from its byte `at` on."""
        path, at = self.path(index), self.offset(index) + at
        old = path.read_bytes()
        path.write_bytes(old[:at] + raw + old[at + len(raw) :])

    def flip(self, index: int, at: int) -> None:
        old = self.path(index).read_bytes()[self.offset(index) + at]
        self.write(index, at, bytes([old ^ 1]))

    def cut(self, index: int, at: int) -> None:
        """Cut a record's segment off at the record's byte `at`."""
        path = self.path(index)
        path.write_bytes(path.read_bytes()[: self.offset(index) + at])

    def head(self, segment: int, at: int, raw: bytes) -> None:
        path = self.segments[segment]
        old = path.read_bytes()
        path.write_bytes(old[:at] + raw + old[at + len(raw) :])

    def resign(self, index: int, at: int, raw: bytes) -> None:
        """Change a record's header and make its checksum right again."""
        self.write(index, at, raw)
        old = self.path(index).read_bytes()[self.offset(index) :][:RECORD_BYTES]
        crc = zlib.crc32(old[:112] + old[record.HEADER_BYTES :])
        self.write(index, 112, struct.pack("<I", crc))

    def line(self, number: int, at: int) -> None:
        """Flip a bit in a line of the journal."""
        lines = self.journal.read_bytes().split(b"\n")
        hurt = bytearray(lines[number])
        hurt[at] ^= 1
        lines[number] = bytes(hurt)
        self.journal.write_bytes(b"\n".join(lines))

    def line_of(self, kind: str, which: int = 0) -> int:
        """Return the number of the `which`th line of a kind."""
        entries = journal.read(self.journal)
        return [at for at, one in enumerate(entries) if one["entry"] == kind][which]

    def note(self, text: bytes) -> None:
        with self.journal.open("ab") as file:
            file.write(b"%08x %s\n" % (zlib.crc32(text), text))


@dataclass(frozen=True)
class Case:
    """One kind of damage.

    Args:
        name: what happened.
        hurt: does it.
        lost: records that cannot be read any more.
        missing: samples that `verify` misses before recovery.
        torn: bytes that it calls torn.
        damaged: bytes that it calls damaged.
        crc: samples that recovery books as lost on disk.
        says: each stands in one of the problems that `verify` names; none: it finds none.
        refused: each stands in one of the reasons that recovery gives for what it leaves alone.
        unknown: each stands in one of the paths that `verify` names as nobody's.
        is_recovered: whether there is a session record to go on from.
    """

    name: str
    hurt: Callable[[Patient], object]
    lost: tuple[int, ...] = ()
    missing: int = 0
    torn: int = 0
    damaged: int = 0
    crc: int = 0
    says: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    is_recovered: bool = True


OPEN, LAST = 2, RECORDS - 1
HEAD_BYTES = 459
NO_RECORD = "are no valid record"
MISSING = "are missing, and nothing says why"
LATER = "a segment of version 2, this one knows 1"
IN_HEAD = "the head of the segment does not verify"
CUT = "cut off in its head"
SECOND_HEAD = "its head does not verify; the journal has it"
ELSEWHERE = "its head says that it is"
GONE = "a sealed segment that is not there"
NEXT = "/imu/000000000090-"
LINES = "lines of the journal do not verify"
ALL = tuple(range(RECORDS))
OPEN_RECORDS = (6, 7, 8)


def an_empty_file_for_the_next_segment(one: Patient) -> None:
    (one.lane / one.segments[0].name.replace("000000000000-", "000000000090-")).touch()


def zeros_for_the_next_segment(one: Patient) -> None:
    name = one.segments[0].name.replace("000000000000-", "000000000090-")
    (one.lane / name).write_bytes(bytes(PAGE_BYTES))


def a_segment_of_a_later_version(one: Patient) -> None:
    raw = one.segments[0].read_bytes()
    name = one.segments[0].name.replace("000000000000-", "000000000090-")
    (one.lane / name).write_bytes(raw[:7] + b"\2" + raw[8:])


def a_copy(one: Patient) -> None:
    shutil.copy(one.segments[1], one.segments[1].with_name("copy of a segment.seg"))


def another_name(one: Patient) -> None:
    path = one.segments[1]
    path.rename(path.with_name(path.name.replace("000000000030-", "000000000031-")))


def foreign_files(one: Patient) -> None:
    for folder in (one.lane, one.session, one.directory / "sessions", one.directory):
        (folder / "notes.txt").write_text("not ours")


def a_foreign_folder(one: Patient) -> None:
    (one.directory / "sessions" / "holiday").mkdir()


def links(target: Path) -> Callable[[Patient], None]:
    def hurt(one: Patient) -> None:
        name = one.segments[0].name.replace("000000000000-", "000000000090-")
        (one.lane / name).symlink_to(one.lane / name if str(target) == "loop" else target)

    return hurt


def a_folder_like_a_segment(one: Patient) -> None:
    (one.lane / one.segments[0].name.replace("000000000000-", "000000000090-")).mkdir()


def a_folder_in_place_of_a_segment(one: Patient) -> None:
    one.segments[1].unlink()
    one.segments[1].mkdir()


def a_link_to_a_segment(one: Patient) -> None:
    elsewhere = one.directory / "elsewhere"
    one.segments[1].rename(elsewhere)
    one.segments[1].symlink_to(elsewhere)


def a_half_made_session(one: Patient) -> None:
    draft = one.directory / "sessions" / "draft"
    draft.mkdir()
    (draft / "journal").write_bytes(b'0badc0de {"entry":"announ')


def a_line_of_a_later_version(one: Patient) -> None:
    one.note(b'{"entry":"from the future","lane":"imu","file":7}')


def stale_bytes_behind_the_space(one: Patient) -> None:
    path = one.segments[OPEN]
    path.write_bytes(path.read_bytes() + bytes(500) + b"\x55" * 12 + bytes(100))


def all_zero(segment: int) -> Callable[[Patient], None]:
    def hurt(one: Patient) -> None:
        path, begin = one.segments[segment], one.begin(segment)
        raw = path.read_bytes()
        path.write_bytes(raw[:begin] + bytes(len(raw) - begin))

    return hurt


def both(*hurts: Callable[[Patient], object]) -> Callable[[Patient], None]:
    def hurt(one: Patient) -> None:
        for each in hurts:
            each(one)

    return hurt


CASES = [
    Case("nothing at all", lambda one: None),
    # --- the head of a segment
    Case("an empty file for the next segment", an_empty_file_for_the_next_segment,
         refused=(IN_HEAD,)),
    Case("a file of zeros for the next segment", zeros_for_the_next_segment,
         torn=PAGE_BYTES, refused=(IN_HEAD,)),
    Case("a next segment of a later version", a_segment_of_a_later_version,
         damaged=1299, says=(LATER,), refused=(LATER,)),
    Case("an open segment that is empty", lambda one: one.segments[OPEN].write_bytes(b""),
         lost=OPEN_RECORDS, crc=30, refused=(CUT,)),
    Case("an open segment of its head alone", lambda one: one.cut(6, 0),
         lost=OPEN_RECORDS, crc=30),
    Case("an open segment torn in its head", lambda one: one.cut(6, -100),
         lost=OPEN_RECORDS, torn=359, crc=30, refused=(CUT,)),
    Case("an open segment with a wrong magic", lambda one: one.head(OPEN, 0, b"RSEX"),
         damaged=HEAD_BYTES, says=(SECOND_HEAD,)),
    Case("an open segment with a head of zeros", lambda one: one.head(OPEN, 0, bytes(459)),
         damaged=HEAD_BYTES, says=(SECOND_HEAD,)),
    Case("a head whose schema is hurt", lambda one: one.head(1, SCHEMA_BEGINS + 9, b"\0"),
         damaged=HEAD_BYTES, says=(SECOND_HEAD,)),
    Case("a head whose checksum is hurt", lambda one: one.head(0, _SEGMENT_CRC_AT, b"\0\0\0\0"),
         damaged=HEAD_BYTES, says=(SECOND_HEAD,)),
    Case("a head that says that records begin beyond the file",
         lambda one: one.head(1, 8, b"\xff\xff\xff\x7f"),
         damaged=HEAD_BYTES, says=(SECOND_HEAD,)),
    Case("a head that says that its schema is longer than memory",
         lambda one: one.head(1, 12, b"\xff\xff\xff\xff"),
         damaged=HEAD_BYTES, says=(SECOND_HEAD,)),
    Case("both heads of a sealed segment",
         both(lambda one: one.head(1, 20, b"\xff\xff"),
              lambda one: one.line(one.line_of("segment", 1), 40)),
         lost=(3, 4, 5), missing=30, damaged=1299, says=(IN_HEAD, MISSING, LINES)),
    Case("both heads of the open segment",
         both(lambda one: one.head(OPEN, 20, b"\xff\xff"),
              lambda one: one.line(one.line_of("segment", OPEN), 40)),
         lost=OPEN_RECORDS, damaged=SEGMENT_BYTES, crc=30, says=(IN_HEAD, LINES),
         refused=(IN_HEAD,)),
    # --- one record
    Case("a payload whose bytes changed", lambda one: one.flip(7, 200),
         lost=(7,), missing=10, damaged=RECORD_BYTES, crc=10, says=(NO_RECORD, MISSING)),
    Case("a header whose checksum changed", lambda one: one.flip(7, 112),
         lost=(7,), missing=10, damaged=RECORD_BYTES, crc=10, says=(NO_RECORD, MISSING)),
    Case("a record whose magic changed", lambda one: one.flip(7, 0),
         lost=(7,), missing=10, damaged=RECORD_BYTES, crc=10, says=(NO_RECORD, MISSING)),
    Case("a record of a later version", lambda one: one.resign(7, 4, b"\x02"),
         lost=(7,), missing=10, damaged=RECORD_BYTES, crc=10, says=(NO_RECORD, MISSING)),
    Case("a record of no known kind", lambda one: one.resign(7, 5, b"\x09"),
         lost=(7,), missing=10, damaged=RECORD_BYTES, crc=10, says=(NO_RECORD, MISSING)),
    Case("a record of another lane", lambda one: one.resign(7, 6, b"\x01\x02"),
         says=("a record of another lane",)),
    Case("a record of another epoch", lambda one: one.resign(7, 8, b"\x01\x02"),
         lost=(7,), missing=10, damaged=RECORD_BYTES, crc=10, says=(NO_RECORD, MISSING)),
    Case("a record of another place", lambda one: one.resign(7, 16, b"\x01\x02"),
         lost=(7,), missing=10, damaged=RECORD_BYTES, crc=10, says=(NO_RECORD, MISSING)),
    Case("rows that are not the payload's", lambda one: one.resign(8, 32, b"\x09"),
         says=("bytes are not 9 rows",), crc=1),
    Case("a length beyond the file", lambda one: one.write(7, _LENGTH_AT, b"\xff\xff\0\0"),
         lost=(7,), missing=10, damaged=RECORD_BYTES, crc=10, says=(NO_RECORD, MISSING)),
    Case("a length beyond what any record has",
         lambda one: one.write(7, _LENGTH_AT, b"\xff\xff\xff\xff"),
         lost=(7,), missing=10, damaged=RECORD_BYTES, crc=10, says=(NO_RECORD, MISSING)),
    Case("a length of nothing", lambda one: one.write(7, _LENGTH_AT, bytes(4)),
         lost=(7,), missing=10, damaged=RECORD_BYTES, crc=10, says=(NO_RECORD, MISSING)),
    Case("a length that swallows the next record",
         lambda one: one.write(6, _LENGTH_AT, struct.pack("<I", 160 + RECORD_BYTES)),
         lost=(6,), missing=10, damaged=RECORD_BYTES, crc=10, says=(NO_RECORD, MISSING)),
    # --- stretches
    Case("damage at the very first record", lambda one: one.flip(0, 5),
         lost=(0,), missing=10, damaged=RECORD_BYTES, says=(NO_RECORD, MISSING)),
    Case("damage at the very last record", lambda one: one.flip(LAST, 5),
         lost=(8,), torn=RECORD_BYTES, crc=10),
    Case("two stretches of one segment",
         both(lambda one: one.flip(6, 9), lambda one: one.flip(8, 9)),
         lost=(6, 8), missing=10, damaged=RECORD_BYTES, torn=RECORD_BYTES, crc=20,
         says=(NO_RECORD, MISSING)),
    Case("two stretches of two segments",
         both(lambda one: one.flip(1, 9), lambda one: one.flip(7, 9)),
         lost=(1, 7), missing=20, damaged=2 * RECORD_BYTES, crc=10, says=(NO_RECORD, MISSING)),
    Case("a segment of zeros between sound ones", all_zero(1),
         lost=(3, 4, 5), missing=30, damaged=3 * RECORD_BYTES, says=(NO_RECORD, MISSING)),
    Case("zeros in the middle", lambda one: one.write(6, 100, bytes(RECORD_BYTES)),
         lost=(6, 7), missing=20, damaged=2 * RECORD_BYTES, crc=20, says=(NO_RECORD, MISSING)),
    Case("zeros in place of the last records", lambda one: one.write(7, 0, bytes(560)),
         lost=(7, 8), crc=20),
    Case("zeros from the middle of a record on", lambda one: one.write(7, 130, bytes(430)),
         lost=(7, 8), torn=130, crc=20),
    Case("an open segment with a page of zeros behind it",
         lambda one: one.segments[OPEN].write_bytes(
             one.segments[OPEN].read_bytes() + bytes(PAGE_BYTES))),
    Case("an open segment without its unused space", lambda one: one.cut(LAST, RECORD_BYTES)),
    Case("stale bytes behind the unused space", stale_bytes_behind_the_space, torn=613),
    Case("an open segment torn in its last record", lambda one: one.cut(LAST, 279),
         lost=(8,), torn=279, crc=10),
    Case("a sealed segment torn in its last record", lambda one: one.cut(5, 279),
         lost=(5,), missing=10, damaged=279, crc=10, says=(NO_RECORD, MISSING)),
    Case("a sealed segment cut between two records", lambda one: one.cut(5, 0),
         lost=(5,), missing=10, damaged=RECORD_BYTES, crc=10, says=(NO_RECORD, MISSING)),
    # --- files
    Case("no middle segment", lambda one: one.segments[1].unlink(),
         lost=(3, 4, 5), missing=30, crc=30, says=(MISSING, GONE)),
    Case("no first segment", lambda one: one.segments[0].unlink(),
         lost=(0, 1, 2), missing=30, crc=30, says=(MISSING, GONE)),
    Case("no open segment", lambda one: one.segments[OPEN].unlink(), lost=OPEN_RECORDS, crc=30),
    Case("no segment at all", lambda one: shutil.rmtree(one.lane), lost=ALL, crc=90),
    Case("a segment that is there twice", a_copy, unknown=("copy of a segment.seg",)),
    Case("a segment under another name", another_name,
         lost=(3, 4, 5), missing=30, damaged=1299, crc=30, says=(ELSEWHERE, MISSING, GONE),
         refused=(ELSEWHERE,)),
    Case("files of somebody else", foreign_files,
         unknown=("/imu/notes.txt", "/sessions/notes.txt", "/spool/notes.txt", "/notes.txt")),
    Case("a folder of somebody else", a_foreign_folder),
    Case("a link that leads nowhere", links(Path("nowhere")), unknown=(NEXT,)),
    Case("a link that leads to itself", links(Path("loop")), unknown=(NEXT,)),
    Case("a link in place of a segment", a_link_to_a_segment,
         lost=(3, 4, 5), missing=30, crc=30, says=(MISSING,),
         unknown=("/imu/000000000030-", "/elsewhere")),
    Case("a folder that is named like a segment", a_folder_like_a_segment, unknown=(NEXT,)),
    Case("a folder in place of a segment", a_folder_in_place_of_a_segment,
         lost=(3, 4, 5), missing=30, crc=30, says=(MISSING,), unknown=("/imu/000000000030-",)),
    # --- the journal
    Case("no journal", lambda one: one.journal.unlink(), is_recovered=False, says=("no session",)),
    Case("an empty journal", lambda one: one.journal.write_bytes(b""),
         is_recovered=False, says=("no session",)),
    Case("a journal torn in its first line",
         lambda one: one.journal.write_bytes(one.journal.read_bytes()[:20]),
         is_recovered=False, says=("no session",)),
    Case("a journal of zeros", lambda one: one.journal.write_bytes(bytes(PAGE_BYTES)),
         is_recovered=False, says=("no session",)),
    Case("a journal whose first line is hurt", lambda one: one.line(0, 20), says=(LINES,)),
    Case("a journal whose newest record is hurt",
         lambda one: one.line(one.line_of("session", -1), 99)),
    Case("a journal whose beginning of the account is hurt",
         lambda one: one.line(one.line_of("epoch"), 30), says=(LINES,)),
    Case("a journal that lost the line of a sealed segment",
         lambda one: one.line(one.line_of("sealed"), 30), says=(LINES,)),
    Case("a journal that lost every line of a sealed segment",
         both(lambda one: one.line(one.line_of("sealed", 1), 30),
              lambda one: one.line(one.line_of("sealed"), 30)), says=(LINES,)),
    Case("a journal with zeros behind it",
         lambda one: one.journal.write_bytes(one.journal.read_bytes() + bytes(PAGE_BYTES))),
    Case("a journal with half a line behind it",
         lambda one: one.journal.write_bytes(one.journal.read_bytes() + b"01234567 {")),
    Case("a journal with a line of a later version", a_line_of_a_later_version),
    Case("a half-made session beside it", a_half_made_session),
]  # fmt: skip


def in_spool(found: SpoolCheck) -> SessionCheck:
    (session,) = [one for one in found.sessions if one.id != "holiday"]
    return session


def names_all(wanted: tuple[str, ...], problems: list[str]) -> bool:
    """Tell whether every problem is one that is wanted, and each wanted one is there."""
    there = all(any(one in text for text in problems) for one in wanted)
    return there and all(any(one in text for one in wanted) for text in problems)


def readable(spool: Spool, one: Patient) -> list[int]:
    found: list[int] = []
    for path, end_bytes in durable(spool, one.session.name, "imu", None):
        read = [numbers_in(record.payload) for record in read_from([(path, end_bytes)], None)]
        again = read_segment(path) if path.is_file() else None
        assert read == [numbers_in(rec.payload) for rec in (again.records if again else [])]
        found += [number for numbers in read for number in numbers]
    return sorted(set(found))


def check_verify(case: Case, one: Patient) -> None:
    found = verify(one.directory)
    assert names_all(case.unknown, found.unknown), found.unknown
    session = in_spool(found)
    lanes = session.lanes or [LaneCheck("imu")]
    problems = [*session.problems, *(text for lane in lanes for text in lane.problems)]
    assert names_all(case.says, problems), problems
    (lane,) = lanes
    assert (lane.missing, lane.torn_bytes, lane.damaged_bytes) == (
        case.missing, case.torn, case.damaged,
    )  # fmt: skip


def check_account(case: Case, account: LaneLedger) -> None:
    assert account.imbalances() == []
    assert (account.acquired, account.stored) == (RECORDS * ROWS, RECORDS * ROWS)
    assert account.lost_crc == case.crc
    assert account.pending == RECORDS * ROWS - case.crc


@pytest.mark.parametrize("case", CASES, ids=[one.name.replace(" ", "-") for one in CASES])
def test_damage_costs_what_it_hit_and_is_named(tmp_path: Path, whole: Path, case: Case) -> None:
    directory = tmp_path / "spool"
    shutil.copytree(whole, directory)
    one = Patient(directory)
    case.hurt(one)
    left = [n for n in range(RECORDS * ROWS) if n // ROWS not in case.lost]
    before = {path: path.lstat().st_ino for path in directory.rglob("*")}

    check_verify(case, one)
    spool = Spool(directory)
    assert readable(spool, one) == left
    running = list(left_running(spool))
    assert [session.id for session in running] == [one.session.name] * case.is_recovered
    for session in running:
        recording = Recording.resume(spool, session, SEGMENT_BYTES, None)
        (account,) = recording.session.lanes
        assert names_all(case.refused, recording.refused), recording.refused
        check_account(case, account)
        recording.end("power_loss", is_destination=True)
    assert readable(spool, one) == left
    verify(directory)
    now = {path: path.lstat().st_ino for path in directory.rglob("*")}
    assert before.items() <= now.items()  # nothing was removed or replaced

    Recording.announce(spool, new_session(["imu"]), {}, SEGMENT_BYTES).close()
    assert len(spool.session_ids()) == 1 + one.journal.exists()


def test_a_record_that_ends_in_zeros_is_whole_in_front_of_unused_space(tmp_path: Path) -> None:
    with shelf(tmp_path, segment_bytes=8192, boot=uuid.uuid4().hex) as one:
        for _ in range(3):
            one.producer.put(1, [bytes(16)])
        one.commit()
        one.recording.close()
        (path,) = one.segments()
        assert path.stat().st_size == 8192
        spool = one.spool
        (session,) = left_running(spool)
        recording = Recording.resume(spool, session, 8192, None)
        (account,) = recording.session.lanes
        assert (account.stored, account.pending, recording.refused) == (3, 3, [])
        recording.end("power_loss", is_destination=True)
        again = read_segment(path)
        assert again is not None
        assert [rec.payload for rec in again.records] == [bytes(16)] * 3
        assert path.stat().st_size == again.records[-1].offset + record.HEADER_BYTES + 16


def test_a_page_of_zeros_in_the_middle_costs_the_records_that_it_touches(tmp_path: Path) -> None:
    with shelf(tmp_path, segment_bytes=1 << 15, boot=uuid.uuid4().hex) as one:
        for _ in range(60):
            one.producer.put(ROWS)
        one.commit()
        (path,) = one.segments()
        one.recording.close()
        raw = path.read_bytes()
        begin = int.from_bytes(raw[8:12], "little")
        path.write_bytes(raw[:PAGE_BYTES] + bytes(PAGE_BYTES) + raw[2 * PAGE_BYTES :])
        first = (PAGE_BYTES - begin) // RECORD_BYTES
        behind = -(-(2 * PAGE_BYTES - begin) // RECORD_BYTES)
        left = [n for n in range(60 * ROWS) if not first <= n // ROWS < behind]
        assert one.numbers() == left
        (session,) = left_running(one.spool)
        recording = Recording.resume(one.spool, session, 1 << 15, None)
        (account,) = recording.session.lanes
        assert account.imbalances() == []
        assert account.lost_crc == (behind - first) * ROWS
        assert account.pending == len(left)
        recording.end("power_loss", is_destination=True)
        assert one.numbers() == left


def test_damage_below_the_watermark_of_this_boot_is_counted_and_written_on_behind(
    tmp_path: Path,
) -> None:
    with shelf(tmp_path, segment_bytes=8192) as one:
        for _ in range(5):
            one.producer.put(ROWS)
        water = one.commit()
        for _ in range(3):
            one.producer.put(ROWS)
        one.take()  # written, not committed: cut off and taken again from the ring
        (path,) = one.segments()
        raw = bytearray(path.read_bytes())
        begin = int.from_bytes(raw[8:12], "little")
        raw[begin + 2 * RECORD_BYTES + 130] ^= 1
        path.write_bytes(raw)
        one.recording.close()
        (session,) = left_running(one.spool)
        one.recording = Recording.resume(one.spool, session, 8192, water)
        assert (one.ledger.stored, one.ledger.lost_crc) == (5 * ROWS, ROWS)
        one.reader.position = one.recording.lanes["imu"].account.durable_position(one.reader.epoch)
        one.commit()
        assert one.numbers() == [n for n in range(8 * ROWS) if n // ROWS != 2]
        assert one.ledger.imbalances() == []
        assert (one.ledger.stored, one.ledger.pending) == (8 * ROWS, 7 * ROWS)


def test_a_half_made_session_is_put_aside_and_kept(tmp_path: Path, whole: Path) -> None:
    directory = tmp_path / "spool"
    shutil.copytree(whole, directory)
    one, spool = Patient(directory), Spool(directory)
    for number in range(3):
        a_half_made_session(one)
        (directory / "sessions" / "draft" / f"{number}").touch()
        Recording.announce(spool, new_session(["imu"]), {}, SEGMENT_BYTES).close()
    kept = sorted(path.name for path in (directory / "aside").rglob("*") if path.name.isdigit())
    assert kept == ["0", "1", "2"]
    assert len(spool.session_ids()) == 4


def test_what_was_put_aside_and_partly_cleared_stops_no_new_session(tmp_path: Path) -> None:
    spool = Spool.make(tmp_path / "spool")
    draft = spool.draft_path.parent
    for number in range(3):
        draft.mkdir()
        (draft / str(number)).touch()
        Recording.announce(spool, new_session(["imu"]), {}, SEGMENT_BYTES).close()
        if number == 1:  # somebody looked at the first and took it away
            first = min((spool.directory / "aside").iterdir())
            shutil.rmtree(first)
    assert len(spool.session_ids()) == 3
    assert len(list((spool.directory / "aside").iterdir())) == 2


@pytest.mark.parametrize(
    "text",
    [b"edge-recorder spool 2\n", b"edge-recorder spool 10\n", b"garbage", b"\xff\xfe"],
)
def test_a_spool_of_another_format_is_left_and_recording_starts_beside(
    tmp_path: Path, whole: Path, text: bytes
) -> None:
    directory = tmp_path / "spool"
    shutil.copytree(whole, directory)
    (directory / "FORMAT").write_bytes(text)
    before = {path: path.stat().st_mtime_ns for path in directory.rglob("*")}
    with pytest.raises(SpoolFormatError, match="spool 1"):
        Spool.make(directory)
    with pytest.raises(SpoolFormatError):
        verify(directory)
    beside = Spool.make_beside(directory)
    assert beside.directory == tmp_path / "spool-1"
    Recording.announce(beside, new_session(["imu"]), {}, SEGMENT_BYTES).close()
    assert Spool.make_beside(directory).session_ids() == beside.session_ids()
    assert {path: path.stat().st_mtime_ns for path in directory.rglob("*")} == before


def test_a_spool_without_its_format_is_none_to_a_reader_and_goes_on_for_a_writer(
    tmp_path: Path, whole: Path
) -> None:
    directory = tmp_path / "spool"
    shutil.copytree(whole, directory)
    (directory / "FORMAT").unlink()
    with pytest.raises(SpoolError, match="no file FORMAT"):
        Spool(directory)
    spool = Spool.make_beside(directory)
    assert spool.directory == directory
    assert (directory / "FORMAT").read_text() == FORMAT
    assert len(readable(spool, Patient(directory))) == RECORDS * ROWS


def test_a_journal_that_cannot_be_read_keeps_no_session_from_being_recorded(
    tmp_path: Path, whole: Path
) -> None:
    directory = tmp_path / "spool"
    shutil.copytree(whole, directory)
    one, spool = Patient(directory), Spool(directory)
    one.journal.unlink()
    one.journal.mkdir()
    assert list(left_running(spool)) == []
    Recording.announce(spool, new_session(["imu"]), {}, SEGMENT_BYTES).close()
    assert len(list(left_running(spool))) == 1
    assert len(readable(spool, one)) == RECORDS * ROWS
    problems = [text for session in verify(directory).sessions for text in session.problems]
    assert problems == [f"{one.journal}: is no journal, but something else"]


# --- what fuzzing found ---------------------------------------------------------------------------


@pytest.mark.parametrize("length_bytes", [0, 1, 59, 100, 511, 600, 4096, 4200, 8191])
def test_a_ring_file_that_is_cut_short_is_refused_and_named(
    tmp_path: Path, length_bytes: int
) -> None:
    producer = Producer(tmp_path, schema(), 4096)
    for _ in range(5):
        producer.put(20)
    path = producer.ring.path
    producer.close()
    raw = path.read_bytes()
    assert len(raw) == 8192
    path.write_bytes(raw[:length_bytes])
    with pytest.raises(RingError, match=path.name):
        RingReader(path)
    with pytest.raises(RingError, match=path.name):
        RingWriter(path)
    rings = ReaderSet(tmp_path)
    assert [path.name in text for text in rings.look()] == [True]
    again = Producer(tmp_path, schema(), 4096)
    assert again.ring.path != path
    assert again.put(1)
    again.close()


@pytest.mark.parametrize("target", ["journal", "ring", "segment", "spool", "watermark"])
def test_a_moment_of_fuzzing_finds_nothing(tmp_path: Path, target: str) -> None:
    fuzz.run_round(fuzz.targets(fuzz.Bench(tmp_path))[target], 4, examples=30)


def test_the_cases_are_told_apart_by_name() -> None:
    assert len({one.name for one in CASES}) == len(CASES) >= 25


def test_a_session_whose_first_line_is_hurt_gives_its_number_to_no_other(
    tmp_path: Path, whole: Path
) -> None:
    directory = tmp_path / "spool"
    shutil.copytree(whole, directory)
    spool = Spool(directory)
    for _ in range(3):
        Recording.announce(spool, new_session(["imu"]), {}, SEGMENT_BYTES).close()
    before = spool.session_ids()
    path = spool.journal_path(before[-1])
    raw = path.read_bytes()
    path.write_bytes(raw[:9] + b"[" + raw[10:])
    newest = Recording.announce(spool, new_session(["imu"]), {}, SEGMENT_BYTES)
    newest.close()
    assert spool.session_ids()[-1] == newest.session.id
    numbers = [spool.number(one) for one in spool.session_ids()]
    assert len(set(numbers)) == len(numbers)
    assert json.dumps(spool.entries(before[-1])[0]["config"]) == "{}"


def test_a_journal_without_its_first_line_keeps_no_vehicle_from_recording(
    tmp_path: Path, whole: Path
) -> None:
    directory = tmp_path / "spool"
    shutil.copytree(whole, directory)
    spool = Spool(directory)
    (cut,) = spool.session_ids()
    path = spool.journal_path(cut)
    path.write_bytes(path.read_bytes().partition(b"\n")[2])
    newest = Recording.announce(spool, new_session(["imu"]), {}, SEGMENT_BYTES)
    newest.close()
    assert spool.session_ids() == [cut, newest.session.id]
