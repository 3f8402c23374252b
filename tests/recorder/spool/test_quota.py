from __future__ import annotations

import errno
import functools
import json
import os
from pathlib import Path

import pytest

from recorder.cli.sources import from_spool
from recorder.clock import Mapping
from recorder.spool import quota
from recorder.spool.journal import Journal
from recorder.spool.leases import Deliveries, evicted_by, evicted_rows
from recorder.spool.quota import MOST_JOURNALS, MOST_SEGMENTS
from recorder.spool.reserve import RESERVE_BYTES, SLICE_BYTES, Reserve
from recorder.spool.stock import Stock
from recorder.upload.conclusion import terminal_record
from recorder.upload.log import UploadLog
from tests.recorder.building import assert_sound, full_disk
from tests.recorder.spool.yard import SEGMENT_BYTES, Yard, yard

ALL = 1 << 40


def gone(one: Yard, before: set[Path]) -> list[tuple[str, str]]:
    """Return lane and name of what was given up, in the order of the tombstones."""
    missing = {(path.parent.name, path.name) for path in before - one.files()}
    told = [(each["lane"], each["file"]) for each in one.tombstones()]
    assert missing == set(told)
    assert len(missing) == len(told)
    return told


def named(paths: list[Path]) -> list[tuple[str, str]]:
    return [(path.parent.name, path.name) for path in paths]


def test_pictures_go_first_then_fast_rows_and_slow_ones_last_each_oldest_first(
    tmp_path: Path,
) -> None:
    with yard(tmp_path) as one:
        one.fill("gps", "imu", "camera", segments=2)
        one.fill("gps", "imu", "camera")
        before, order = one.files(), []
        for lane in ("camera", "imu", "gps"):
            order += named(one.sealed(lane))
        for count in range(1, 10):
            assert one.room(missing_bytes=1).keep(one.recording) > 0
            assert gone(one, before) == order[:count]
        assert one.room(missing_bytes=1).keep(one.recording) == 0
        assert all(each["delivered"] is False for each in one.tombstones())


def test_what_the_server_holds_goes_before_everything_else(tmp_path: Path) -> None:
    with yard(tmp_path) as one:
        one.fill("camera", "gps", segments=2)
        before, delivered = one.files(), one.sealed("gps")[1:]
        oldest_picture = named(one.sealed("camera")[:1])
        one.plan(0, delivered)
        one.receive(0, delivered)
        one.room(missing_bytes=1).keep(one.recording)
        assert gone(one, before) == named(delivered)
        assert one.tombstones()[0]["delivered"] is True
        one.room(missing_bytes=1).keep(one.recording)
        assert gone(one, before)[1:] == oldest_picture


def test_a_configured_priority_stands_above_what_a_lane_is(tmp_path: Path) -> None:
    with yard(tmp_path, camera=1, gps=-1) as one:
        one.fill("camera", "imu", "gps")
        before = one.files()
        wanted = named([*one.sealed("gps"), *one.sealed("imu"), *one.sealed("camera")])
        one.room(missing_bytes=ALL).keep(one.recording)
        assert gone(one, before) == wanted


def test_a_segment_that_was_said_once_more_is_as_old_as_it_was(tmp_path: Path) -> None:
    # As a process leaves it that is killed between the line said again and the tombstone.
    with yard(tmp_path) as one:
        one.fill("imu", segments=3)
        ended, before = one.id, one.files()
        order = named(one.sealed("imu"))
        one.next_session()
        said = [each for each in one.spool.entries(ended) if each["entry"] == "sealed"]
        log = Journal(one.spool.journal_path(ended))
        log.record(next(each for each in said if each["file"] == order[0][1]))
        log.close()
        assert one.room(missing_bytes=1).keep(one.recording) > 0
        told = [(each["lane"], each["file"]) for each in one.tombstones(ended)]
        assert told == order[:1]
        assert named(sorted(before - one.files(ended))) == order[:1]


def test_what_is_about_to_be_sent_goes_last_and_its_tombstone_says_so(tmp_path: Path) -> None:
    with yard(tmp_path) as one:
        one.fill("camera", "gps", segments=2)
        before, leased = one.files(), one.sealed("camera")[:1]
        one.plan(0, leased)
        wanted = named([*one.sealed("camera")[1:], *one.sealed("gps"), *leased])
        one.room(missing_bytes=ALL).keep(one.recording)
        assert gone(one, before) == wanted
        assert [each["leased"] for each in one.tombstones()] == [False, False, False, True]


@pytest.mark.parametrize("ending", ["parked", "dropped"])
def test_a_part_that_will_not_be_sent_leases_nothing(tmp_path: Path, ending: str) -> None:
    with yard(tmp_path) as one:
        one.fill("camera", segments=2)
        leased = one.sealed("camera")[:1]
        one.plan(0, leased)
        one.tell({"entry": ending, "part": 0, "reason": "refused"})
        one.room(missing_bytes=1).keep(one.recording)
        assert [(each["file"], each["leased"]) for each in one.tombstones()] == [
            (leased[0].name, False)
        ]


def test_the_open_segments_stay_even_if_the_disk_needs_everything(tmp_path: Path) -> None:
    with yard(tmp_path) as one:
        one.fill("camera", "imu", "gps")
        opened = one.recording.open_files()
        assert len(opened) == 3
        one.room(missing_bytes=ALL).keep(one.recording)
        assert one.files() == opened


def test_nothing_is_given_up_while_there_is_room(tmp_path: Path) -> None:
    with yard(tmp_path) as one:
        one.fill("camera", segments=3)
        before = one.files()
        assert one.room().keep(one.recording) == 0
        assert one.room(max_bytes=ALL).keep(one.recording) == 0
        assert one.files() == before


def test_no_more_is_given_up_than_is_missing(tmp_path: Path) -> None:
    with yard(tmp_path) as one:
        one.fill("camera", segments=5)
        missing = 2 * one.sealed("camera")[0].stat().st_blocks * 512
        one.room(missing_bytes=missing).keep(one.recording)
        assert len(one.tombstones()) == 2


def test_what_is_given_up_is_counted_and_the_session_ends_truncated(tmp_path: Path) -> None:
    with yard(tmp_path) as one:
        one.fill("camera", "imu", segments=2)
        rows = sum(one.rows(path) for path in one.sealed("imu"))
        room = one.room(missing_bytes=ALL)
        room.keep(one.recording)
        room.settle(one.recording.session)
        imu = one.ledger("imu")
        assert (imu.lost_evicted, imu.pending) == (rows, imu.stored - rows)
        assert [text for each in one.recording.session.lanes for text in each.imbalances()] == []
        assert_sound(one.spool.directory)
        one.recording.end("operator", is_destination=True)
        assert one.recording.session.state.name == "truncated"


def test_a_receipt_that_comes_later_makes_what_was_given_up_delivered(tmp_path: Path) -> None:
    with yard(tmp_path) as one:
        one.fill("imu", segments=2)
        sent = one.sealed("imu")[:1]
        rows = one.rows(sent[0])
        one.plan(0, sent)
        room = one.room(missing_bytes=ALL)
        room.keep(one.recording)
        room.settle(one.recording.session)
        imu = one.ledger("imu")
        lost = imu.lost_evicted
        assert lost > rows
        one.receive(0, sent)
        room.settle(one.recording.session)
        assert (imu.delivered, imu.lost_evicted) == (rows, lost - rows)
        assert imu.imbalances() == []


def test_of_a_segment_that_was_delivered_in_part_only_the_rest_is_lost(tmp_path: Path) -> None:
    with yard(tmp_path) as one:
        one.fill("imu")
        (path,) = one.sealed("imu")
        rows = one.rows(path)
        one.plan(0, [path], last_rows=rows - 10)
        one.receive(0, [path], last_rows=rows - 10)
        room = one.room(missing_bytes=ALL)
        room.settle(one.recording.session)
        room.keep(one.recording)
        room.settle(one.recording.session)
        imu = one.ledger("imu")
        assert (imu.delivered, imu.lost_evicted) == (rows - 10, 10)
        assert imu.pending == imu.stored - rows
        assert imu.imbalances() == []


def test_sessions_that_ended_give_up_first_and_say_so_in_their_own_journal(tmp_path: Path) -> None:
    with yard(tmp_path) as one:
        one.fill("imu", segments=2)
        ended = one.next_session()
        one.fill("imu", segments=2)
        oldest, entries = one.sealed("imu", ended)[0].name, one.spool.entries(ended)
        one.room(missing_bytes=1).keep(one.recording)
        assert [each["file"] for each in one.tombstones(ended)] == [oldest]
        assert one.tombstones() == []
        sealed = (each for each in entries if each["entry"] == "sealed")
        count = next(each["rows"] for each in sealed if each["file"] == oldest)
        (shown,) = [each for each in from_spool(one.spool) if each["id"] == ended]
        (imu,) = [each for each in shown["lanes"] if each["name"] == "imu"]
        assert (imu["lost_evicted"], imu["pending"]) == (count, imu["stored"] - count)
        assert_sound(one.spool.directory)


def test_what_is_given_up_after_its_end_reaches_the_terminal_record(tmp_path: Path) -> None:
    with yard(tmp_path) as one:
        one.fill("imu", segments=2)
        paths = one.sealed("imu")
        rows = [one.rows(path) for path in paths]
        # The uploader planned the first; then room was needed, and the part was put all the same.
        one.plan(0, paths[:1])
        one.receive(0, paths[:1])
        ended = one.next_session()
        one.room(missing_bytes=ALL).keep(one.recording)
        entries = one.spool.entries(ended)
        held = Deliveries(one.config.upload_dir / ended)
        held.look()
        lost = evicted_rows(evicted_by(entries), held.rows)
        assert lost["imu"] == sum(each["rows"] for each in one.tombstones(ended)) - rows[0]
        log = UploadLog(tmp_path / "none")
        record = terminal_record(
            one.spool.session(ended), entries, log, Mapping(((0, 0),), "none", 0)
        )
        log.close()
        (imu,) = [each for each in record.lanes if each.name == "imu"]
        # To this uploader nothing was delivered: all that was given up is lost.
        assert imu.lost_evicted == imu.stored
        assert record.state.name == "truncated"


def test_what_a_loss_of_power_brings_back_is_removed_again(tmp_path: Path) -> None:
    with yard(tmp_path) as one:
        one.fill("imu", segments=2)
        ended = one.next_session()
        first = one.sealed("imu", ended)[0]
        raw = first.read_bytes()
        one.room(missing_bytes=1).keep(one.recording)
        first.write_bytes(raw)
        one.room().keep(one.recording)
        assert not first.exists()
        assert len(one.tombstones(ended)) == 1


def test_a_file_stays_when_its_tombstone_cannot_be_written(tmp_path: Path) -> None:
    with yard(tmp_path) as one:
        one.fill("imu", segments=2)
        ended = one.next_session()
        before = one.files(ended)
        room = one.room(missing_bytes=1)
        room.stock.learn(ALL)
        with (
            full_disk(one.spool.journal_path(ended).stat().st_size),
            pytest.raises(OSError, match="too large"),
        ):
            room.keep(one.recording)
        assert one.files(ended) == before
        assert room.keep(one.recording) > 0
        assert len(before - one.files(ended)) == len(one.tombstones(ended)) == 1


def test_one_commit_gives_up_a_bounded_number_of_segments(tmp_path: Path) -> None:
    with yard(tmp_path) as one:
        one.fill("gps", segments=MOST_SEGMENTS + 3)
        room = one.room(missing_bytes=ALL)
        room.keep(one.recording)
        assert len(one.tombstones()) == MOST_SEGMENTS
        room.keep(one.recording)
        # The one behind the last of them is being written.
        assert len(one.tombstones()) == MOST_SEGMENTS + 3


def test_one_commit_writes_to_a_bounded_number_of_journals(tmp_path: Path) -> None:
    with yard(tmp_path) as one:
        ended = []
        for _ in range(MOST_JOURNALS + 2):
            one.fill("imu")
            ended.append(one.next_session())
        room = one.room(missing_bytes=ALL)
        room.keep(one.recording)
        assert [bool(one.tombstones(each)) for each in ended] == [True] * MOST_JOURNALS + [
            False
        ] * 2


def test_until_the_spool_is_known_nothing_goes_unless_a_lane_starves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with yard(tmp_path) as one:
        one.fill("imu")
        one.next_session()
        one.fill("camera", "imu")
        room = one.room(missing_bytes=ALL)
        monkeypatch.setattr(quota, "LEARN_BYTES", 0)
        assert room.keep(one.recording) == 0
        assert room.keep(one.recording, starved=["gps"]) > 0


def test_a_journal_is_read_once_and_then_only_what_is_new(tmp_path: Path) -> None:
    with yard(tmp_path) as one:
        one.fill("imu")
        stock = Stock(one.spool, one.config)
        assert [each.id for each in stock.learn(ALL)] == [one.id]
        path = one.spool.journal_path(one.id)
        known = path.stat().st_size
        one.fill("imu")
        with path.open("r+b") as file:
            file.write(b"x" * known)  # what was read already may be anything by now
        assert len(stock.follow(one.id).segments) == 2
        assert stock.follow(one.id).look() == 0


def test_what_went_is_not_remembered_for_longer_than_its_account_is_open(tmp_path: Path) -> None:
    with yard(tmp_path) as one:
        one.fill("imu", segments=3)
        ended = one.next_session()
        room = one.room(missing_bytes=ALL)
        room.keep(one.recording)
        stock = room.stock.follow(ended)
        assert len(stock.evicted) == len(one.tombstones(ended)) > 0
        room.settle(one.recording.session)
        assert (stock.evicted, stock.segments, stock.leftovers) == ({}, {}, [])


def test_a_torn_line_is_read_when_it_is_whole(tmp_path: Path) -> None:
    with yard(tmp_path) as one:
        one.fill("imu", segments=2)
        path = one.spool.journal_path(one.id)
        whole = path.read_bytes()
        line = whole.rindex(b'{"entry":"sealed"')
        path.write_bytes(whole[: line + 20])
        stock = Stock(one.spool, one.config)
        assert len(stock.follow(one.id).segments) == 1
        path.write_bytes(whole)
        assert len(stock.follow(one.id).segments) == 2


def test_a_journal_that_was_written_anew_counts_and_not_the_old_one(tmp_path: Path) -> None:
    with yard(tmp_path) as one:
        one.fill("imu", segments=2)
        path = one.spool.journal_path(one.id)
        stock = Stock(one.spool, one.config)
        assert len(stock.follow(one.id).segments) == 2
        lines = path.read_bytes().splitlines(keepends=True)
        draft = path.with_name("draft")
        kept = [line for line in lines if b'{"entry":"sealed"' not in line]
        draft.write_bytes(b"".join(kept))
        draft.replace(path)
        assert len(stock.follow(one.id).segments) == 0


def test_the_space_in_reserve_is_held_where_there_is_room_for_it(tmp_path: Path) -> None:
    with yard(tmp_path) as one:
        one.room().keep(one.recording)
        reserve = one.spool.directory / "reserve"
        assert reserve.stat().st_blocks * 512 >= RESERVE_BYTES


def test_a_disk_that_gives_no_more_is_recorded_to_with_what_it_gave(tmp_path: Path) -> None:
    with yard(tmp_path) as one:
        reserve = one.spool.directory / "reserve"
        with full_disk(RESERVE_BYTES - 1):
            one.room().keep(one.recording)
        assert 0 < reserve.stat().st_size < RESERVE_BYTES
        one.room().keep(one.recording)
        assert reserve.stat().st_size == RESERVE_BYTES


def test_a_tombstone_spends_of_the_reserve_what_it_needs_and_no_more(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path)
    reserve.fill()
    written: list[int] = []

    def write() -> None:
        if reserve.size_bytes > RESERVE_BYTES - 3 * SLICE_BYTES:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(reserve.size_bytes)

    reserve.spend_on(write)
    assert written == [RESERVE_BYTES - 3 * SLICE_BYTES]
    reserve.fill()
    assert reserve.size_bytes == RESERVE_BYTES


def test_a_reserve_that_does_not_help_is_spent_and_the_error_told(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path)
    reserve.fill()

    def refuse(code: int) -> None:
        raise OSError(code, os.strerror(code))

    with pytest.raises(OSError, match="Input/output"):
        reserve.spend_on(functools.partial(refuse, errno.EIO))
    assert reserve.size_bytes == RESERVE_BYTES
    with pytest.raises(OSError, match="No space"):
        reserve.spend_on(functools.partial(refuse, errno.ENOSPC))
    assert reserve.size_bytes == 0


def test_what_is_given_up_fills_the_reserve_first(tmp_path: Path) -> None:
    with yard(tmp_path) as one:
        one.fill("imu", segments=2)
        assert one.room(missing_bytes=1).keep(one.recording) > 0
        assert (one.spool.directory / "reserve").stat().st_size == RESERVE_BYTES


def test_when_nothing_else_is_left_the_least_lane_ends_its_segment_for_a_better_one(
    tmp_path: Path,
) -> None:
    with yard(tmp_path) as one:
        one.fill("camera", "imu", "gps")
        room = one.room(missing_bytes=ALL)
        while room.keep(one.recording, starved=["gps"]):
            pass
        assert one.files() == one.recording.open_files()
        (opened,) = [path for path in one.files() if path.parent.name == "camera"]
        one.commit()
        assert room.keep(one.recording, starved=["gps"]) > 0
        assert not opened.exists()
        assert {path.parent.name for path in one.files()} == {"imu", "gps"}


def test_the_least_lane_gets_no_space_of_a_better_one_that_is_being_written(tmp_path: Path) -> None:
    with yard(tmp_path) as one:
        one.fill("camera", "imu", "gps")
        room = one.room(missing_bytes=ALL)
        for _ in range(5):
            room.keep(one.recording, starved=["camera"])
            one.commit()
        assert one.files() == one.recording.open_files()
        assert {path.parent.name for path in one.files()} == {"camera", "imu", "gps"}
        sizes = [path.stat().st_size for path in one.files()]
        assert sizes == [SEGMENT_BYTES] * 3, "none was cut"


def test_a_lane_without_a_segment_of_its_own_ends_no_better_lanes_segment(tmp_path: Path) -> None:
    with yard(tmp_path) as one:
        one.fill("camera")
        one.next_session()
        one.fill("imu", "gps")
        room = one.room(missing_bytes=ALL)
        for starved in (["camera"], ["camera"], [], ["camera"]):
            room.keep(one.recording, starved)
            one.commit()
        assert {path.parent.name for path in one.files()} == {"imu", "gps"}
        assert one.files() == one.recording.open_files()
        assert [path.stat().st_size for path in one.files()] == [SEGMENT_BYTES] * 2, "none was cut"
        room.keep(one.recording, starved=["journal"])
        one.commit()
        assert sorted(path.stat().st_size for path in one.files())[0] < SEGMENT_BYTES


def test_a_segment_that_got_nothing_but_its_head_is_written_on_later(tmp_path: Path) -> None:
    with yard(tmp_path) as one:
        one.fill("imu")
        room = one.room(missing_bytes=ALL)
        head_only = one.spool.journal_path(one.id).stat().st_size
        one.put("camera")
        with full_disk(head_only), pytest.raises(OSError, match="too large"):
            one.commit()
        for _ in range(3):
            room.keep(one.recording, starved=["imu", "journal"])
            one.commit()
        one.fill("camera")
        assert one.ledger("camera").lost_write == 0


def test_a_tombstone_says_what_a_stranger_needs(tmp_path: Path) -> None:
    with yard(tmp_path) as one:
        one.fill("imu")
        (path,) = one.sealed("imu")
        rows = one.rows(path)
        one.room(missing_bytes=1).keep(one.recording)
        assert one.tombstones() == [
            {
                "entry": "evicted",
                "lane": "imu",
                "file": path.name,
                "rows": rows,
                "delivered": False,
                "leased": False,
            }
        ]


def test_a_receipt_without_its_plan_still_frees_the_segments(tmp_path: Path) -> None:
    with yard(tmp_path) as one:
        one.fill("imu", segments=2)
        held = one.sealed("imu")[1:]
        one.receive(0, held)
        one.room(missing_bytes=1).keep(one.recording)
        assert one.tombstones()[0]["file"] == held[0].name
        assert one.tombstones()[0]["delivered"] is True
        one.room().settle(one.recording.session)
        assert one.ledger("imu").lost_evicted == 0
        assert one.ledger("imu").imbalances() == []


def test_a_line_of_the_uploader_that_nobody_knows_is_passed_over(tmp_path: Path) -> None:
    with yard(tmp_path) as one:
        one.fill("imu")
        one.tell({"entry": "someday", "part": 7})
        one.tell({"entry": "planned", "part": 0, "lane": "recorder/session", "pieces": []})
        log = Journal(one.config.upload_dir / one.id)
        log.record(json.loads('{"entry": "opened", "uuid": "u", "locator": "l"}'))
        log.close()
        assert one.room(missing_bytes=1).keep(one.recording) > 0
