from __future__ import annotations

import copy
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recorder.audit import audit_spool
from recorder.audit.books import KEYS
from recorder.record import Header
from recorder.session.session import Session
from recorder.spool.journal import Journal
from recorder.spool.segment import SegmentReader
from tests.known import known
from tests.recorder.audit.filled import ID, Filled, S, filled

RATES = {"gps": 10.0, "imu": 200.0}
OTHER_BOOT = "cd" * 16


def lossy(one: Filled) -> None:
    """Lose samples of the IMU to the device, to its absence, and to the disk's want of room."""
    one.fill("gps", 60)
    one.fill("imu", 60, lost=[(500, 507)], away=[(3000, 3400)], seal_s=10)
    one.commit()
    one.evict("imu", 2)


def differences(one: Filled) -> list[str]:
    return audit_spool(one.spool.directory, ID).all_differences


def forge(one: Filled, lane: int, key: str, off: int) -> list[str]:
    """Journal a record with one count that is off, and return what the audit says of it."""
    true = one.entries("session")[-1]
    wrong = copy.deepcopy(true)
    wrong["session"]["lanes"][lane][key] += off
    journal = Journal(one.spool.journal_path(ID))
    journal.append(wrong)
    found = differences(one)
    journal.append(true)
    journal.close()
    return found


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("off", [1, -1])
def test_a_single_sample_off_in_any_count_is_found_in_an_ended_recording(
    key: str, off: int, tmp_path: Path
) -> None:
    with filled(tmp_path, RATES) as one:
        lossy(one)
        one.end()
        assert differences(one) == []
        for lane in (0, 1):
            assert any(key in text for text in forge(one, lane, key, off))


def test_a_spool_that_was_copied_without_the_uploaders_journals_is_not_called_wrong(
    tmp_path: Path,
) -> None:
    with filled(tmp_path, RATES) as one:
        lossy(one)
        one.ledger("gps").delivered += 5
        one.ledger("gps").pending -= 5
        one.beat()
        found = audit_spool(one.spool.directory, ID)
        assert found.all_differences == []
        assert any("uploader's journal" in note for note in found.notes)
        (tmp_path / "data" / "upload").mkdir(exist_ok=True)
        Journal(tmp_path / "data" / "upload" / ID).close()  # there, and nothing was received
        assert differences(one) != []


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("off", [1, -1])
def test_a_single_sample_off_in_any_count_is_found_in_a_heartbeat(
    key: str, off: int, tmp_path: Path
) -> None:
    with filled(tmp_path, RATES) as one:
        lossy(one)
        one.lanes["imu"].put(12_000, 50)
        one.beat()
        assert differences(one) == []
        for lane in (0, 1):
            assert any(key in text for text in forge(one, lane, key, off))


PAIRS = [
    ("lost_source", "lost_absent"),
    ("lost_ring", "lost_write"),
    ("lost_crc", "lost_evicted"),
    ("lost_source", "lost_broken"),
    ("lost_evicted", "delivered"),
]


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"{pair[0]}-{pair[1]}")
def test_a_sample_under_another_cause_is_found_though_the_equations_hold(
    pair: tuple[str, str], tmp_path: Path
) -> None:
    with filled(tmp_path, RATES) as one:
        lossy(one)
        one.end()
        true = one.entries("session")[-1]
        journal = Journal(one.spool.journal_path(ID))
        wrong = copy.deepcopy(true)
        imu = wrong["session"]["lanes"][1]
        imu[pair[0]] -= 1
        imu[pair[1]] += 1
        journal.append(wrong)
        journal.close()
        assert differences(one)


def test_a_quality_that_does_not_follow_is_found(tmp_path: Path) -> None:
    with filled(tmp_path, RATES) as one:
        lossy(one)
        one.end()
        journal = Journal(one.spool.journal_path(ID))
        for key, value in (("quality", 0.9999), ("quality_basis", "held"), ("ledger_ok", False)):
            wrong = copy.deepcopy(one.entries("session")[0])
            wrong = {**wrong, "session": {**one.session.to_dict(), key: value}}
            journal.append(wrong)
            assert any(key in text for text in differences(one)), key
        journal.close()


def test_a_heartbeat_counts_what_lies_between_lanes_and_disk(tmp_path: Path) -> None:
    with filled(tmp_path, RATES) as one:
        one.fill("gps", 30)
        one.fill("imu", 30)
        one.commit()
        for slot in (6000, 6200, 6400):
            one.lanes["imu"].put(slot + 3, 150)
        one.beat()
        told = Session.from_dict(one.entries("session")[-1]["session"]).lanes[1]
        assert (told.in_ring, told.stored, told.acquired) == (450, 6000, 6450)
        assert (told.expected, told.lost_source) == (6450 + 103, 103)
        assert told.imbalances() == []
        assert one.ledger("imu").in_ring == 0
        assert one.ledger("imu").acquired == 6000
        assert differences(one) == []
        one.take("imu")
        one.commit()
        assert one.ledger("imu").acquired == 6450
        assert differences(one) == []  # more came since, and the heartbeat is right all the same
        one.end()
        assert one.ledger("imu").in_ring == 0
        assert differences(one) == []


@pytest.mark.parametrize("taken", [0, 1, 2, 3])
def test_what_was_in_the_ring_and_never_came_to_disk_went_with_the_power(
    taken: int, tmp_path: Path
) -> None:
    with filled(tmp_path, {"imu": 200.0}, boot=OTHER_BOOT, begin_ns=1000 * S) as one:
        one.fill("imu", 20)
        one.commit()
        for number in range(3):
            one.lanes["imu"].put(4000 + 100 * number, 100)
        one.beat()
        reader = one.lanes["imu"].reader
        end = reader.position
        if taken:
            one.take("imu")
            one.recording.commit()
            cut_to(one, 4000 + 100 * taken)
        assert reader.position >= end
        one.recover()
        account = one.ledger("imu")
        assert (account.stored, account.lost_ring) == (4000 + 100 * taken, 300 - 100 * taken)
        assert account.imbalances() == []
        assert differences(one) == []


def cut_to(one: Filled, number: int) -> None:
    """Let nothing from a sample's number on have come to the disk."""
    path = one.spool.segments(ID, "imu")[-1]
    with SegmentReader(path) as segment:
        ends = [
            offset
            for offset, found in segment.scan()
            if isinstance(found, Header) and found.seqno >= number
        ]
    if ends:
        size = path.stat().st_size
        with path.open("r+b") as file:
            file.truncate(ends[0])
            file.truncate(size)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_whatever_a_device_loses_an_ended_recording_adds_up(seed: int, tmp_path_factory) -> None:
    dice = random.Random(seed)
    folder = tmp_path_factory.mktemp("dice")
    with filled(folder, RATES, segment_bytes=4096) as one:
        for name, rate_hz in RATES.items():
            count = round(20 * rate_hz)
            marks = sorted(dice.sample(range(1, count - 1), 8))
            stretches = [(marks[i], marks[i + 1]) for i in range(0, 8, 2)]
            one.fill(name, 20, lost=stretches[:2], away=stretches[2:])
        one.commit()
        one.evict(dice.choice(["gps", "imu"]), dice.randint(0, 3))
        one.end()
        expected = [one.ledger(name).expected for name in RATES]
        assert expected == [200, 4000]
        assert differences(one) == []


def test_an_event_lane_is_due_what_came_and_counts_for_no_quality(tmp_path: Path) -> None:
    with filled(tmp_path, {"imu": 200.0}) as one:
        one.fill("imu", 10)
        assert one.session.quality.value == 1.0
        one.session.lanes[0].rate_hz = 0.0
        assert one.session.quality.basis == "held"
        one.recording.lanes["imu"].account.count_absence(None, 0, 100 * S)
        assert one.ledger("imu").lost == {}


def test_what_a_dead_lane_left_in_its_ring_could_not_be_written(tmp_path: Path) -> None:
    with filled(tmp_path, {"imu": 200.0}) as one:
        one.fill("imu", 20)
        one.commit()
        for number in range(3):
            one.lanes["imu"].put(4010 + 50 * number, 40)
        one.recording.close_accounts([one.lanes["imu"].reader], running=())
        one.end()
        account = one.ledger("imu")
        assert (account.lost_write, account.lost_source, account.expected) == (120, 30, 4150)
        assert account.imbalances() == []
        assert differences(one) == []
        assert forge(one, 0, "lost_write", 1)


def test_what_does_not_verify_in_a_dead_lanes_ring_was_damaged_there(tmp_path: Path) -> None:
    with filled(tmp_path, {"imu": 200.0}) as one:
        one.fill("imu", 20)
        one.commit()
        lane = one.lanes["imu"]
        lane.put(4000, 40)
        broken_at = lane.ring.state.position
        lane.put(4040, 40)
        lane.put(4080, 40)
        (memory,) = known(lane.ring.record_at(broken_at))[1]
        memory[125] ^= 0xFF
        memory.release()
        one.beat()
        told = Session.from_dict(one.entries("session")[-1]["session"]).lanes[0]
        assert (told.in_ring, told.lost_damaged, told.imbalances()) == (40, 80, [])
        assert one.ledger("imu").lost_damaged == 0
        assert differences(one) == []
        one.recording.close_accounts([lane.reader], running=())
        one.end()
        account = one.ledger("imu")
        assert (account.lost_write, account.lost_damaged) == (40, 80)
        assert account.imbalances() == []
        assert differences(one) == []


def test_a_lane_that_died_is_due_until_the_end_and_the_audit_knows(tmp_path: Path) -> None:
    with filled(tmp_path, {"imu": 200.0}) as one:
        one.fill("imu", 20)
        head = one.lanes["imu"].reader.head()
        account = one.recording.lanes["imu"].account
        account.count_absence(head, one.begin_ns, one.begin_ns + 60 * S)
        one.end()
        assert one.ledger("imu").lost == {"lost_absent": 8000}
        assert differences(one) == []


def test_a_lane_that_begins_another_ring_goes_on_in_the_same_account(tmp_path: Path) -> None:
    with filled(tmp_path, RATES, segment_bytes=4096) as one:
        one.fill("gps", 60)
        one.fill("imu", 20, lost=[(100, 103)])
        one.renew("imu", one.begin_ns + 30 * S)
        one.fill("imu", 20, lost=[(200, 205)])
        one.commit()
        one.beat()
        assert differences(one) == []
        one.evict("imu", 2)
        one.renew("imu", one.begin_ns + 60 * S)
        one.fill("imu", 5)
        one.end()
        assert (one.ledger("imu").expected, one.ledger("imu").lost_source) == (9000, 8)
        assert len(one.entries("epoch")) == 4
        assert differences(one) == []
        assert forge(one, 1, "lost_source", 1)
