"""The time of an upload: none at all, or one that becomes known late."""

from __future__ import annotations

import random

import pytest
from click.testing import CliRunner

from recorder.cli import recorder
from recorder.clock import anchor_now, boot_id, boot_ns
from recorder.mosaico import MosaicoClient
from recorder.record import Anchor
from recorder.service import Stop
from recorder.spool.journal import Journal
from recorder.spool.receipts import final_session
from recorder.uploader import Uploader, upload_once
from tests.known import known
from tests.recorder.upload.made import UTC_NS, Drive

S = 1_000_000_000


def say(drive: Drive, *anchors: Anchor) -> None:
    log = Journal(drive.spool.anchors_path(boot_id().hex()))
    for one in anchors:
        log.record(vars(one))
    log.close()


def facts_of_parts(url, lane):
    with MosaicoClient.connect_url(url) as client:
        (name,) = client.sequences()
        topics = known(client.describe_sequence(name)).topics
        found = [known(client.describe_topic(one.locator)).user_metadata for one in topics]
        mine = [one["recorder"] for one in found if one["recorder"].get("lane") == lane]
        return sorted(mine, key=lambda one: one["part"])


def test_boots_whose_clocks_began_in_1970_get_names_that_differ(tmp_path, station):
    ids = []
    for number in (1, 2):
        drive = Drive(tmp_path / str(number))
        drive.random = random.Random(number)
        drive.recording.close()
        drive.begin()
        say(drive, anchor_now(drive.start_ns, 5 * S, 0, "none"))
        drive.imu(3)
        drive.end()
        upload_once(drive.config(station.url))
        ids.append(drive.id)
    with MosaicoClient.connect_url(station.url) as client:
        names = sorted(client.sequences())
        sources = [
            known(client.describe_topic(f"{name}/imu")).user_metadata["recorder"]["clock_source"]
            for name in names
        ]
    assert names == sorted(f"car-7-19700101T000005Z-{one[:8]}" for one in ids)
    assert sources == ["none", "none"]


def test_what_was_recorded_before_the_first_fix_gets_right_times_and_a_bound(drive, station):
    begin = drive.start_ns
    drive.imu(40)
    clocks = [anchor_now(begin + i * 10 * S, 12 * S, 0, "none") for i in range(7)]
    fixes = [anchor_now(begin + at * S, UTC_NS + at * S, 100_000_000, "gps") for at in (60, 70, 80)]
    say(drive, *clocks, *fixes)
    drive.end()
    upload_once(drive.config(station.url))
    (facts,) = facts_of_parts(station.url, "imu")
    assert facts["clock_source"] == "gps"
    # 60 s at the 100 ppm that an oscillator may be off.
    assert 105_000_000 <= facts["clock_uncertainty_ns"] <= 107_000_000
    with MosaicoClient.connect_url(station.url) as client:
        (name,) = client.sequences()
        stamps = [
            one
            for batch in client.read(f"{name}/imu")
            for one in batch.column("timestamp_ns").to_pylist()
        ]
    due = [row["boot_ns"] - begin + UTC_NS for row in drive.rows["imu"]]
    assert max(abs(a - b) for a, b in zip(stamps, due, strict=True)) < 10_000


def test_the_final_record_says_how_well_the_time_is_known(drive, station):
    say(drive, anchor_now(drive.start_ns, UTC_NS, 40_000_000, "ntp"))
    drive.imu(3)
    drive.end()
    upload_once(drive.config(station.url))
    with MosaicoClient.connect_url(station.url) as client:
        (name,) = client.sequences()
        sequence = known(client.describe_sequence(name)).user_metadata["recording"]
        summary = known(client.describe_topic(f"{name}/recorder/summary")).user_metadata
    final = summary["session"]
    assert (sequence["clock_source"], final["clock_source"]) == ("ntp", "ntp")
    for bound_ns in (sequence["clock_uncertainty_ns"], final["utc_uncertainty_ns"]):
        assert 40_000_000 <= bound_ns < 41_000_000
    assert final["heartbeat_boot_ns"] <= boot_ns()


def test_a_time_that_becomes_known_too_late_is_restated_from_the_next_part_on(drive, station):
    drive.recording.close()
    drive.begin(10)
    say(drive, anchor_now(drive.start_ns, 5 * S, 0, "none"))
    drive.imu(40)
    drive.beat()
    config = drive.config(station.url, mode="live", part_s=1.0, time_wait_s=5)
    uploader = Uploader(config, Stop())
    try:
        drain(uploader)
        fix_ns = drive.start_ns + 3 * S
        say(drive, anchor_now(fix_ns, UTC_NS + 3 * S, 100_000_000, "gps"))
        drive.imu(40)
        drive.end()
        drain(uploader)
    finally:
        uploader.close()
    assert_final_record_is_as_told(config, station.url, ("none", None))
    facts = facts_of_parts(station.url, "imu")
    assert [one["clock_source"] for one in facts] == ["none"] * 2 + ["gps"] * 2
    assert [one["clock_uncertainty_ns"] is None for one in facts] == [True] * 2 + [False] * 2
    with MosaicoClient.connect_url(station.url) as client:
        (name,) = [one for one in client.sequences() if "car-7" in one]
        parts = [
            [
                one
                for batch in client.read(f"{name}/imu/p{number:06d}")
                for one in batch.column("timestamp_ns").to_pylist()
            ]
            for number in range(4)
        ]
    due = [row["boot_ns"] - drive.start_ns for row in drive.rows["imu"]]
    assert [*parts[0], *parts[1]] == [5 * S + one for one in due[:400]]
    errors = [a - b - UTC_NS for a, b in zip([*parts[2], *parts[3]], due[400:], strict=True)]
    assert max(map(abs, errors)) < 10_000_000


@pytest.mark.parametrize("reason", ["roll_over", "watchdog"])
@pytest.mark.parametrize("mode", ["live", "after_close"])
def test_one_that_ended_before_its_boot_and_the_first_fix_waits_for_it(
    drive, station, mode, reason
):
    drive.recording.close()
    drive.begin(10)
    say(drive, anchor_now(drive.start_ns, 5 * S, 0, "none"))
    drive.imu(40)
    drive.end(reason)
    config = drive.config(station.url, mode=mode, time_wait_s=3600)
    uploader = Uploader(config, Stop())
    try:
        drain(uploader)
        with MosaicoClient.connect_url(station.url) as client:
            assert [one for one in client.sequences() if "car-7" in one] == []
        assert final_session(config.upload_dir / drive.id) is None
        say(drive, anchor_now(drive.start_ns + S, UTC_NS + S, 100_000_000, "gps"))
        drain(uploader)
    finally:
        uploader.close()
    (facts,) = facts_of_parts(station.url, "imu")
    assert facts["clock_source"] == "gps"


@pytest.mark.parametrize("reason", ["shutdown", "roll_over"])
def test_nobody_waits_for_a_time_behind_a_shutdown_or_by_hand(drive, station, reason):
    drive.recording.close()
    drive.begin(10)
    say(drive, anchor_now(drive.start_ns, 5 * S, 0, "none"))
    drive.imu(40)
    drive.end(reason)
    config = drive.config(station.url, mode="after_close", time_wait_s=3600)
    if reason == "roll_over":
        assert upload_once(config).done == [drive.id]
    else:
        uploader = Uploader(config, Stop())
        try:
            drain(uploader)
        finally:
            uploader.close()
    (facts,) = facts_of_parts(station.url, "imu")
    assert facts["clock_source"] == "none"


def test_the_final_record_has_the_largest_bound_and_the_least_trusted_source_of_its_parts(
    drive, station
):
    drive.recording.close()
    drive.begin(10)
    say(drive, anchor_now(drive.start_ns, UTC_NS, 900_000_000, "ntp"))
    drive.imu(40)
    drive.beat()
    config = drive.config(station.url, mode="live", part_s=1.0)
    uploader = Uploader(config, Stop())
    try:
        drain(uploader)
        say(drive, *(anchor_now(drive.start_ns + i, UTC_NS + i, 1000, "gps") for i in range(3)))
        drive.imu(40)
        drive.end()
        drain(uploader)
    finally:
        uploader.close()
    facts = facts_of_parts(station.url, "imu")
    assert [one["clock_source"] for one in facts] == ["ntp"] * 2 + ["gps"] * 2
    most_ns = max(one["clock_uncertainty_ns"] for one in facts)
    assert most_ns >= 900_000_000 > facts[-1]["clock_uncertainty_ns"]
    assert_final_record_is_as_told(config, station.url, ("ntp", most_ns))


def assert_final_record_is_as_told(config, url, clock):
    """Everywhere: on the server, in the spool's list, and in both as `recorder show` has it."""
    with MosaicoClient.connect_url(url) as client:
        (name,) = [one for one in client.sequences() if "car-7" in one]
        first_ns = known(client.describe_topic(f"{name}/imu/p000000")).first_ns
        final = known(client.describe_topic(f"{name}/recorder/summary")).user_metadata["session"]
    found = (final["clock_source"], final["utc_uncertainty_ns"])
    assert (*found, final["start_utc_ns"]) == (*clock, first_ns)
    bound_ns = clock[1]
    told = "no bound" if bound_ns is None else f"true to {bound_ns / 1e6:,.3g} ms"
    for place in (["--spool", str(config.spool.directory)], ["--server", url]):
        shown = CliRunner().invoke(recorder, ["show", final["id"], *place])
        assert shown.exit_code == 0, shown.output
        assert f"(clock: {clock[0]}, {told})" in shown.output


def drain(uploader):
    while uploader.work():
        pass
