from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from recorder import config, status
from recorder.clock import boot_ns
from recorder.record import Losses
from recorder.session.ledger import CAUSES, LaneLedger
from recorder.session.session import Session
from recorder.spool.pace import Pace
from recorder.web import metrics
from recorder.web.board import LEVELS, Board
from recorder.web.meter import WINDOW_NS, Meter

S = 1_000_000_000


def sign(at_s: float, samples: int, last_s: float) -> dict[str, Any]:
    return {"boot_ns": round(at_s * S), "samples": samples, "last_boot_ns": round(last_s * S)}


def test_the_rate_is_that_of_the_last_signs_only() -> None:
    meter = Meter()
    for second in range(20):
        meter.read(sign(second, 10 * second, second))
    for second in range(20, 20 + WINDOW_NS // S + 1):
        meter.read(sign(second, 190 + 200 * (second - 19), second))
    assert meter.rate_hz == pytest.approx(200)


def test_there_is_no_rate_before_two_signs() -> None:
    meter = Meter()
    assert meter.rate_hz is None
    meter.read(sign(1, 10, 1))
    meter.read(sign(1, 10, 1))  # the same file, read twice
    assert meter.rate_hz is None


def test_a_new_ring_that_counts_from_zero_gives_no_negative_rate() -> None:
    meter = Meter()
    meter.read(sign(1, 1000, 1))
    meter.read(sign(2, 1010, 2))
    meter.read(sign(3, 5, 3))
    assert meter.rate_hz is None
    meter.read(sign(4, 15, 4))
    assert meter.rate_hz == pytest.approx(10)


def test_slots_booked_in_a_silence_are_not_taken_for_samples() -> None:
    meter = Meter()
    meter.read(sign(1, 10, 1))
    meter.read(sign(2, 20, 1.9))
    meter.read(sign(3, 20, 2.9))  # the lane's clock of slots goes on, no sample came
    assert meter.last_boot_ns(None) == round(1.9 * S)


def test_until_samples_were_seen_to_come_the_ledger_says_when_the_last_was() -> None:
    meter = Meter()
    meter.read(sign(9, 10, 9))
    assert meter.last_boot_ns(None) is None
    assert meter.last_boot_ns(4 * S) == 4 * S


@pytest.fixture
def settings(tmp_path: Path) -> config.Config:
    return config.Config(
        lanes=[config.Lane(name="imu", driver="mpu6050"), config.Lane(name="gps", driver="gps")],
        spool=config.Spool(directory=tmp_path / "recorder", run_dir=tmp_path / "run"),
        upload=config.Upload(server="grpc://127.0.0.1:1"),
    )


def publish_lane(settings: config.Config, name: str, **facts: Any) -> None:
    losses = {"source": 1, "absent": 2, "broken": 0, "ring": 4}
    usual = {"state": "running", "device": {}, "rate_hz": 200.0, "samples": 10, "expected": 17}
    all_facts = {**usual, "losses": losses, "last_boot_ns": boot_ns(), **facts}
    status.publish(settings.spool.run_dir, f"lane-{name}", all_facts)


def session() -> Session:
    lanes = [LaneLedger("imu", acquired=9, stored=9, lost_ring=99, lost_evicted=5, pending=4)]
    return Session("a" * 8, "b" * 32, "EdgeRecording", "x", "car", lanes=lanes)


def lane(board: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in board["lanes"] if one["name"] == name)
    return found


def test_a_recorder_that_never_ran_is_silent_in_every_part(settings: config.Config) -> None:
    board = Board(settings).look()
    assert {name: life["is_silent"] for name, life in board["processes"].items()} == {
        "spool": True,
        "lane-imu": True,
        "lane-gps": True,
        "upload": True,
    }
    assert board["session"] is None
    assert board["spool"]["free_bytes"] is None
    assert lane(board, "imu")["state"] is None
    assert 'recorder_process_up{process="lane-imu"} 0\n' in metrics.text(board)
    assert "recorder_samples_total{" not in metrics.text(board)


def test_an_upload_that_is_off_is_not_missed(settings: config.Config) -> None:
    off = config.Config(
        lanes=settings.lanes, spool=settings.spool, upload=config.Upload(mode="off")
    )
    assert "upload" not in Board(off).look()["processes"]


@pytest.mark.parametrize(("age_s", "is_silent"), [(0, False), (4, False), (6, True), (-60, True)])
def test_a_process_is_silent_when_its_sign_is_old_or_of_another_boot(
    settings: config.Config, age_s: int, is_silent: bool
) -> None:
    publish_lane(settings, "imu", boot_ns=boot_ns() - age_s * S)
    board = Board(settings).look()
    assert board["processes"]["lane-imu"]["is_silent"] is is_silent
    assert lane(board, "imu")["is_silent"] is is_silent
    assert lane(board, "imu")["state"] == "running"


def test_losses_before_the_disk_are_the_lanes_and_behind_it_the_ledgers(
    settings: config.Config,
) -> None:
    publish_lane(settings, "imu")
    status.publish(settings.spool.run_dir, "spool", {"session": session().to_dict()})
    losses = {one["cause"]: one for one in lane(Board(settings).look(), "imu")["losses"]}
    counted = {name: one["samples"] for name, one in losses.items() if one["samples"]}
    assert counted == {"source": 1, "absent": 2, "ring": 4, "evicted": 5}
    assert losses["evicted"]["words"] == CAUSES["lost_evicted"]
    assert {f"lost_{name}" for name in losses} == set(CAUSES)


def test_every_cause_that_a_lane_counts_is_one_of_the_ledgers() -> None:
    assert {f"lost_{name}" for name in Losses.__dataclass_fields__} <= set(CAUSES)


def test_a_session_whose_spooler_is_silent_is_not_called_recorded(settings: config.Config) -> None:
    facts = {"session": session().to_dict(), "boot_ns": boot_ns() - 60 * S}
    status.publish(settings.spool.run_dir, "spool", facts)
    board = Board(settings).look()
    assert board["session"]["id"] == session().id
    assert board["session"]["is_recorded"] is False
    assert "recorder_recording 0\n" in metrics.text(board)


@pytest.mark.parametrize(
    ("trouble", "is_in_trouble"),
    [("", False), ("imu: [Errno 28] No space left on device", True)],
)
def test_a_spooler_that_cannot_write_is_in_trouble(
    settings: config.Config, trouble: str, is_in_trouble: bool
) -> None:
    state = trouble or "recording aaaaaaaa"
    facts = {"session": session().to_dict(), "state": state, "trouble": trouble}
    status.publish(settings.spool.run_dir, "spool", facts)
    board = Board(settings).look()
    assert board["spool"]["is_in_trouble"] is is_in_trouble
    assert f"recorder_spool_in_trouble {int(is_in_trouble)}\n" in metrics.text(board)


KEPT = {
    "uploading": "good",
    "idle": "good",
    "held": "warn",
    "away": "warn",
    "parked": "bad",
    "disk": "bad",
}


def test_the_page_on_the_upload_names_every_state() -> None:
    page = (Path(__file__).parents[3] / "docs" / "upload.md").read_text()
    named = {
        name
        for line in page.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`(\w+)`", line.split("|")[1])
    }
    assert named - {"push", "push_batch"} == {*KEPT, "waiting"}
    assert {state for state, level in KEPT.items() if level != "good"} == set(LEVELS)


@pytest.mark.parametrize(("state", "level"), KEPT.items())
def test_what_keeps_the_uploader_is_told_with_its_reason(
    settings: config.Config, state: str, level: str
) -> None:
    facts = {"state": state, "error": "why", "parked": {"a" * 36: "refused"}, "month_bytes": 7}
    status.publish(settings.spool.run_dir, "upload", {**facts, "capped": {"b" * 36: "the cap"}})
    board = Board(settings).look()
    upload = board["upload"]
    assert (upload["state"], upload["error"], upload["level"]) == (state, "why", level)
    assert upload["waits"] == [
        {"session": "b" * 36, "reason": "the cap"},
        {"session": "a" * 36, "reason": "refused"},
    ]
    told = metrics.text(board)
    assert f'recorder_upload_state{{state="{state}"}} 1\n' in told
    assert "recorder_upload_sessions_waiting 2\n" in told
    assert "recorder_upload_month_bytes 7\n" in told


def test_the_metrics_are_well_formed_and_each_is_declared_once(settings: config.Config) -> None:
    publish_lane(settings, "imu", samples=12_345_678_901_234)
    pace = Pace(500_000_000, 2_000_000_000)
    for took_ms in (3, 4, 700, 20_000):
        pace.note(took_ms * 1_000_000)
    sign = {"session": session().to_dict(), "commits": pace.to_dict()}
    sign["wear"] = {"device_bytes": 4096, "device_flushes": 2}
    status.publish(settings.spool.run_dir, "spool", sign)
    upload = {"state": "away", "backlog_rows": 7, "backlog_bytes": 8, "sessions_pending": 1}
    status.publish(settings.spool.run_dir, "upload", upload)
    lines = metrics.text(Board(settings).look()).splitlines()
    declared = [line.split()[2] for line in lines if line.startswith("# TYPE ")]
    assert len(declared) == len(set(declared))
    current = ""
    for line in lines:
        if line.startswith("#"):
            current = line.split()[2]
        else:
            assert re.fullmatch(
                rf'{current}(_bucket|_sum|_count)?(\{{\w+="[^"]*"(,\w+="[^"]*")*\}})? [-+.e\d]+',
                line,
            )
    assert 'recorder_samples_total{lane="imu"} 12345678901234' in lines
    assert 'recorder_lost_samples_total{lane="imu",cause="evicted"} 5' in lines
    assert "recorder_upload_backlog_samples 7" in lines
    assert "recorder_device_flushes_total 2" in lines
    buckets = [line for line in lines if line.startswith("recorder_commit_seconds_bucket")]
    assert buckets[0] == 'recorder_commit_seconds_bucket{le="0.001"} 0'
    assert buckets[2] == 'recorder_commit_seconds_bucket{le="0.005"} 2'
    assert buckets[9] == 'recorder_commit_seconds_bucket{le="1"} 3'
    assert buckets[-1] == 'recorder_commit_seconds_bucket{le="+Inf"} 4'
    assert "recorder_commit_seconds_sum 20.707" in lines


def test_what_nobody_said_is_left_out_of_the_metrics(settings: config.Config) -> None:
    text = metrics.text(Board(settings).look())
    assert "recorder_upload_backlog_samples" not in text
    assert "recorder_session_quality_ratio" not in text


def test_quotes_in_a_label_are_escaped(settings: config.Config) -> None:
    odd = config.Config(lanes=[config.Lane(name='a"b\\', driver="x")], spool=settings.spool)
    assert r'recorder_process_up{process="lane-a\"b\\"} 0' in metrics.text(Board(odd).look())
