from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from recorder.cli import recorder
from recorder.errors import RecorderError
from recorder.spool.pinning import pin, unpin
from recorder.spool.pins import Pin
from recorder.spool.survey import survey
from tests.recorder.spool.yard import Yard, yard

#: A disk that has never enough free, and much room for pins.
SHORT = {"free_floor_bytes": 1 << 60, "max_bytes": 1 << 30}


def times(one: Yard, lane: str) -> list[tuple[float, float]]:
    """Return when each sealed segment of a lane begins and ends, in s from the session's start."""
    start_ns = one.recording.session.start_boot_ns
    assert start_ns is not None
    sealed = (each for each in one.spool.entries(one.id) if each["entry"] == "sealed")
    return [
        ((each["first_boot_ns"] - start_ns) / 1e9, (each["last_boot_ns"] - start_ns) / 1e9)
        for each in sealed
        if each["lane"] == lane
    ]


def test_a_pinned_session_is_never_given_up(tmp_path: Path) -> None:
    with yard(tmp_path) as one:
        one.fill("imu", segments=2)
        ended = one.next_session()
        one.fill("imu", segments=2)
        kept = one.files(ended)
        told = pin(one.known(), one.recording, ended[:8])
        assert told["id"] == ended
        assert told["session_bytes"] == sum(path.stat().st_blocks * 512 for path in kept)
        one.known(**SHORT).keep(one.recording)
        assert one.files(ended) == kept
        assert one.tombstones(ended) == []
        assert len(one.tombstones()) == 2


def test_what_is_not_pinned_any_more_goes(tmp_path: Path) -> None:
    with yard(tmp_path) as one:
        one.fill("imu", segments=2)
        ended = one.next_session()
        pin(one.known(), one.recording, ended)
        unpin(one.known(), one.recording, ended)
        one.known(**SHORT).keep(one.recording)
        assert one.files(ended) == set()


def test_a_stretch_holds_the_segments_that_it_touches(tmp_path: Path) -> None:
    with yard(tmp_path) as one:
        one.fill("imu", segments=5)
        paths, spans = one.sealed("imu"), times(one, "imu")
        sizes = [path.stat().st_blocks * 512 for path in paths]
        told = pin(one.known(), one.recording, one.id, to_s=spans[1][0] + 1e-6)
        assert told["session_bytes"] == sum(sizes[:2])
        told = pin(one.known(), one.recording, one.id, from_s=spans[4][1] - 1e-6)
        assert told["session_bytes"] == sum(sizes[:2]) + sizes[4]
        one.known(**SHORT).keep(one.recording)
        assert one.sealed("imu") == [*paths[:2], paths[4]]


def test_a_pin_of_the_running_session_holds_what_comes_later_too(tmp_path: Path) -> None:
    with yard(tmp_path) as one:
        one.fill("imu")
        pin(one.known(), one.recording, one.id)
        one.fill("imu", segments=2)
        one.known(**SHORT).keep(one.recording)
        assert one.tombstones() == []


def test_a_pin_that_would_hold_too_much_is_refused_with_figures_and_changes_nothing(
    tmp_path: Path,
) -> None:
    with yard(tmp_path) as one:
        one.fill("imu", segments=4)
        ended = one.next_session()
        room = one.known(max_bytes=400_000, pin_share=0.25)
        before = one.spool.journal_path(ended).read_bytes()
        with pytest.raises(RecorderError) as caught:
            pin(room, one.recording, ended)
        assert str(caught.value) == (
            f"session {ended}: refused: with it pins would hold 0.3 MB, and they may hold 0.1 MB"
            " (spool.pin_share 0.25); unpin another, or pin a stretch of it"
        )
        assert one.spool.journal_path(ended).read_bytes() == before


def test_what_other_sessions_have_pinned_counts(tmp_path: Path) -> None:
    with yard(tmp_path) as one:
        one.fill("imu", segments=2)
        first = one.next_session()
        one.fill("imu", segments=2)
        second = one.next_session()
        room = one.known(max_bytes=600_000, pin_share=0.33)
        pin(room, one.recording, first)
        pin(room, one.recording, first)
        with pytest.raises(RecorderError, match=r"pins would hold 0\.3 MB"):
            pin(room, one.recording, second)
        unpin(room, one.recording, first)
        pin(room, one.recording, second)


def test_a_session_that_grows_beyond_the_share_is_held_from_its_oldest_segment(
    tmp_path: Path,
) -> None:
    with yard(tmp_path) as one:
        one.fill("imu")
        size = one.sealed("imu")[0].stat().st_blocks * 512
        pin(one.known(), one.recording, one.id)
        one.fill("imu", segments=4)
        paths = one.sealed("imu")
        one.known(max_bytes=4 * size, pin_share=0.5).keep(one.recording)
        assert one.sealed("imu") == paths[:2]


def test_pins_survive_the_process_that_took_them(tmp_path: Path) -> None:
    with yard(tmp_path) as one:
        one.fill("imu")
        pin(one.known(), one.recording, one.id)
        assert one.spool.entries(one.id)[-1] == {
            "entry": "pin",
            "from_boot_ns": None,
            "to_boot_ns": None,
        }
        stock = one.known().stock
        assert [each.file for each in stock.pinned()] == [path.name for path in one.sealed("imu")]


@pytest.mark.parametrize(
    ("from_s", "to_s", "why"),
    [(-1, None, "0 or more"), (5, 5, "must lie behind"), (float("nan"), None, "0 or more")],
)
def test_a_stretch_that_is_none_is_refused(
    tmp_path: Path, from_s: float, to_s: float | None, why: str
) -> None:
    with yard(tmp_path) as one:
        one.fill("imu")
        with pytest.raises(RecorderError, match=why):
            pin(one.known(), one.recording, one.id, from_s, to_s)


def test_a_session_that_holds_nothing_there_cannot_be_pinned(tmp_path: Path) -> None:
    with yard(tmp_path) as one:
        one.fill("imu")
        ended = one.next_session()
        room = one.known()
        with pytest.raises(RecorderError, match="nothing to pin"):
            pin(room, one.recording, ended, from_s=3600)
        with pytest.raises(RecorderError, match="no session begins with"):
            pin(room, one.recording, "zzz")
        with pytest.raises(RecorderError, match="nothing of it is pinned"):
            unpin(room, one.recording, ended)


def test_a_segment_without_samples_is_held_by_a_pin_of_the_whole_session_only() -> None:
    assert Pin().holds(None, None)
    assert not Pin(1, 2).holds(None, None)


# --- by the command line, without a process


@pytest.fixture
def parked(tmp_path: Path) -> Iterator[tuple[Yard, Path]]:
    """Return a spool that nobody writes to, and its configuration file."""
    file = tmp_path / "recorder.toml"
    file.write_text(
        '[spool]\ndirectory = "."\nrun_dir = "run"\n[upload]\nmode = "off"\n'
        '[[lanes]]\nname = "imu"\ndriver = "mpu6050"\n'
    )
    with yard(tmp_path) as one:
        one.fill("imu", "gps")
        one.recording.end("operator", is_destination=False)
        yield one, file


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(recorder, [str(one) for one in arguments])


def test_a_spool_that_nobody_writes_to_is_pinned_in_place(parked: tuple[Yard, Path]) -> None:
    one, file = parked
    result = call("pin", one.id[:6], "--config", file)
    assert result.exit_code == 0, result.output
    assert result.output.startswith(f"{one.id}: pinned, ")
    assert one.spool.entries(one.id)[-1]["entry"] == "pin"
    result = call("unpin", one.id[:6], "--config", file)
    assert result.exit_code == 0, result.output
    assert one.spool.entries(one.id)[-1] == {"entry": "unpin"}


def test_a_refused_pin_is_told_and_fails(parked: tuple[Yard, Path]) -> None:
    one, file = parked
    result = call("pin", one.id, "--from", "3600", "--config", file)
    assert result.exit_code == 1
    assert "nothing to pin" in result.output


def test_a_spool_that_somebody_writes_to_is_left_to_him(parked: tuple[Yard, Path]) -> None:
    one, file = parked
    lock = one.spool.hold()
    try:
        result = call("pin", one.id, "--config", file)
    finally:
        os.close(lock)
    assert result.exit_code == 1
    assert "no recorder answers at" in result.output


# --- what the spool holds


def test_the_spool_is_shown_by_session_lane_and_state(parked: tuple[Yard, Path]) -> None:
    one, file = parked
    segments = one.spool.segments(one.id, "imu")
    one.plan(0, segments[:1])
    one.receive(0, segments[:1])
    one.plan(1, one.spool.segments(one.id, "gps")[:1])
    result = call("spool", "--config", file, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    sizes = {path.name: path.stat().st_blocks * 512 for path in one.files()}
    by_lane = {each["lane"]: each for each in found["holdings"]}
    assert by_lane["imu"]["delivered"] == sizes[segments[0].name]
    assert by_lane["imu"]["pending"] == sum(sizes[path.name] for path in segments[1:])
    assert by_lane["gps"]["leased"] == sizes[one.spool.segments(one.id, "gps")[0].name]
    assert sum(found["totals"].values()) == sum(sizes.values())
    assert (found["bytes_per_s"], found["hours"]) == (None, None)
    told = " ".join(call("spool", "--config", file).output.split())
    assert f"{one.id[:8]} gps" in told
    assert "Nothing is being recorded." in told


def test_the_hours_to_the_first_loss_count_what_may_go_before(parked: tuple[Yard, Path]) -> None:
    one, _ = parked
    session = one.spool.session(one.id).to_dict()
    config = dataclasses.replace(
        one.config, spool=dataclasses.replace(one.config.spool, max_bytes=100_000_000)
    )
    found = survey(one.spool, config, session)
    assert found.bytes_per_s is not None
    assert found.hours is not None
    assert found.room_bytes == 100_000_000 - found.bytes
    assert found.hours == pytest.approx(found.room_bytes / found.bytes_per_s / 3600)
    imu = one.spool.segments(one.id, "imu")
    one.plan(0, imu)
    one.receive(0, imu)
    later = survey(one.spool, config, session)
    assert later.hours is not None
    assert later.hours == pytest.approx(
        (later.room_bytes + later.total("delivered")) / found.bytes_per_s / 3600
    )
    assert later.total("delivered") > 0


def test_what_outgrows_its_share_is_told_with_counts_before_and_when_it_is_given_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with yard(tmp_path) as one:
        one.fill("imu")
        size = one.sealed("imu")[0].stat().st_blocks * 512
        told = pin(one.known(), one.recording, one.id)
        assert told["is_growing"]
        one.fill("imu", segments=4)
        paths = one.sealed("imu")
        room = one.known(max_bytes=4 * size, pin_share=0.5)
        room.settle(one.recording.session)
        (text,) = caplog.messages
        assert f"outgrown the {2 * size} bytes" in text
        assert (
            f"3 segments ({sum(each.stat().st_blocks for each in paths[2:]) * 512} bytes)" in text
        )
        room.settle(one.recording.session)
        assert len(caplog.messages) == 1
        rows = [one.rows(path) for path in paths[2:]]
        room.keep(one.recording)
        assert f"3 pinned segments ({sum(rows)} samples) were given up so far" in caplog.text
        assert [each["pinned"] for each in one.tombstones()] == [True] * 3
        assert one.ledger("imu").lost_evicted == sum(rows), "and the ledger counts it"
        assert one.ledger("imu").imbalances() == []


def test_what_is_pinned_beyond_the_share_goes_behind_what_nobody_pinned(tmp_path: Path) -> None:
    with yard(tmp_path) as one:
        one.fill("camera", segments=2)
        first = one.next_session()
        pin(one.known(), one.recording, first)
        one.fill("camera", "gps", segments=2)
        pinned, plain = one.files(first), one.files() - one.recording.open_files()
        for left in range(len(plain) - 1, -1, -1):
            assert one.room(missing_bytes=1, pin_share=0.0).keep(one.recording) > 0
            assert len(plain & one.files()) == left
            assert one.files(first) == pinned
        assert one.room(missing_bytes=1, pin_share=0.0).keep(one.recording) > 0
        assert len(one.files(first)) == len(pinned) - 1


def test_a_stretch_that_is_over_does_not_grow(tmp_path: Path) -> None:
    with yard(tmp_path) as one:
        one.fill("imu", segments=2)
        ended = one.next_session()
        assert not pin(one.known(), one.recording, ended)["is_growing"]
        one.fill("imu", segments=1)
        told = pin(one.known(), one.recording, one.id, 0.0, 0.000_001)
        assert not told["is_growing"]


def test_the_survey_tells_what_is_pinned_and_not_held(tmp_path: Path) -> None:
    with yard(tmp_path) as one:
        one.fill("imu", segments=3)
        size = one.sealed("imu")[0].stat().st_blocks * 512
        pin(one.known(), one.recording, one.id)
        settings = dataclasses.replace(one.config.spool, max_bytes=4 * size, pin_share=0.5)
        found = survey(one.spool, dataclasses.replace(one.config, spool=settings), None)
        assert found.pin_excess == (1, one.sealed("imu")[2].stat().st_blocks * 512)
        assert found.total("pinned") == 2 * size
        assert found.to_dict()["pin_excess"] == found.pin_excess
