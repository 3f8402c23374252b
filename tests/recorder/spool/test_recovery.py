from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
import uuid
from pathlib import Path

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from recorder.clock import system_anchor
from recorder.ring import RingReader
from recorder.spool.counts import Counts
from recorder.spool.recording import Recording
from recorder.spool.spool import Spool
from recorder.spool.watermark import Watermark, durable
from recorder.time_model import TimeModel
from tests.recorder.building import (
    Shelf,
    assert_sound,
    full_disk,
    lane_numbers,
    new_session,
    segment_numbers,
    shelf,
    used,
)


class Deaths(RuleBasedStateMachine):
    """Everything that can happen to one lane between two losses of power, against a list."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.shelf = Shelf(self.directory, capacity_bytes=8192, segment_bytes=1000)
        self.water_file = self.directory / "watermark"
        self.kept: list[int] = []
        self.dropped = 0
        self.bases: dict[int, Counts] = {}
        self.sessions = [self.shelf.recording.session.id]

    @initialize()
    def begin(self) -> None:
        self.put(1)

    @rule(count=st.integers(1, 6))
    def put(self, count: int) -> None:
        first = self.shelf.producer.ring.state.seqno
        if self.shelf.producer.put(count):
            self.kept += range(first, first + count)
        else:
            self.dropped += count

    @rule()
    def event(self) -> None:
        self.shelf.producer.event("something")

    @rule(records=st.integers(0, 12))
    def burst(self, records: int) -> None:
        """Take several records, which may fill several segments; nothing is committed."""
        for _ in range(records):
            self.put(1)
        self.take()

    @rule(records=st.integers(0, 12))
    def burst_and_die(self, records: int) -> None:
        self.burst(records)
        self.die()

    def take(self) -> None:
        base = self.bases.get(self.shelf.producer.ring.epoch)
        lane = self.shelf.recording.lanes["imu"]
        reader = self.shelf.reader
        taken = lane.account.durable_position(reader.epoch), base.position if base else 0
        reader.position = max(reader.position, *taken)
        self.shelf.recording.take(reader, base)

    @rule(records=st.integers(0, 6), limit_bytes=st.integers(100, 1200))
    def take_on_a_full_disk(self, records: int, limit_bytes: int) -> None:
        for _ in range(records):
            self.put(1)
        with full_disk(limit_bytes), contextlib.suppress(OSError):
            self.take()

    @rule()
    def commit_and_die_before_the_ring_is_freed(self) -> None:
        self.take()
        self.publish()
        self.die()

    def publish(self) -> None:
        self.shelf.recording.commit().publish(self.water_file)

    @rule()
    def commit(self) -> None:
        self.take()
        self.publish()
        self.shelf.reader.free(self.shelf.reader.position)

    @rule()
    def die(self) -> None:
        self.shelf.recording.close()
        self.shelf.reader.close()
        self.shelf.reader = RingReader(self.shelf.producer.ring.path)
        spool = self.shelf.spool
        self.shelf.recording = Recording.resume(
            spool,
            spool.session(self.sessions[-1]),
            self.shelf.segment_bytes,
            Watermark.read(self.water_file),
        )
        assert self.shelf.recording.refused == []

    @rule()
    def roll_over(self) -> None:
        self.commit()
        self.bases.update(self.shelf.recording.behind())
        self.shelf.recording.end("roll_over", is_destination=True)
        spool = self.shelf.spool
        self.shelf.recording = Recording.announce(spool, new_session(["imu"]), {}, 1000)
        self.sessions.append(self.shelf.recording.session.id)

    @invariant()
    def the_books_balance(self) -> None:
        assert self.shelf.ledger.imbalances() == []

    @invariant()
    def what_the_watermark_promises_is_there_and_no_more_than_was_put(self) -> None:
        water = Watermark.read(self.water_file)
        if water is None:
            return
        for path, end_bytes in durable(self.shelf.spool, water.session_id, "imu", water):
            assert path.stat().st_size >= end_bytes

    def teardown(self) -> None:
        try:
            self.commit()
            self.die()
            self.commit()
            self.shelf.recording.end("shutdown", is_destination=True)
            assert lane_numbers(self.shelf.spool.directory, "imu") == self.kept
            spool = self.shelf.spool
            accounts = [spool.session(one).lanes[0] for one in self.sessions]
            assert [one.imbalances() for one in accounts] == [[]] * len(accounts)
            assert sum(one.stored for one in accounts) == len(self.kept)
            assert sum(one.lost_crc for one in accounts) == 0
            # What was dropped behind the last record is told by the next one: none came.
            told = sum(one.lost_ring for one in accounts)
            assert told == self.kept[-1] + 1 - len(self.kept)
            assert told <= self.dropped
            assert_sound(spool.directory)
        finally:
            self.shelf.close()
            shutil.rmtree(self.directory)


TestDeaths = Deaths.TestCase
TestDeaths.settings = settings(max_examples=100, stateful_step_count=30, phases=[Phase.generate])


def readable(one: Shelf) -> list[int]:
    """Return every number that the segments hold whose heads can be read."""
    return [
        number
        for path in one.segments()
        if path.stat().st_size > 200
        for number in segment_numbers(path)
    ]


def dead(one: Shelf, water: Watermark | None) -> Recording:
    """Let the recording's process die and another take over."""
    one.recording.close()
    spool, session_id = one.spool, one.recording.session.id
    return Recording.resume(spool, spool.session(session_id), one.segment_bytes, water)


def test_a_segment_sealed_after_the_last_commit_is_cut_and_written_on(tmp_path: Path) -> None:
    with shelf(tmp_path, segment_bytes=1400) as one:
        one.producer.put(10)
        water = one.commit()
        for _ in range(6):
            one.producer.put(10)
        one.take()  # rolls over to new segments, and dies before the commit
        assert len(one.segments()) > 1
        one.recording = dead(one, water)
        assert one.numbers() == list(range(10))
        one.reader.position = one.recording.lanes["imu"].account.durable_position(one.reader.epoch)
        one.commit()
        assert one.numbers() == list(range(70))


def test_a_lane_that_could_not_begin_its_next_segment_keeps_what_is_durable(tmp_path: Path) -> None:
    with shelf(tmp_path, segment_bytes=400) as one:
        one.producer.put(10)
        one.commit()
        one.producer.put(10)
        (path,) = one.segments()
        in_the_way = path.with_name(path.name.replace("000000000000-", "000000000010-"))
        in_the_way.mkdir()
        with pytest.raises(FileExistsError):
            one.take()  # the segment before is sealed by now, the next one is not there
        in_the_way.rmdir()
        water = one.recording.commit()
        assert water.ends["imu"] == (path.name, path.stat().st_size)
        one.recording = dead(one, water)
        assert one.numbers() == list(range(10))
        one.reader.position = one.recording.lanes["imu"].account.durable_position(one.reader.epoch)
        one.commit()
        assert one.numbers() == list(range(20))


@pytest.mark.parametrize("left_bytes", [0, 1, 83, 200])
def test_a_segment_cut_off_in_its_head_stops_no_recovery(tmp_path: Path, left_bytes: int) -> None:
    with shelf(tmp_path, segment_bytes=1400, boot=uuid.uuid4().hex) as one:
        for _ in range(6):
            one.producer.put(10)
        one.commit()
        newest = one.segments()[-1]
        raw = newest.read_bytes()
        newest.write_bytes(raw[:left_bytes])
        one.recording = dead(one, None)
        assert len(one.recording.refused) == 1
        one.recording.end("power_loss", is_destination=True)
        assert newest.read_bytes() == raw[:left_bytes]
        assert one.spool.session(one.recording.session.id).state.name == "abandoned"


def test_a_journal_that_lost_the_beginning_of_an_account_stops_no_recovery(tmp_path: Path) -> None:
    # What is made durable together comes there in any order: a power cut may come between.
    with shelf(tmp_path, boot=uuid.uuid4().hex) as one:
        path = one.spool.journal_path(one.recording.session.id)
        announced = path.read_bytes()
        one.producer.put(10)
        one.commit()
        one.recording.close()
        path.write_bytes(announced)
        one.recording = dead(one, None)
        assert one.ledger.imbalances() == []
        assert one.ledger.stored == 10
        assert one.recording.session.state.name == "open"


def test_a_tail_that_the_last_heartbeat_knew_of_is_counted_as_lost(tmp_path: Path) -> None:
    with shelf(tmp_path, boot=uuid.uuid4().hex) as one:
        for _ in range(10):
            one.producer.put(10)
        one.commit()
        one.recording.beat(TimeModel([system_anchor()]))
        one.recording.commit()
        (path,) = one.segments()
        raw = used(path)
        path.write_bytes(raw[: -2 * 280 - 5])  # two records and some bytes of a third
        one.recording = dead(one, None)
        account = one.ledger
        assert (account.expected, account.acquired, account.stored) == (100, 100, 100)
        assert (account.pending, account.lost_crc) == (70, 30)
        assert account.imbalances() == []
        assert path.stat().st_size == len(raw) - 3 * 280


@pytest.mark.parametrize("is_last", [False, True])
@pytest.mark.parametrize("left_bytes", [None, 0, 200, 900])
@pytest.mark.parametrize("is_power_loss", [False, True])
def test_what_a_sealed_segment_does_not_hold_any_more_is_counted_once(
    tmp_path: Path, left_bytes: int | None, is_last: bool, is_power_loss: bool
) -> None:
    boot = uuid.uuid4().hex if is_power_loss else ""
    with shelf(tmp_path, segment_bytes=1400, boot=boot) as one:
        for _ in range(9):
            one.producer.put(10)
            water = one.commit()
        whole = one.segments()
        if is_last:
            one.recording.lanes["imu"].seal()
            water = one.recording.commit()
            one.recording.settle()
            one.recording.commit()
        path = whole[-1 if is_last else 1]
        if left_bytes is None:
            path.unlink()
        else:
            path.write_bytes(path.read_bytes()[:left_bytes])
        for _ in range(2):  # as much at the second look as at the first
            one.recording = dead(one, None if is_power_loss else water)
            there = len(readable(one))
            assert there < 90
            assert (one.ledger.stored, one.ledger.lost_crc) == (90, 90 - there)
            assert one.ledger.pending == there
            assert one.ledger.imbalances() == []


def test_an_open_segment_that_somebody_removed_is_counted_as_far_as_a_heartbeat_told(
    tmp_path: Path,
) -> None:
    with shelf(tmp_path, boot=uuid.uuid4().hex) as one:
        one.producer.put(10)
        one.commit()
        one.recording.beat(TimeModel([system_anchor()]))
        one.recording.commit()
        (path,) = one.segments()
        path.unlink()
        one.recording = dead(one, None)
        assert (one.ledger.stored, one.ledger.lost_crc, one.ledger.pending) == (10, 10, 0)
        assert one.ledger.imbalances() == []


def test_damage_found_at_recovery_is_counted_by_number_and_kept(tmp_path: Path) -> None:
    with shelf(tmp_path, boot=uuid.uuid4().hex) as one:
        for _ in range(10):
            one.producer.put(10)
        one.commit()
        (path,) = one.segments()
        raw = bytearray(used(path))
        raw[-5 * 280 + 150] ^= 1
        path.write_bytes(raw)
        one.recording = dead(one, None)
        assert (one.ledger.stored, one.ledger.pending, one.ledger.lost_crc) == (100, 90, 10)
        assert one.ledger.imbalances() == []
        assert path.read_bytes() == raw
        assert len(segment_numbers(path)) == 90


def test_a_tombstone_whose_file_was_not_removed_yet_counts_once(tmp_path: Path) -> None:
    with shelf(tmp_path, segment_bytes=1400) as one:
        for _ in range(9):
            one.producer.put(10)
        water = one.commit()
        first = one.segments()[0]
        lost = len(segment_numbers(first))
        facts = {"entry": "evicted", "lane": "imu", "file": first.name}
        one.recording.bury({**facts, "rows": lost, "delivered": False})
        one.recording = dead(one, water)
        assert not first.exists()
        assert one.ledger.imbalances() == []
        assert (one.ledger.stored, one.ledger.lost_evicted, one.ledger.lost_crc) == (90, lost, 0)
        assert_sound(one.spool.directory)


def test_recovery_after_the_death_of_a_process_reads_only_what_is_open(tmp_path: Path) -> None:
    with shelf(tmp_path, segment_bytes=1400) as one:
        for _ in range(60):
            one.producer.put(10)
        water = one.commit()
        before = one.ledger.to_dict()
        for path in one.segments()[:-1]:
            with path.open("r+b") as file:
                file.seek(-10, 2)
                file.write(b"x")  # would be noticed by whoever reads it
        one.recording = dead(one, water)
        assert one.ledger.to_dict() == before


def test_a_segment_of_another_session_is_put_aside_and_kept(tmp_path: Path) -> None:
    with shelf(tmp_path / "mine") as one, shelf(tmp_path / "other") as other:
        one.producer.put(5)
        water = one.commit()
        other.producer.put(5)
        other.commit()
        (foreign,) = other.segments()
        kept = foreign.read_bytes()
        foreign.rename(one.segments()[0].with_name(foreign.name))
        one.recording = dead(one, water)
        assert [path.name for path in one.segments()] == [water.ends["imu"][0]]
        (aside,) = (one.spool.directory / "aside").iterdir()
        assert aside.read_bytes() == kept


def test_a_session_that_was_being_made_is_not_there(tmp_path: Path) -> None:
    spool = Spool.make(tmp_path)
    draft = spool.draft_path
    draft.parent.mkdir()
    draft.write_text("00000000 half a li")
    assert spool.session_ids() == []
    Recording.announce(spool, new_session(["imu"]), {"a": 1}, 1024).close()
    (session_id,) = spool.session_ids()
    kinds = [entry["entry"] for entry in spool.entries(session_id)]
    assert kinds == ["announced", "config", "session"]
    assert spool.number(session_id) == 1
    assert not draft.parent.exists()
    assert json.dumps(spool.entries(session_id)[1]["config"]) == '{"a": 1}'
