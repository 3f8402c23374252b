from __future__ import annotations

from pathlib import Path

from recorder.spool.journal import Journal
from recorder.spool.quota import evictable, make_room
from tests.recorder.building import Machine, Shelf, assert_sound, segment_numbers, shelf


def filled(one: Shelf) -> list[Path]:
    for _ in range(12):
        one.producer.put(10)
    one.commit()
    return one.segments()


def test_delivered_segments_go_first_then_the_oldest_and_never_the_open_one(tmp_path: Path) -> None:
    with shelf(tmp_path, segment_bytes=1400) as one:
        paths = filled(one)
        session_id = one.recording.session.id
        third = segment_numbers(paths[2])
        log = Journal(tmp_path / "upload" / session_id)
        receipt = {"entry": "receipt", "lane": "imu", "epoch": one.reader.epoch}
        log.record({**receipt, "from_seqno": third[0], "to_seqno": third[-1] + 1, "rows": 30})
        log.close()
        found = evictable(one.spool, tmp_path / "upload", one.recording.open_files())
        assert [each.path for each in found] == [paths[2], paths[0], paths[1]]
        assert [each.is_delivered for each in found] == [True, False, False]
        assert [each.rows for each in found] == [len(segment_numbers(each.path)) for each in found]


def test_what_is_given_up_is_counted_and_leaves_a_tombstone(tmp_path: Path) -> None:
    with shelf(tmp_path, segment_bytes=1400) as one:
        paths = filled(one)
        lost = sum(len(segment_numbers(path)) for path in paths[:-1])
        config = Machine(tmp_path, free_floor_bytes=1 << 62).config
        make_room(one.spool, config, one.recording)
        assert one.segments() == paths[-1:]
        assert (one.ledger.lost_evicted, one.ledger.pending) == (lost, 120 - lost)
        assert one.ledger.imbalances() == []
        assert_sound(one.spool.directory)
        one.recording.end("operator", is_destination=True)
        assert one.recording.session.state.name == "truncated"


def test_nothing_is_given_up_while_there_is_room(tmp_path: Path) -> None:
    with shelf(tmp_path, segment_bytes=1400) as one:
        paths = filled(one)
        make_room(one.spool, Machine(tmp_path).config, one.recording)
        assert one.segments() == paths
