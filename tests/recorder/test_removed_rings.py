"""A ring that somebody removes by hand: it is named, and what can be recorded is."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from recorder.audit.of_spool import audit_spool
from recorder.spool.spool import Spool
from recorder.spooler import Spooler
from tests.recorder.building import Machine, Producer, assert_sound, lane_numbers, schema


def test_it_is_told_once_and_its_lane_is_recorded_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = Machine(tmp_path)
    one.config.rings_dir.mkdir(parents=True)
    producer, spooler = Producer(one.config.rings_dir, schema()), Spooler(one.config)
    try:
        producer.put(5)
        spooler.commit()
        producer.ring.path.unlink()
        with caplog.at_level(logging.WARNING):
            for _ in range(3):
                producer.put(5)
                spooler.commit()
    finally:
        spooler.close()
        producer.close()
    told = [text for text in caplog.messages if "removed this ring" in text]
    assert len(told) == 1
    assert str(producer.ring.path) in told[0]
    assert lane_numbers(one.spool, "imu") == list(range(20))
    assert_sound(one.spool)


def test_whoever_starts_behind_it_names_the_lane_and_the_number_from_which_on_it_is_lost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = Machine(tmp_path)
    one.config.rings_dir.mkdir(parents=True)
    producer, first = Producer(one.config.rings_dir, schema()), Spooler(one.config)
    producer.put(7)
    first.commit()
    first.close()
    producer.put(5)  # only the ring has these
    again = Spooler(one.config)
    again.close()
    assert "removed" not in caplog.text, "it is there"
    producer.ring.path.unlink()
    second = Spooler(one.config)
    second.commit()
    second.close()
    producer.close()
    (told,) = [one for one in caplog.records if "removed its ring" in one.getMessage()]
    assert told.levelno == logging.ERROR
    assert "lane imu" in told.getMessage()
    assert "from number 7 on" in told.getMessage()
    assert lane_numbers(one.spool, "imu") == list(range(7))


@pytest.mark.parametrize("is_back", [False, True])
def test_what_went_with_ring_and_segment_is_counted_as_far_as_a_heartbeat_told(
    tmp_path: Path, is_back: bool
) -> None:
    one = Machine(tmp_path, heartbeat_s=0.0)  # one with each commit
    one.config.rings_dir.mkdir(parents=True)
    producer, first = Producer(one.config.rings_dir, schema()), Spooler(one.config)
    producer.put(7)
    first.commit()
    producer.put(5)
    first.archive.settle(0, list(first._rings))
    first.close()
    (segment,) = one.spool.glob("sessions/*/imu/*.seg")
    segment.unlink()
    producer.ring.path.unlink()
    producer.close()
    again = Producer(one.config.rings_dir, schema()) if is_back else None
    if again is not None:
        again.put(3)
    second = Spooler(one.config)
    second.commit()
    second.close()
    if again is not None:
        again.close()
    spool = Spool(one.spool)
    old, new = (spool.session(each) for each in spool.session_ids())
    (ledger,) = old.lanes
    assert (ledger.acquired, ledger.stored) == (12, 7)
    assert ledger.lost == {"lost_ring": 5, "lost_crc": 7}
    assert ledger.imbalances() == []
    assert (old.end_reason, new.predecessor) == ("roll_over", old.id)
    assert new.lanes[0].stored == (3 if is_back else 0)
    audit = audit_spool(one.spool, old.id)
    assert audit.all_differences == []
