from __future__ import annotations

from pathlib import Path

import pytest

from recorder.spool.watermark import Watermark, durable
from tests.recorder.building import ID, fill, memory, shelf, used


def test_a_reader_sees_what_was_committed_and_nothing_behind(tmp_path: Path) -> None:
    with shelf(tmp_path, segment_bytes=1400) as one:
        for _ in range(6):
            one.producer.put(10)
        water = one.commit()
        committed = [(path, len(used(path))) for path in one.segments()]
        for _ in range(6):
            one.producer.put(10)
        one.take()  # written, and not durable yet
        session_id = one.recording.session.id
        assert len(one.segments()) > len(committed)
        assert durable(one.spool, session_id, "imu", water) == committed
        assert durable(one.spool, session_id, "gps", water) == []
        assert len(durable(one.spool, session_id, "imu", None)) == len(one.segments())


def test_a_watermark_of_another_session_bounds_nothing(tmp_path: Path) -> None:
    with shelf(tmp_path) as one:
        one.producer.put(1)
        one.commit()
        found = durable(one.spool, one.recording.session.id, "imu", Watermark(ID, {}))
        assert [path for path, _ in found] == one.segments()


def test_a_published_watermark_is_read_back_and_a_torn_one_is_none(tmp_path: Path) -> None:
    file = tmp_path / "watermark"
    assert Watermark.read(None) is None
    assert Watermark.read(file) is None
    water = Watermark(ID, {"imu": ("000000000000-0000000000000001.seg", 4096)})
    water.publish(file)
    assert Watermark.read(file) == water
    raw = file.read_bytes()
    for length in range(len(raw)):
        file.write_bytes(raw[:length])
        assert Watermark.read(file) is None


def test_a_watermark_is_published_though_another_program_filled_the_memory(tmp_path: Path) -> None:
    with memory(tmp_path / "run", "1m") as folder:
        file = folder / "watermark"
        Watermark(ID, {"imu": ("000000000000-0000000000000001.seg", 4096)}).publish(file)
        fill(folder)
        for end in range(4096, 8192):
            water = Watermark(ID, {"imu": ("000000000000-0000000000000001.seg", end)})
            water.publish(file)
            assert Watermark.read(file) == water
            fill(folder)


@pytest.mark.parametrize("kept", [0, 1])
def test_segments_behind_an_evicted_one_stay_visible(tmp_path: Path, kept: int) -> None:
    with shelf(tmp_path, segment_bytes=1400) as one:
        for _ in range(9):
            one.producer.put(10)
        water = one.commit()
        paths = one.segments()
        paths[kept].unlink()
        found = durable(one.spool, one.recording.session.id, "imu", water)
        assert [path for path, _ in found] == [p for p in paths if p != paths[kept]]


def test_from_a_segment_on_all_later_ones_are_seen_whatever_became_of_it(tmp_path: Path) -> None:
    with shelf(tmp_path, segment_bytes=1400) as one:
        for _ in range(15):
            one.producer.put(10)
        water = one.commit()
        session_id = one.recording.session.id
        whole = durable(one.spool, session_id, "imu", water)
        assert len(whole) > 3
        for at, (path, _) in enumerate(whole):
            assert durable(one.spool, session_id, "imu", water, since=path.name) == whole[at:]
        gone, _ = whole[1]
        gone.unlink()
        assert durable(one.spool, session_id, "imu", water, since=gone.name) == whole[2:]


def test_from_a_segment_of_one_ring_on_those_of_other_rings_are_seen(tmp_path: Path) -> None:
    with shelf(tmp_path, segment_bytes=1400) as one:
        one.producer.put(10)
        one.commit()
        (first,) = one.segments()
        other = first.with_name(f"{7:012d}-{'f' * 16}.seg")
        other.write_bytes(b"")  # without a head it is the last in order
        session_id = one.recording.session.id
        assert one.spool.segments(session_id, "imu", first.name) == [first, other]
        assert one.spool.segments(session_id, "imu", other.name) == [first, other]
