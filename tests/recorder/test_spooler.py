from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import signal
import subprocess
import time
import uuid
from collections import deque
from pathlib import Path
from typing import Any

import pytest

from recorder import command
from recorder.booking import LATE_NS
from recorder.clock import boot_id, boot_ns, system_anchor
from recorder.errors import RecorderError, SpoolFormatError
from recorder.record import EVENT
from recorder.ring import RingReader
from recorder.service import Stop
from recorder.spool import volume
from recorder.spool.segment import SegmentReader
from recorder.spool.spool import Spool
from recorder.spooler import Spooler
from recorder.time_model import TimeModel
from tests.recorder.building import (
    Machine,
    Producer,
    assert_sound,
    full_disk,
    lane_numbers,
    machine,
    new_session,
    schema,
    shelf,
    wait_until,
)


def sessions(one: Machine) -> list[Any]:
    spool = Spool(one.spool)
    return [spool.session(session_id) for session_id in spool.session_ids()]


def counts(one: Machine) -> dict[str, int]:
    """Return the sums of the ledgers of all sessions; each must balance."""
    total: dict[str, int] = {}
    for session in sessions(one):
        for account in session.lanes:
            assert account.imbalances() == []
            for key, value in account.to_dict().items():
                if isinstance(value, int) and not key.endswith("_ns"):
                    total[key] = total.get(key, 0) + value
    return total


def assert_whole(one: Machine) -> dict[str, int]:
    """Each number of the device is there once, or counted; the device's numbers say which.

    The last one is what it gave at its end, stored or not.
    """
    assert_sound(one.spool)
    last = one.sign("lane-imu")["measured"]["number"]
    found = lane_numbers(one.spool, "imu")
    total = counts(one)
    assert found == sorted(set(found))
    assert len(found) == total["stored"] == total["delivered"]
    missed = last - found[0] + 1 - len(found)
    assert missed == total["lost_absent"] + total["lost_ring"] + total["lost_source"]
    assert total["expected"] == last - found[0] + 1
    return total


def random_instant(dice: random.Random) -> None:
    """Let up to two commits pass; nothing waits for it."""
    time.sleep(dice.uniform(0, 0.1))


def grows(one: Machine, by: int = 50) -> None:
    wait_until(one.is_at_work)
    before = one.stored()
    wait_until(lambda: one.stored() >= before + by)


def test_a_recording_holds_every_number_of_the_device_once(tmp_path: Path) -> None:
    with machine(tmp_path) as one:
        one.start("spool")
        one.start("lane")
        grows(one, 200)
        for name, process in one.processes.items():
            maps = Path(f"/proc/{process.pid}/maps").read_text()
            assert "python" in maps
            assert "numpy" not in maps, name
            assert "arrow" not in maps, name
        assert one.end("lane") == 0
        assert one.end("spool") == 0
        total = assert_whole(one)
        assert total["lost_absent"] == total["lost_ring"] == 0
        (session,) = sessions(one)
        assert (session.state.name, session.end_reason) == ("closed", "shutdown")
        assert session.quality.value == 1.0


def killed(one: Machine, process: str, times: int) -> dict[str, int]:
    """Record while a process is killed at any instant, so many times; return the totals."""
    dice = random.Random(7)
    one.start("spool")
    one.start("lane")
    for _ in range(times):
        grows(one, 20)
        random_instant(dice)
        one.kill(process)
        one.start(process)
    grows(one)
    one.end("lane")
    one.end("spool")
    return assert_whole(one)


def test_a_spooler_killed_at_any_instant_costs_and_doubles_nothing(tmp_path: Path) -> None:
    # A session of a usual heartbeat: on a busy machine a process may be 8 s in starting.
    with machine(tmp_path, heartbeat_s=10.0) as one:
        total = killed(one, "spool", 12)
        assert total["lost_absent"] == total["lost_ring"] == total["lost_crc"] == 0
        assert len(sessions(one)) == 1  # the same session goes on


def test_a_lane_told_to_end_while_it_is_held_up_brings_what_its_device_kept(tmp_path: Path) -> None:
    with machine(tmp_path) as one:
        one.start("spool")
        lane = one.start("lane")
        grows(one)
        lane.send_signal(signal.SIGSTOP)
        until_ns = boot_ns() + 3 * LATE_NS  # it is as late as that, by the clock
        wait_until(lambda: boot_ns() > until_ns)
        lane.send_signal(signal.SIGTERM)
        lane.send_signal(signal.SIGCONT)
        one.end("lane")
        one.end("spool")
        total = assert_whole(one)
        assert total["lost_absent"] == 0


def test_a_killed_lane_costs_what_the_device_counted_meanwhile(tmp_path: Path) -> None:
    with machine(tmp_path) as one:
        total = killed(one, "lane", 3)
        assert total["lost_absent"] > 0
        assert total["lost_source"] == 0


def test_both_killed_at_once_go_on_where_they_were(tmp_path: Path) -> None:
    with machine(tmp_path) as one:
        one.start("spool")
        one.start("lane")
        for first, second in (("spool", "lane"), ("lane", "spool")):
            grows(one)
            one.kill(first)
            one.kill(second)
            one.start(second)
            one.start(first)
        grows(one)
        one.end("lane")
        one.end("spool")
        assert assert_whole(one)["lost_ring"] == 0


def test_a_ring_that_overflows_while_nobody_reads_it_counts_exactly(tmp_path: Path) -> None:
    with machine(tmp_path, rate_hz=2000, ring_bytes=65_536) as one:
        one.start("spool")
        one.start("lane")
        grows(one)
        one.kill("spool")
        wait_until(lambda: one.sign("lane-imu").get("losses", {}).get("ring", 0) > 0)
        one.start("spool")
        grows(one)
        one.end("lane")
        one.end("spool")
        total = assert_whole(one)
        assert total["lost_ring"] > 0
        assert len(sessions(one)) == 1


def test_new_sessions_by_command_share_no_sample_and_miss_none(tmp_path: Path) -> None:
    with machine(tmp_path) as one:
        one.start("spool")
        one.start("lane")
        ids = []
        for _ in range(4):
            grows(one, 30)
            ids.append(command.ask(one.config.command_socket, "new")["id"])
        grows(one, 30)
        one.end("lane")
        one.end("spool")
        total = assert_whole(one)
        assert total["lost_absent"] == total["lost_ring"] == 0
        assert [session.id for session in sessions(one)][1:] == ids
        assert all(session.quality.value == 1.0 for session in sessions(one))


def test_a_session_that_is_old_enough_rolls_over_without_losing_a_sample(tmp_path: Path) -> None:
    with machine(tmp_path, roll_over_s=0.4) as one:
        one.start("spool")
        one.start("lane")
        wait_until(lambda: one.sign("spool") and len(Spool(one.spool).session_ids()) >= 3)
        one.end("lane")
        one.end("spool")
        assert_whole(one)
        assert {session.end_reason for session in sessions(one)} == {"roll_over", "shutdown"}


def test_sessions_that_rolled_over_are_given_up_oldest_first_to_keep_the_maximum(
    tmp_path: Path,
) -> None:
    # Each session ends with its first segment: nothing of it was known while it ran.
    # Their journals alone take 140 kB.
    with machine(tmp_path, rate_hz=500, roll_over_s=0.3, max_bytes=250_000) as one:
        one.start("spool")
        one.start("lane")
        wait_until(lambda: one.sign("spool") and len(Spool(one.spool).session_ids()) >= 12)
        one.end("lane")
        one.end("spool")
        spool = Spool(one.spool)
        # The last one may have begun a moment before the end, and have nothing.
        begun = [session for session in sessions(one) if session.lanes[0].acquired]
        held = [bool(spool.segments(session.id, "imu")) for session in begun]
        assert held == sorted(held), "an older session is held where a newer one was given up"
        assert not held[0]
        assert held[-1]
        assert counts(one)["lost_evicted"] == 0  # counted in each journal, by its tombstones
        assert_sound(one.spool)


@pytest.mark.parametrize("place", ["reserve/x", "aside", "gone", "sessions", "lock/x", "boots"])
def test_something_strange_in_the_recorders_place_is_moved_and_kept(
    tmp_path: Path, place: str
) -> None:
    one = Machine(tmp_path)
    path = one.spool / place
    path.parent.mkdir(parents=True)
    path.write_text("somebody's")
    spooler = Spooler(one.config)
    spooler.commit()
    assert spooler.recording is not None
    spooler.close()
    (kept,) = one.spool.glob(f"{place.partition('/')[0]}-strange-1*")
    assert (kept / "x" if kept.is_dir() else kept).read_text() == "somebody's"


def test_a_session_that_a_full_disk_keeps_from_beginning_leaves_nothing_behind(
    tmp_path: Path,
) -> None:
    one = Machine(tmp_path)
    spooler = Spooler(one.config)
    try:
        spooler.archive.end("roll_over")  # and the next one finds no room
        open_files = len(list(Path("/proc/self/fd").iterdir()))
        for _ in range(20):
            with full_disk(64), pytest.raises(OSError, match="too large"):
                spooler.archive.announce()
        assert len(list(Path("/proc/self/fd").iterdir())) == open_files
        assert not (one.spool / "aside").exists()
        spooler.commit()
        assert spooler.recording is not None
    finally:
        spooler.close()


def test_a_name_that_was_set_stands_in_every_later_heartbeat(tmp_path: Path) -> None:
    with machine(tmp_path, heartbeat_s=1.0) as one:
        one.start("spool")
        one.start("lane")
        grows(one)
        command.ask(one.config.command_socket, "set", identifier="{vehicle}-x")
        before = sessions(one)[0].heartbeat_seq
        wait_until(lambda: sessions(one)[0].heartbeat_seq > before + 1)
        assert sessions(one)[0].identifier == "vehicle-x"


def test_what_a_killed_spooler_answered_is_in_the_journal(tmp_path: Path) -> None:
    with machine(tmp_path, commit_interval_s=5.0) as one:
        one.start("spool")
        wait_until(lambda: one.sign("spool"))
        socket = one.config.command_socket
        answer = command.ask(socket, "mark", label="here")
        command.ask(socket, "set", details={"route": "loop"}, identifier="{vehicle}-x")
        one.kill("spool")
        spool = Spool(one.spool)
        entries = spool.entries(answer["id"])
        assert [entry["label"] for entry in entries if entry["entry"] == "mark"] == ["here"]
        assert spool.session(answer["id"]).details["route"] == "loop"
        assert spool.session(answer["id"]).identifier == "vehicle-x"


def test_stop_ends_the_session_before_it_answers_and_start_begins_another(tmp_path: Path) -> None:
    with machine(tmp_path) as one:
        one.start("spool")
        one.start("lane")
        grows(one)
        socket = one.config.command_socket
        first = command.ask(socket, "stop")["id"]
        assert Spool(one.spool).session(first).end_reason == "operator"
        with pytest.raises(RecorderError, match="no session"):
            command.ask(socket, "stop")
        second = command.ask(socket, "start")["id"]
        grows(one)
        one.end("lane")
        one.end("spool")
        assert [session.id for session in sessions(one)] == [first, second]
        found = lane_numbers(one.spool, "imu")
        assert found == sorted(set(found))
        assert_sound(one.spool)
        counts(one)


@pytest.mark.parametrize("identifier", ["{}", "{x}", "{vehicle.nothing}", "{", "{start!z}"])
def test_a_name_that_cannot_be_filled_in_is_refused_and_harms_nothing(
    tmp_path: Path, identifier: str
) -> None:
    one = Machine(tmp_path)
    spooler = Spooler(one.config)
    try:
        with pytest.raises(RecorderError, match="identifier"):
            answer_of(spooler, command="set", identifier=identifier)
        answer_of(spooler, command="new")
        spooler.commit()
    finally:
        spooler.close()


def answer_of(spooler: Spooler, **request: Any) -> dict[str, Any]:
    from recorder.orders import answer  # noqa: PLC0415 - beside its only use

    return answer(spooler, request)


def test_a_full_disk_costs_only_what_the_ring_counts_and_recording_goes_on(tmp_path: Path) -> None:
    # A soft limit on the size of files is the full disk: short writes, then an error, and nobody
    # needs to be root. It stands until it is lifted.
    with machine(tmp_path, rate_hz=2000, ring_bytes=65_536, segment_bytes=1 << 20) as one:
        spool = one.start("spool")
        one.start("lane")
        grows(one)
        hard = resource.prlimit(spool.pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(spool.pid, resource.RLIMIT_FSIZE, (100_000, hard))
        wait_until(lambda: one.sign("lane-imu")["losses"]["ring"] > 0)
        assert "cannot write" in one.sign("spool")["state"]
        resource.prlimit(spool.pid, resource.RLIMIT_FSIZE, (hard, hard))
        grows(one)
        assert one.end("lane") == 0
        assert one.end("spool") == 0
        assert assert_whole(one)["lost_ring"] > 0
        assert len(sessions(one)) == 1


def test_a_disk_without_a_single_free_block_stops_nothing_for_good(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(disk)],
        check=False,
        capture_output=True,
    )
    if mounted.returncode:
        pytest.skip("no right to mount a small disk here")
    try:
        with machine(tmp_path, rate_hz=2000, ring_bytes=65_536, data=disk) as one:
            one.start("spool")
            one.start("lane")
            grows(one)
            filler = disk / "filler"
            with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
                deque((file.write(bytes(4096)) for _ in range(1024)), maxlen=0)
            wait_until(lambda: one.sign("lane-imu")["losses"]["ring"] > 0)
            wait_until(lambda: "cannot write" in one.sign("spool")["state"])
            filler.unlink()
            grows(one)
            assert one.processes["spool"].poll() is None
            one.end("lane")
            one.end("spool")
            total = counts(one)
            assert total["lost_ring"] > 0
            # What was given up to go on is the oldest, and counted.
            found = lane_numbers(one.spool, "imu")
            assert found == sorted(set(found))
            assert len(found) + total["lost_evicted"] == total["stored"]
            assert_sound(one.spool)
            assert len(sessions(one)) == 1
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize(
    "taken", [["spool"], ["spool", "spool-1"], ["spool", "spool-1", "spool-2"]]
)
def test_spools_of_newer_formats_stay_as_they_are_and_the_next_name_is_taken(
    tmp_path: Path, taken: list[str]
) -> None:
    one = Machine(tmp_path)
    for name in taken:
        one.spool.with_name(name).mkdir(parents=True)
        (one.spool.with_name(name) / "FORMAT").write_text("edge-recorder spool 9\n")
        (one.spool.with_name(name) / "sessions").write_text("a file here, and a folder there")
        (one.spool.with_name(name) / "lock").mkdir()
    with pytest.raises(SpoolFormatError, match="spool 9"):
        Spool.current(one.spool)
    spooler = Spooler(one.config)
    spooler.close()
    for name in taken:
        there = {path.name for path in one.spool.with_name(name).iterdir()}
        assert there == {"FORMAT", "sessions", "lock"}
    assert spooler.archive.spool.directory == one.spool.with_name(f"spool-{len(taken)}")
    assert len(spooler.archive.spool.session_ids()) == 1
    assert Spool.current(one.spool).session_ids() == spooler.archive.spool.session_ids()


def test_two_spoolers_on_one_directory_do_not_meet(tmp_path: Path) -> None:
    one = Machine(tmp_path)
    first = Spooler(one.config)
    try:
        with pytest.raises(RecorderError, match=f"process {os.getpid()} writes"):
            Spooler(one.config)
        assert one.config.command_socket.exists()  # the second took nothing from the first
    finally:
        first.close()


def test_a_session_of_another_boot_ends_as_power_loss_and_a_new_one_begins(tmp_path: Path) -> None:
    one = Machine(tmp_path)
    other = uuid.uuid4().hex
    with shelf(tmp_path / "data", boot=other) as old:
        for _ in range(5):
            old.producer.put(3)
        old.commit()
        old.recording.beat(TimeModel([system_anchor()]))
        old.recording.commit()
        utc_ns = old.recording.session.heartbeat_utc_ns
    spooler = Spooler(one.config)
    spooler.close()
    first, second = sessions(one)
    assert (first.state.name, first.end_reason) == ("abandoned", "power_loss")
    assert first.unaccounted_max_ns == 10_000_000_000
    assert abs(first.start_utc_ns - utc_ns) < 10_000_000_000
    assert first.lanes[0].delivered == 15
    assert first.quality.lower < first.quality.value == 1.0
    assert (second.state.name, second.boot_id) == ("waiting", boot_id().hex())
    assert_sound(one.spool)


def test_an_orphan_that_was_only_announced_is_abandoned_at_once(tmp_path: Path) -> None:
    one = Machine(tmp_path)
    with shelf(tmp_path / "data", boot=uuid.uuid4().hex):
        pass
    Spooler(one.config).close()
    first, _ = sessions(one)
    assert (first.state.name, first.quality.value, first.quality.basis) == (
        "abandoned",
        0.0,
        "no_data",
    )


@pytest.mark.parametrize("left", ["", "garbage\n", "00000000 {}\n"])
def test_a_half_made_session_folder_does_not_keep_the_vehicle_from_recording(
    tmp_path: Path, left: str
) -> None:
    one = Machine(tmp_path)
    folder = Spool.make(one.spool).session_dir(str(uuid.uuid4()))
    folder.mkdir()
    (folder / "journal").write_text(left)
    Spooler(one.config).close()
    assert (folder / "journal").read_text() == left
    assert len(Spool(one.spool).session_ids()) == 2


def test_a_session_just_announced_goes_on_after_its_process_died(tmp_path: Path) -> None:
    one = Machine(tmp_path)
    first = Spooler(one.config)
    session_id = first.recording.session.id if first.recording else ""
    first.close()
    again = Spooler(one.config)
    again.close()
    assert again.recording is not None
    assert again.recording.session.id == session_id


def test_a_ring_of_a_lane_that_is_not_configured_any_more_harms_nothing(tmp_path: Path) -> None:
    one = Machine(tmp_path)
    one.config.rings_dir.mkdir(parents=True)
    old = Producer(one.config.rings_dir, schema("gone"))
    old.put()
    old.close()
    spooler = Spooler(one.config)
    try:
        stop = Stop()
        stop.set()
        spooler.run(stop)
    finally:
        spooler.close()
    (session,) = sessions(one)
    assert session.end_reason == "shutdown"


def test_a_spooler_that_died_between_commit_and_free_doubles_nothing(tmp_path: Path) -> None:
    one = Machine(tmp_path)
    one.config.rings_dir.mkdir(parents=True)
    producer = Producer(one.config.rings_dir, schema())
    producer.put(5)
    first = Spooler(one.config)
    first.commit()
    first.close()
    reader = RingReader(producer.ring.path)
    reader.free(0)  # as it stood before that commit
    reader.close()
    producer.put(5)
    second = Spooler(one.config)
    second.commit()
    second.close()
    assert lane_numbers(one.spool, "imu") == list(range(10))
    assert_sound(one.spool)
    producer.close()


@pytest.mark.parametrize("marker", ["partition", ""])
def test_a_spool_that_is_taken_away_while_it_records_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, marker: str
) -> None:
    # `umount -l`: what is open goes on, and no folder is there any more for the next segment.
    one = Machine(tmp_path, marker=marker)
    disk, away = one.config.spool.directory, tmp_path / "away"
    monkeypatch.setattr(volume, "is_alone", lambda _: (disk / "partition").exists())
    disk.mkdir(parents=True)
    (disk / "partition").touch()
    one.config.rings_dir.mkdir(parents=True)
    with contextlib.closing(Spooler(one.config)) as spooler:
        disk.rename(away)
        disk.mkdir()
        with contextlib.closing(Producer(one.config.rings_dir, schema())) as producer:
            producer.put(5)
            spooler.commit()  # there is no folder to make the lane's in
            assert one.sign("spool")["trouble"].startswith("the disk is lost")
            producer.put(5)
            spooler.commit()
            assert "not mounted" in one.sign("spool")["trouble"]
            assert not list(disk.iterdir())
            disk.rmdir()
            away.rename(disk)
            spooler.commit()
            spooler.commit()
    assert len(sessions(one)) == 1
    assert lane_numbers(one.spool, "imu") == list(range(10))
    assert_sound(one.spool)


def test_what_the_ring_dropped_between_two_sessions_is_told_by_the_second(tmp_path: Path) -> None:
    one = Machine(tmp_path)
    one.config.rings_dir.mkdir(parents=True)
    producer = Producer(one.config.rings_dir, schema(), 1024)
    spooler = Spooler(one.config)
    spooler.commit()
    while producer.put(1):
        pass
    answer_of(spooler, command="new")
    producer.put(1)
    spooler.commit()
    assert spooler.recording is not None
    account = spooler.recording.session.lanes[0]
    assert (account.expected, account.lost_ring, account.stored) == (2, 1, 1)
    spooler.close()
    producer.close()
    assert_sound(one.spool)


def test_the_device_facts_of_a_lane_that_came_first_are_kept(tmp_path: Path) -> None:
    with machine(tmp_path) as one:
        one.start("lane")
        wait_until(lambda: one.sign("lane-imu").get("samples", 0) > 10)
        one.start("spool")
        grows(one)
        one.end("lane")
        one.end("spool")
        spool = Spool(one.spool)
        path = spool.segments(spool.session_ids()[0], "imu")[0]
        with SegmentReader(path) as segment:
            events = [
                json.loads(bytes(payload))["event"]
                for _, header, payload in segment.records()
                if header.kind == EVENT
            ]
        assert events[0] == "opened"
        assert_whole(one)


def test_a_stop_signal_ends_a_spooler_that_waits(tmp_path: Path) -> None:
    with machine(tmp_path, commit_interval_s=10.0) as one:
        spool = one.start("spool")
        wait_until(lambda: one.sign("spool"))
        spool.send_signal(signal.SIGTERM)
        assert one.end("spool") == 0
        assert new_session(["imu"]).id not in Spool(one.spool).session_ids()
