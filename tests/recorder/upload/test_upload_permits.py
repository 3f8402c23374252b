"""When, by which network, how fast, how much and in which order; and being told to look at once."""

from __future__ import annotations

import calendar
import contextlib
import json
import subprocess
import sys
import threading
import time

import pytest

from recorder import config as settings
from recorder import status
from recorder.configfile import load
from recorder.errors import ConfigError, RecorderError
from recorder.ground import GroundStation
from recorder.mosaico import MosaicoClient
from recorder.record import Anchor
from recorder.service import Stop
from recorder.spool import journal
from recorder.spool.pins import UNPIN, Pin
from recorder.upload import route, wake
from recorder.upload.permit import Permit
from recorder.upload.traffic import CapReachedError, Traffic
from recorder.uploader import PAUSES_S, Asked, Process, Uploader, main, upload_once
from tests.known import known
from tests.recorder.building import free_port, wait_until
from tests.recorder.upload.made import differences, server_rows


def record(drive):
    drive.tell_time()
    drive.imu(20)
    drive.camera(6)
    drive.end()


def sign_of(config):
    return known(status.read(config.spool.run_dir, "upload"))


def drained(config, **how):
    """Let an uploader do what it may; return its last life sign."""
    uploader = Uploader(config, Stop(), **how)
    try:
        while uploader.work():
            pass
        uploader.rest()
    finally:
        uploader.close()
    return sign_of(config)


def sequences(url):
    with MosaicoClient.connect_url(url) as client:
        return client.sequences()


# --- hours


def hours_around(minutes):
    """Return a span of two minutes that begins so many minutes from now, by local time."""
    begin, end = (time.localtime(time.time() + 60 * one) for one in (minutes, minutes + 2))
    return f"{begin.tm_hour:02}:{begin.tm_min:02}-{end.tm_hour:02}:{end.tm_min:02}"


def test_outside_of_the_hours_nothing_is_sent_and_the_reason_is_told(drive, station):
    record(drive)
    sign = drained(drive.config(station.url, hours=[hours_around(60)]))
    assert (sign["state"], sign["drained"]) == ("held", False)
    assert "outside of upload.hours" in sign["error"]
    assert sequences(station.url) == []
    sign = drained(drive.config(station.url, hours=[hours_around(60), hours_around(-1)]))
    assert (sign["state"], sign["done"]) == ("idle", [drive.id])


def test_a_person_may_send_at_any_hour(drive, station):
    record(drive)
    config = drive.config(station.url, hours=[hours_around(60)])
    assert upload_once(config).done == [drive.id]


# --- metered networks


def test_the_interface_that_leads_to_a_host_is_the_kernels_answer():
    assert route.interface_to("127.0.0.1") == "lo"
    assert route.interface_to("::1") in ("lo", "")
    assert route.interface_to("no-such-host.invalid") == ""


def test_by_a_listed_interface_nothing_is_sent(drive, station):
    record(drive)
    sign = drained(drive.config(station.url, metered_interfaces=["wwan7", "lo"]))
    assert (sign["state"], sequences(station.url)) == ("held", [])
    assert "lo, one of upload.metered_interfaces" in sign["error"]
    assert drained(drive.config(station.url, metered_interfaces=["wwan7"]))["done"] == [drive.id]


@pytest.mark.parametrize(("told", "is_held"), [("u 1", True), ("u 3", True), ("u 4", False)])
def test_what_networkmanager_says_of_the_network_counts(
    drive, tmp_path, monkeypatch, told, is_held
):
    asked = tmp_path / "asked"
    tool = tmp_path / "busctl"
    tool.write_text(f"#!/bin/sh\necho \"$*\" >{asked}\necho '{told}'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    url = "grpc://127.0.0.1:1"
    permit = Permit(drive.config(url, wait_on_metered=True).upload)
    assert ("NetworkManager" in permit.reason()) is is_held
    assert asked.read_text().split()[-2:] == ["org.freedesktop.NetworkManager", "Metered"]
    assert Permit(drive.config(url).upload).reason() == ""


def test_without_networkmanager_no_network_is_metered(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not route.is_metered()


# --- the month's bytes


def test_the_cap_holds_back_what_does_not_fit_and_says_so(drive, station):
    record(drive)
    config = drive.config(station.url, monthly_bytes=1_000)
    sign = drained(config)
    assert (sign["state"], sign["drained"]) == ("held", False)
    assert "upload.monthly_bytes" in sign["capped"][drive.id]
    assert sequences(station.url) == []
    with pytest.raises(RecorderError, match=r"upload\.monthly_bytes"):
        upload_once(config)
    assert "parked" not in [one["entry"] for one in journal.read(config.upload_dir / drive.id)]
    asked = Asked(drive.id[:8], over_cap=True)
    assert upload_once(config, asked=asked).done == [drive.id]


def test_what_was_sent_counts_through_restarts(drive, station):
    record(drive)
    config = drive.config(station.url, monthly_bytes=10_000_000)
    sent_bytes = drained(config)["month_bytes"]
    assert 6 * 20_000 < sent_bytes < 1_000_000
    drive.begin()
    record(drive)
    assert drained(config)["month_bytes"] > 1.9 * sent_bytes
    assert len(sequences(station.url)) == 2


def utc_ns(month):
    return calendar.timegm(time.strptime(month, "%Y-%m")) * 10**9


def traffic(folder, cap_bytes, pace=0, month="2026-11"):
    """Return the account as it is found in a month; an empty one: nobody vouches for the time."""
    upload = settings.Upload(monthly_bytes=cap_bytes, most_bytes_per_s=pace)
    now_ns = utc_ns(month) if month else None
    return Traffic(folder / ".traffic", upload, lambda: now_ns)


def send(one, size_bytes):
    one.begin(size_bytes, over_cap=False)
    one.add(size_bytes, over_cap=False)
    one.end()


def test_a_crash_in_the_middle_of_a_part_costs_what_was_booked(tmp_path):
    one = traffic(tmp_path, 1000)
    one.begin(600, over_cap=False)
    one.add(100, over_cap=False)
    assert traffic(tmp_path, 1000).month_bytes == 600
    one.end()
    assert traffic(tmp_path, 1000).month_bytes == 100


def test_the_cap_is_hard_also_where_a_part_needs_more_than_was_booked(tmp_path):
    one = traffic(tmp_path, 1000)
    one.begin(600, over_cap=False)
    one.add(900, over_cap=False)
    with pytest.raises(CapReachedError):
        one.add(101, over_cap=False)
    one.end()
    again = traffic(tmp_path, 1000)
    with pytest.raises(CapReachedError):
        again.begin(1, over_cap=False)
    again.begin(5000, over_cap=True)


@pytest.mark.parametrize("content", [b"", b"\0\0", b"\xff\xfe", b"[]", b'{"month": "2026-11"}'])
def test_an_account_that_the_disk_damaged_is_begun_anew(tmp_path, content):
    (tmp_path / ".traffic").write_bytes(content)
    assert traffic(tmp_path, 1000).month_bytes == 0


def test_a_new_month_begins_a_new_account(tmp_path):
    send(traffic(tmp_path, 1000), 900)
    assert traffic(tmp_path, 1000, month="2026-12").month_bytes == 0
    send(traffic(tmp_path, 1000, month="2027-01"), 1000)


def test_a_clock_that_nobody_vouches_for_begins_no_month(tmp_path):
    send(traffic(tmp_path, 1000, month=""), 500)  # before any time was told
    send(traffic(tmp_path, 1000), 100)
    send(traffic(tmp_path, 1000, month=""), 400)
    for month in ("", "2026-11"):
        with pytest.raises(CapReachedError, match=r"1000 of .* are used in 2026-11"):
            traffic(tmp_path, 1000, month=month).begin(1, over_cap=False)
    with pytest.raises(CapReachedError, match="before NTP or GPS tells the time"):
        traffic(tmp_path, 1000, month="").begin(1, over_cap=False)


def test_a_month_that_has_not_come_is_forgotten_and_what_was_sent_in_it_counts(tmp_path):
    (tmp_path / ".traffic").write_text(json.dumps({"month": "2099-05", "bytes": 700}))
    one = traffic(tmp_path, 1000)
    with pytest.raises(CapReachedError, match=r"700 of .* are used in 2026-11"):
        one.begin(301, over_cap=False)
    send(one, 300)
    send(traffic(tmp_path, 1000, month="2026-12"), 1000)


def test_the_month_is_that_of_the_receiver_and_not_of_the_systems_clock(drive, station):
    record(drive)
    config = drive.config(station.url, monthly_bytes=10_000_000)
    account = config.upload_dir / ".traffic"
    account.parent.mkdir()
    account.write_text(json.dumps({"month": "2099-05", "bytes": 1_000_000}))
    month_bytes = drained(config)["month_bytes"]
    told = json.loads(account.read_text())
    assert told["month"] == "2023-11"
    assert 1_000_000 + 6 * 20_000 < told["bytes"] <= month_bytes < 2_000_000


def test_without_a_receiver_the_month_is_that_of_ntp_if_there_is_one(drive, station, monkeypatch):
    drive.imu(2)
    drive.end()
    config = drive.config(station.url, monthly_bytes=10_000_000)
    anchor = Anchor(0, 0, utc_ns("2024-02"), 0, "ntp")
    monkeypatch.setattr("recorder.upload.worker.ntp_anchor", lambda: anchor)
    assert upload_once(config).done == [drive.id]
    assert json.loads((config.upload_dir / ".traffic").read_text())["month"] == "2024-02"


def test_the_pace_makes_each_batch_wait_for_the_ones_before(tmp_path):
    one = traffic(tmp_path, 0, pace=1)
    assert one.add(20_000, over_cap=False) == 0
    pauses_s = [one.add(5_000, over_cap=False) for _ in range(3)]
    assert [round(pause_s, -3) for pause_s in pauses_s] == [20_000, 25_000, 30_000]


def test_a_stop_does_not_wait_for_the_pace(drive, station):
    record(drive)
    config = drive.config(station.url, most_bytes_per_s=100)
    file = config.spool.directory / "settings"
    file.write_text(settings.to_json(config))
    command = [sys.executable, "-m", "recorder.uploader", file.read_text()]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        wait_until(lambda: (status.read(config.spool.run_dir, "upload") or {}).get("way_bytes"))
        process.terminate()
        assert process.wait(20) == 0
    assert upload_once(drive.config(station.url)).done == [drive.id]
    name = sequences(station.url)[0]
    assert differences(server_rows(station.url, name, "imu"), drive.expected("imu")) == []


# --- the order


def three_sessions(drive):
    ids = []
    for _ in range(3):
        drive.tell_time()
        drive.imu(2)
        drive.end("roll_over")
        ids.append(drive.id)
        drive.begin()
    drive.end()
    return [*ids, drive.id]


def note(drive, session_id, entry):
    log = journal.Journal(drive.spool.journal_path(session_id))
    log.record(entry)
    log.close()


def test_the_newest_goes_first_if_asked_and_the_pinned_before_all(drive, station):
    first, second, third, last = three_sessions(drive)
    note(drive, first, Pin().to_entry())
    note(drive, second, Pin().to_entry())
    note(drive, second, UNPIN)
    assert upload_once(drive.config(station.url, order="newest")).done == [
        first, last, third, second,
    ]  # fmt: skip


def test_small_lanes_go_before_the_camera_and_the_commit_mark_last(drive, station):
    drive.tell_time()
    drive.camera(2)  # acquired first, and its name is the first of the alphabet
    drive.imu(2)
    drive.gps(2)
    drive.end()
    config = drive.config(station.url)
    assert upload_once(config).done == [drive.id]
    entries = journal.read(config.upload_dir / drive.id)
    lanes = [one["lane"] for one in entries if one["entry"] == "planned"]
    assert lanes == ["gps", "imu", "camera", "recorder/session", "recorder/summary"]


def test_only_the_session_that_was_asked_for_is_sent(drive, station):
    ids = three_sessions(drive)
    assert upload_once(drive.config(station.url), asked=Asked(ids[1])).done == [ids[1]]


# --- told to look at once


def test_an_order_and_a_change_of_the_network_end_the_wait(tmp_path):
    waker = wake.Waker(Stop(), tmp_path / "sock")
    try:
        assert waker.wait(0) is None
        wake.tell(tmp_path / "sock", wake.NOW)
        wake.tell(tmp_path / "sock", wake.OVER_CAP, "abc")
        assert waker.wait(5) == ["now", "over-cap abc"]
        assert waker.wait(0) is None
    finally:
        waker.close()
    with pytest.raises(RecorderError, match="no upload process"):
        wake.tell(tmp_path / "sock", wake.NOW)


IN_A_NETWORK_OF_ITS_OWN = """
import fcntl, pathlib, socket, struct, sys
from recorder.service import Stop
from recorder.upload.wake import Waker
waker = Waker(Stop(), pathlib.Path(sys.argv[1]))
assert waker.wait(0) is None
with socket.socket() as any_socket:  # SIOCSIFFLAGS: lo goes up
    fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh14x", b"lo", 0x41))
assert waker.wait(5) == []
assert waker.wait(0) is None
waker.close()
"""


def test_a_network_that_comes_up_ends_the_wait(tmp_path):
    unshare = ["unshare", "--map-root-user", "--net"]
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no network of its own can be had here (unshare)")
    command = [*unshare, sys.executable, "-c", IN_A_NETWORK_OF_ITS_OWN, str(tmp_path / "sock")]
    done = subprocess.run(command, capture_output=True, timeout=30, text=True, check=False)
    assert done.returncode == 0, done.stderr


@contextlib.contextmanager
def running(config):
    """Run the upload process in a thread."""
    stop = Stop()
    thread = threading.Thread(target=main, args=(config, stop))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(20)


def is_in(config, state):
    return (status.read(config.spool.run_dir, "upload") or {}).get("state") == state


def test_whoever_waits_long_for_a_server_is_woken_at_once(drive, tmp_path, monkeypatch):
    monkeypatch.setattr("recorder.uploader.PAUSES_S", (3600.0,))
    record(drive)
    port = free_port()
    config = drive.config(f"grpc://127.0.0.1:{port}")
    with running(config):
        wait_until(lambda: is_in(config, "away"))
        with GroundStation(tmp_path / "ground", port=port) as station:
            wake.tell(config.spool.run_dir / wake.SOCKET, wake.NOW)
            wait_until(lambda: sign_of(config)["drained"])
            assert sequences(station.url)


def test_pauses_grow_to_five_minutes_and_no_two_vehicles_keep_step(drive):
    process = Process(drive.config("grpc://127.0.0.1:1"), Stop())
    try:
        pauses_s = [process._failed("away", "nobody there") for _ in range(30)]
    finally:
        process.close()
    steps_s = [*PAUSES_S, *[PAUSES_S[-1]] * 30]
    assert all(step <= one <= 2 * step for one, step in zip(pauses_s, steps_s, strict=False))
    assert max(pauses_s) <= 300
    assert len(set(pauses_s)) == len(pauses_s)


def test_a_key_file_that_others_can_use_is_told_and_used_only_when_it_is_mended(
    drive, tmp_path, monkeypatch
):
    monkeypatch.setattr("recorder.uploader.REFUSED_PAUSE_S", 0.1)
    record(drive)
    file = tmp_path / "key"
    with GroundStation(tmp_path / "ground", check_keys=True) as station:
        file.write_text(station.keys.create(["read", "write"]))
        file.chmod(0o640)
        config = drive.config(station.url, key_file=file)
        with running(config):
            wait_until(lambda: is_in(config, "parked"))
            assert "others can use this API key (mode 0640)" in sign_of(config)["error"]
            assert station.catalogue.sequences() == []
            file.chmod(0o600)
            wait_until(lambda: sign_of(config)["drained"])
        assert len(station.catalogue.sequences()) == 1


def test_the_process_that_runs_is_told_to_let_a_session_pass_the_cap(drive, station):
    record(drive)
    config = drive.config(station.url, monthly_bytes=1_000)
    with running(config):
        wait_until(lambda: is_in(config, "held"))
        assert sequences(station.url) == []
        wake.tell(config.spool.run_dir / wake.SOCKET, wake.OVER_CAP, drive.id[:8])
        wait_until(lambda: sign_of(config)["drained"])
    assert sequences(station.url)


def test_hours_that_are_none_are_told_with_their_key(tmp_path):
    file = tmp_path / "recorder.toml"
    lane = '[[lanes]]\nname = "imu"\ndriver = "mpu6050"\n'
    file.write_text(
        f'[upload]\nmode = "off"\nhours = ["22:00-06:00", "7-8", "24:00-01:00"]\n{lane}'
    )
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert [one.partition(": ")[2].partition(":")[0] for one in str(caught.value).splitlines()] == [
        "upload.hours[1]",
        "upload.hours[2]",
    ]


def test_every_key_of_the_upload_survives_the_way_to_a_process(tmp_path):
    file = tmp_path / "recorder.toml"
    keys = (
        'mode = "off"\norder = "newest"\nmost_bytes_per_s = 100_000\nhours = ["22:00-06:00"]\n'
        'wait_on_metered = true\nmetered_interfaces = ["wwan0"]\nmonthly_bytes = 2_000_000_000\n'
        "reread_share = 0.5\n"
    )
    file.write_text(f'[upload]\n{keys}[[lanes]]\nname = "imu"\ndriver = "mpu6050"\n')
    config = load(file)
    assert (config.upload.order, config.upload.hours) == ("newest", ["22:00-06:00"])
    assert settings.from_json(settings.to_json(config)) == config
